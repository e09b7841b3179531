import { expect, it } from "vitest";
import { transfer } from "../end-to-end/bulk.ts";

const BYTES = 10 * 1024 ** 3;

it.skipIf(process.platform !== "linux").each(["down", "up"] as const)(
  "10 GiB %s through a slow reader costs less than 64 MiB",
  async (direction) => {
    const { arrived, grownMiB } = await transfer(direction, BYTES);
    console.log(`10 GiB ${direction}: resident memory grew by ${grownMiB.toFixed(0)} MiB at most`);
    expect(arrived).toBe(BYTES);
    expect(grownMiB).toBeLessThan(64);
  },
);
