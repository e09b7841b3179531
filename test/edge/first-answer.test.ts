import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Ask, firstAnswer } from "../../src/edge/first-answer.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Answers, or fails, after a time; tells when it starts and when it is stopped. */
function asker(log: string[]) {
  return (name: string, afterMs: number, error?: Error): Ask<string> =>
    (signal) =>
      new Promise((resolve, reject) => {
        log.push(`${name} starts`);
        const timer = setTimeout(() => (error === undefined ? resolve(name) : reject(error)), afterMs);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          log.push(`${name} stops`);
        });
      });
}

describe("the first answer", () => {
  it("of the first one leaves the others alone", async () => {
    const log: string[] = [];
    const ask = asker(log);
    const answer = firstAnswer([ask("a", 50), ask("b", 1)], 100, new AbortController().signal);
    await vi.advanceTimersByTimeAsync(50);
    expect(await answer).toBe("a");
    expect(log).toEqual(["a starts", "a stops"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("comes from the second where the first says nothing for long, and stops the first", async () => {
    const log: string[] = [];
    const ask = asker(log);
    const answer = firstAnswer([ask("a", 500), ask("b", 10)], 100, new AbortController().signal);
    await vi.advanceTimersByTimeAsync(110);
    expect(await answer).toBe("b");
    expect(log).toEqual(["a starts", "b starts", "a stops", "b stops"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("may still come from the first", async () => {
    const ask = asker([]);
    const answer = firstAnswer([ask("a", 150), ask("b", 100)], 100, new AbortController().signal);
    await vi.advanceTimersByTimeAsync(150);
    expect(await answer).toBe("a");
  });

  it("comes from the second at once where the first fails, and starts none twice", async () => {
    const log: string[] = [];
    const ask = asker(log);
    const failing = ask("a", 10, new Error("no"));
    const answer = firstAnswer([failing, ask("b", 200), ask("c", 200)], 100, new AbortController().signal);
    await vi.advanceTimersByTimeAsync(10);
    expect(log.filter((line) => line.endsWith("starts"))).toEqual(["a starts", "b starts"]);
    await vi.advanceTimersByTimeAsync(200);
    expect(await answer).toBe("b");
    expect(log.filter((line) => line === "c starts")).toHaveLength(1);
  });

  it("is none where all fail: the errors stand in the order of who was asked", async () => {
    const ask = asker([]);
    const [late, soon] = [new Error("late"), new Error("soon")];
    const answer = firstAnswer([ask("a", 300, late), ask("b", 10, soon)], 100, new AbortController().signal);
    const failed = expect(answer).rejects.toMatchObject({ errors: [late, soon] });
    await vi.advanceTimersByTimeAsync(300);
    await failed;
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not waited for any more after an abort", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const ask = asker([]);
    const answer = firstAnswer([ask("a", 300), ask("b", 10)], 100, controller.signal);
    controller.abort(reason);
    await expect(answer).rejects.toBe(reason);
    await expect(firstAnswer([ask("a", 1)], 1, controller.signal)).rejects.toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });
});
