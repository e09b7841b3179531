import { describe, expect, it } from "vitest";
import {
  afterFailure,
  afterLoss,
  afterRegistration,
  freshRetryState,
  restartDelayMs,
  retryWindowMs,
  STABLE_AFTER_MS,
} from "../../src/connector/backoff.ts";

describe("the window of a retry", () => {
  it.each([
    [1, 2_000],
    [2, 4_000],
    [3, 8_000],
    [4, 16_000],
    [5, 32_000],
    [8, 256_000],
    [9, 300_000],
    [1_000, 300_000],
    [0, 2_000],
  ])("of attempt %i is %i ms", (attempt, window) => {
    expect(retryWindowMs(attempt)).toBe(window);
  });
});

describe("the restart ladder", () => {
  it("goes 5 s, 10 s, 20 s … to 5 minutes, and stays there", () => {
    const steps = [0, 1, 2, 3, 4, 5, 6, 7, 100].map((step) => restartDelayMs(step) / 1000);
    expect(steps).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
  });
});

describe("after failed attempts", () => {
  function run(retries: number, count: number, random = 0.5) {
    let state = freshRetryState;
    return Array.from({ length: count }, () => {
      const plan = afterFailure(state, retries, 0, random);
      state = plan.state;
      return [plan.kind, plan.delayMs, plan.upToMs] as const;
    });
  }

  it("the waits double, and the last of `retries` goes to the ladder", () => {
    expect(run(5, 6)).toEqual([
      ["retry", 1_000, 2_000],
      ["retry", 2_000, 4_000],
      ["retry", 4_000, 8_000],
      ["retry", 8_000, 16_000],
      ["restart", 5_000, 5_000],
      ["retry", 1_000, 2_000],
    ]);
  });

  it.each([0, 1])("with retries = %i every failure goes to the ladder", (retries) => {
    expect(run(retries, 3)).toEqual([
      ["restart", 5_000, 5_000],
      ["restart", 10_000, 10_000],
      ["restart", 20_000, 20_000],
    ]);
  });

  it("the jitter is full: from nothing to the whole window", () => {
    expect(run(5, 1, 0)[0]?.[1]).toBe(0);
    expect(run(5, 1, 0.999_999)[0]?.[1]).toBeGreaterThan(1_999);
  });

  it("what the edge asked for comes before the jitter, in a retry and on the ladder", () => {
    expect(afterFailure(freshRetryState, 5, 30_000, 0.5)).toMatchObject({ delayMs: 31_000, upToMs: 32_000 });
    expect(afterFailure(freshRetryState, 1, 30_000, 0.5)).toMatchObject({ kind: "restart", delayMs: 35_000 });
  });

  it.each([Number.NaN, -5, Number.NEGATIVE_INFINITY])("a retryAfter of %d is none", (retryAfterMs) => {
    expect(afterFailure(freshRetryState, 5, retryAfterMs, 0.5).delayMs).toBe(1_000);
  });

  it("a retryAfter of years is cut to a day", () => {
    expect(afterFailure(freshRetryState, 5, 9e15, 0).delayMs).toBe(86_400_000);
  });

  it("a registration resets the back-off and the ladder", () => {
    let state = freshRetryState;
    for (let i = 0; i < 7; i++) state = afterFailure(state, 3, 0, 0.5).state;
    expect(state).toEqual({ failures: 1, shortLives: 0, restarts: 2 });
    expect(afterRegistration(state)).toEqual(freshRetryState);
  });
});

describe("after a loss", () => {
  it("of a connection that lived well, the wait is below 2 s", () => {
    expect(afterLoss(freshRetryState, STABLE_AFTER_MS, 0.5)).toMatchObject({ delayMs: 1_000, upToMs: 2_000 });
  });

  it("of connections that die as soon as they are registered, the waits grow to 32 s and no further", () => {
    let state = freshRetryState;
    const windows = Array.from({ length: 8 }, () => {
      const plan = afterLoss(state, 50, 0.5);
      state = afterRegistration(plan.state);
      return plan.upToMs;
    });
    expect(windows).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000, 32_000]);
    expect(afterLoss(state, STABLE_AFTER_MS, 0.5).upToMs).toBe(2_000);
  });
});
