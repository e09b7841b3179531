/** An hour of chaos, or CHAOS_MINUTES; CHAOS_SEED repeats one. What the connector holds must not grow with the time. */
import { expect, it } from "vitest";
import { describeSteadiness, steadinessOf } from "../chaos/steadiness.ts";
import { describeOutcome, runStorm } from "../chaos/storm.ts";

const MIB = 2 ** 20;
const minutes = Number(process.env.CHAOS_MINUTES ?? 60);
const seed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 1_000_000));
const stormMs = minutes * 60_000;
/** Caches fill, and code is compiled. */
const WARM_UP_MS = Math.min(stormMs / 3, 5 * 60_000);

it.skipIf(process.platform !== "linux")(
  `${minutes} minutes of chaos at 200 requests a second: no request fails without a cut, memory and descriptors stay`,
  { timeout: stormMs + 10 * 60_000 },
  async () => {
    console.log(`CHAOS_SEED=${seed}`);
    const outcome = await runStorm({ seed, stormMs, faultEveryMs: 3_000, perSecond: 200, sampleEveryMs: 5_000 });
    const steadiness = steadinessOf(outcome.samples, { warmUpMs: WARM_UP_MS });
    console.log(`${describeOutcome(outcome)}\n${describeSteadiness(steadiness)}`);
    expect(outcome.violations).toEqual([]);
    expect(outcome.served).toBeGreaterThan(outcome.requests / 3);
    // No fault lasts longer than 14 s, and no wait after many of them than five minutes.
    expect(outcome.longestOutageMs).toBeLessThan(320_000);
    expect(outcome.lostOnTheWay).toBeLessThan(outcome.requests / 100);
    expect(outcome.after.descriptors).toBeLessThanOrEqual(outcome.before.descriptors);
    expect(outcome.after.heapBytes - outcome.before.heapBytes).toBeLessThan(32 * MIB);
    // Windows of a short run are few and noisy; those of an hour are not.
    expect(steadiness.growth.heapUsed).toBeLessThan(16 * MIB);
    expect(steadiness.growth.rss).toBeLessThan(64 * MIB);
    expect(steadiness.growth.fds).toBeLessThan(8);
  },
);
