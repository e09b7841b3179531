/** A slow reader must cost time, not memory. `npm run soak` does it with ten times as much. */
import { expect, it } from "vitest";
import { transfer } from "./bulk.ts";

const GIB = 1024 ** 3;

it.skipIf(process.platform !== "linux").each(["down", "up"] as const)(
  "1 GiB %s through a slow reader costs less than 64 MiB",
  { timeout: 120_000 },
  async (direction) => {
    const { arrived, grownMiB } = await transfer(direction, GIB);
    expect(arrived).toBe(GIB);
    expect(grownMiB).toBeLessThan(64);
  },
);
