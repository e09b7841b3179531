import { expect, it } from "vitest";
import { transfer } from "../end-to-end/bulk.ts";

const BYTES = 10 * 1024 ** 3;

it.skipIf(process.platform !== "linux").each([
  ["down", "http2"],
  ["up", "http2"],
  ["down", "quic"],
  ["up", "quic"],
] as const)("10 GiB %s over %s through a slow reader costs less than 96 MiB", async (direction, protocol) => {
  const { arrived, grownMiB } = await transfer(direction, BYTES, protocol);
  console.log(`10 GiB ${direction} over ${protocol}: resident memory grew by ${grownMiB.toFixed(0)} MiB at most`);
  expect(arrived).toBe(BYTES);
  expect(grownMiB).toBeLessThan(96);
});
