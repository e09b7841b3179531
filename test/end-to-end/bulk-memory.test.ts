/** A slow reader must cost time, not memory. `npm run soak` does it with ten times as much. */
import { expect, it } from "vitest";
import { transfer } from "./bulk.ts";

const GIB = 1024 ** 3;

const WAYS = [
  ["down", "http2"],
  ["up", "http2"],
  ["down", "quic"],
  ["up", "quic"],
] as const;

it.skipIf(process.platform !== "linux").each(WAYS)(
  "1 GiB %s over %s through a slow reader costs less than 96 MiB",
  { timeout: 120_000 },
  async (direction, protocol) => {
    const { arrived, grownMiB } = await transfer(direction, GIB, protocol);
    expect(arrived).toBe(GIB);
    expect(grownMiB).toBeLessThan(96);
  },
);
