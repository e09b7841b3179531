import { describe, expect, it } from "vitest";
import { seededRandom } from "../connector/fake-edge.ts";
import { describeSteadiness, median, type Sample, slopePerHour, steadinessOf, windows } from "./steadiness.ts";

const MIB = 1_048_576;
const MINUTE_MS = 60_000;

/** One sample a second: `growth` bytes an hour, noise of some MiB, and now and then a peak. */
function run(minutes: number, growth: number, seed: number): Sample[] {
  const random = seededRandom(seed);
  return Array.from({ length: minutes * 60 }, (_, second) => {
    const peak = random() < 0.05 ? 60 * MIB * random() : 0;
    const noise = (random() - 0.5) * 4 * MIB;
    const held = (growth * second) / 3600;
    return {
      atMs: second * 1000,
      rss: 90 * MIB + held + noise + peak,
      heapUsed: 30 * MIB + held,
      fds: 40 + Math.floor(random() * 8),
    };
  });
}

describe("steadiness", () => {
  it("knows the median", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });

  it("cuts time into windows, whatever number of samples each has", () => {
    const sample = (atMs: number, rss: number): Sample => ({ atMs, rss, heapUsed: 0, fds: 0 });
    const parts = windows([sample(0, 1), sample(1, 9), sample(2, 2), sample(90, 7), sample(100, 5)], 4);
    expect(parts.map(({ rss }) => rss)).toEqual([2, 6]);
  });

  it.each([1, 2, 3, 4, 5])("finds no growth in noise (seed %i)", (seed) => {
    const { perHour } = steadinessOf(run(60, 0, seed), { warmUpMs: 5 * MINUTE_MS });
    expect(Math.abs(perHour.rss)).toBeLessThan(MIB);
    expect(perHour.heapUsed).toBe(0);
    expect(Math.abs(perHour.fds)).toBeLessThan(2);
  });

  it.each([1, 2, 3, 4, 5])("finds a leak of 5 MiB an hour in the same noise (seed %i)", (seed) => {
    const { growth, perHour } = steadinessOf(run(60, 5 * MIB, seed), { warmUpMs: 5 * MINUTE_MS });
    expect(perHour.rss / MIB).toBeGreaterThan(4);
    expect(perHour.rss / MIB).toBeLessThan(6);
    expect(perHour.heapUsed / MIB).toBeCloseTo(5, 3);
    // 50 of the 60 minutes lie between the first window's middle and the last's.
    expect(growth.heapUsed / MIB).toBeGreaterThan(4);
    expect(growth.heapUsed / MIB).toBeLessThan(5);
  });

  it("does not count what comes before it is warm", () => {
    const samples = run(10, 0, 1).map((sample) =>
      sample.atMs < 2 * MINUTE_MS ? { ...sample, heapUsed: sample.atMs } : sample,
    );
    expect(steadinessOf(samples, { warmUpMs: 2 * MINUTE_MS }).perHour.heapUsed).toBe(0);
  });

  it("needs two moments", () => {
    expect(() => slopePerHour([{ atMs: 1, rss: 1, heapUsed: 1, fds: 1 }], "rss")).toThrow(RangeError);
  });

  it("is told in lines", () => {
    const text = describeSteadiness(steadinessOf(run(12, MIB, 1), { warmUpMs: 0, windows: 3 }));
    expect(text.split("\n")).toHaveLength(5);
    expect(text).toMatch(/^growth an hour: rss -?[\d.]+ MiB, heap 1\.00 MiB, descriptors -?[\d.]+$/m);
  });
});
