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

  it("is not got round by messages that are made up, and does not let these crowd out known ones", () => {
    const limiter = new RepeatLimiter<"warn" | "error">(limits);
    const admitted = (message: string, level: "warn" | "error" = "warn") => limiter.admits(level, message, "", 0);
    expect(admitted("known")).toBe(true);
    const made = Array.from({ length: 10_000 }, (_, i) => admitted(`message ${i}`));
    // As many as are told apart, but for the known one; then as if all others were one.
    expect(made.filter(Boolean)).toHaveLength(limits.kinds - 1 + limits.ofOneMessage);
    expect(admitted("known")).toBe(true);
    expect(admitted("an error", "error")).toBe(true);
    expect(limiter.due(1_000)).toEqual([{ level: "warn", message: "further messages", detail: "", count: 9_986 }]);
    expect(
      Array.from({ length: 20 }, (_, i) => limiter.admits("warn", `later ${i}`, "", 1_000)).filter(Boolean),
    ).toHaveLength(15);
  });

  it("tells messages apart however many details another one has", () => {
    const limiter = new RepeatLimiter<"warn">(limits);
    for (let i = 0; i < 100; i++) limiter.admits("warn", "failed", `error ${i}`, 0);
    const admitted = Array.from({ length: 9 }, (_, i) => limiter.admits("warn", `message ${i}`, "", 0));
    expect(admitted).not.toContain(false);
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
