/** When an edge counts as silent, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SilenceWatch } from "../../src/edge/silence.ts";

let changes: [at: number, silent: boolean][];
let watch: SilenceWatch;
let begun: number;
let limitMs: number;
let roundTripMs: number | undefined;

/** To the hundredth of a second. */
const now = (): number => Math.round((performance.now() - begun) / 10) * 10;
async function advance(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 10) {
    await vi.advanceTimersByTimeAsync(Math.min(10, left));
  }
}

beforeEach(() => {
  vi.useFakeTimers();
  begun = performance.now();
  changes = [];
  limitMs = 3_000;
  roundTripMs = undefined;
  watch = new SilenceWatch({
    limitMs: () => limitMs,
    roundTripMs: () => roundTripMs,
    onChange: (silent) => changes.push([now(), silent]),
  });
});

afterEach(() => {
  watch.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("an edge", () => {
  it("that says nothing is silent after the limit, once", async () => {
    await advance(20_000);
    expect(changes).toEqual([[3_000, true]]);
  });

  it("that speaks now and then is not", async () => {
    for (let i = 0; i < 10; i++) {
      await advance(2_900);
      watch.heard(performance.now());
    }
    expect(changes).toEqual([]);
  });

  it("that speaks again is not silent any more, and may be so again", async () => {
    await advance(4_000);
    watch.heard(performance.now());
    await advance(10_000);
    expect(changes).toEqual([
      [3_000, true],
      [4_000, false],
      [7_000, true],
    ]);
  });

  it("that was asked has two seconds, and no more for being asked again", async () => {
    watch.heard(performance.now());
    await advance(500);
    watch.asked();
    await advance(400);
    watch.asked();
    await advance(1_590);
    expect(changes).toEqual([]);
    await advance(20);
    expect(changes).toEqual([[2_500, true]]);
  });

  it("that is far away has the time of a few round trips", async () => {
    limitMs = 30_000;
    roundTripMs = 1_500;
    watch.asked();
    await advance(5_900);
    expect(changes).toEqual([]);
    await advance(200);
    expect(changes).toEqual([[6_000, true]]);
  });

  it("whose way becomes longer has longer from then on", async () => {
    await advance(2_000);
    limitMs = 10_000;
    await advance(7_900);
    expect(changes).toEqual([]);
    await advance(200);
    expect(changes).toEqual([[10_000, true]]);
  });

  it("that was asked and has answered has the limit again", async () => {
    await advance(500);
    watch.asked();
    await advance(100);
    watch.heard(performance.now());
    await advance(2_500);
    expect(changes).toEqual([]);
    await advance(1_000);
    expect(changes).toEqual([[3_600, true]]);
  });

  it("is not blamed for a process that was busy: what waits in the socket is read first", () => {
    vi.useRealTimers();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    const busy = new SilenceWatch({
      limitMs: () => 3_000,
      roundTripMs: () => 20,
      onChange: (silent) => changes.push([0, silent]),
    });
    vi.advanceTimersByTime(60_000);
    // The timers come first in a turn of the loop, then what sockets have, then the rest.
    busy.heard(performance.now());
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      expect(changes).toEqual([]);
      busy.stop();
      watch.stop();
    });
  });

  it("that the connection has done with is nobody's concern", async () => {
    watch.stop();
    watch.asked();
    await advance(10_000);
    expect(changes).toEqual([]);
  });
});
