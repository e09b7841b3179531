/** How often a line is written that says the same again and again. */
import { describe, expect, it } from "vitest";
import { RepeatLimiter } from "../../src/cli/repeat-limiter.ts";

const limits = { windowMs: 1_000, alike: 2, ofOneMessage: 5, kinds: 10 };

function written(limiter: RepeatLimiter<"warn">, lines: readonly string[], now = 0): number {
  return lines.filter((detail) => limiter.admits("warn", "failed", detail, now)).length;
}

describe("a limiter", () => {
  it("lets so many through that are alike, and others", () => {
    const limiter = new RepeatLimiter<"warn">(limits);
    expect(written(limiter, ["a", "a", "a", "a", "b"])).toBe(3);
    expect(limiter.deadline).toBe(1_000);
    expect(limiter.due(999)).toEqual([]);
    expect(limiter.due(1_000)).toEqual([{ level: "warn", message: "failed", detail: "a", count: 2 }]);
    expect(limiter.deadline).toBeUndefined();
    expect(written(limiter, ["a", "a", "a"], 1_000)).toBe(2);
  });

  it("is not got round by details that are made up", () => {
    const limiter = new RepeatLimiter<"warn">(limits);
    expect(
      written(
        limiter,
        Array.from({ length: 10_000 }, (_, i) => `error ${i}`),
      ),
    ).toBe(5);
    const left = limiter.due(1_000);
    expect(left.reduce((sum, { count }) => sum + count, 0)).toBe(9_995);
    expect(left.length).toBeLessThanOrEqual(limits.kinds);
  });

  it("tells messages apart", () => {
    const limiter = new RepeatLimiter<"warn">(limits);
    const admitted = ["one", "two", "three"].filter((message) => limiter.admits("warn", message, "", 0));
    expect(admitted).toHaveLength(3);
  });

  it("holds no more than so many kinds, and forgets them in time", () => {
    const limiter = new RepeatLimiter<"warn">({ ...limits, ofOneMessage: 1_000 });
    for (let now = 0; now < 10_000; now += 10) {
      limiter.due(now);
      limiter.admits("warn", "failed", String(now), now);
    }
    limiter.due(20_000);
    expect(limiter.deadline).toBeUndefined();
    expect(written(limiter, ["a", "a", "a"], 20_000)).toBe(2);
  });
});
