/** A minute of everything that can go wrong between a connector and its edge, at 200 requests a second. `npm run soak` takes an hour. */
import { expect, it } from "vitest";
import { describeOutcome, runStorm } from "../chaos/storm.ts";

const MIB = 2 ** 20;
const seed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 1_000_000));

it.skipIf(process.platform !== "linux")(
  "no request fails that was not on a connection which was cut, and nothing is left behind",
  { timeout: 300_000 },
  async () => {
    console.log(`CHAOS_SEED=${seed}`);
    const outcome = await runStorm({
      seed,
      stormMs: 60_000,
      faultEveryMs: 1_500,
      perSecond: 200,
      sampleEveryMs: 10_000,
    });
    console.log(describeOutcome(outcome));
    expect(outcome.violations).toEqual([]);
    expect(outcome.connectionsCut).toBeGreaterThan(5);
    expect(outcome.served).toBeGreaterThan(outcome.requests / 5);
    // No fault lasts longer than 14 s, and no wait after it than 32 s.
    expect(outcome.longestOutageMs).toBeLessThan(60_000);
    expect(outcome.lostOnTheWay).toBeLessThan(outcome.requests / 20);
    expect(outcome.after.descriptors).toBeLessThanOrEqual(outcome.before.descriptors);
    expect(outcome.after.heapBytes - outcome.before.heapBytes).toBeLessThan(32 * MIB);
  },
);
