/** Thousands of runs over bad paths, each from its seed. QUIC_SEED=n runs that one alone. */
import { describe, expect, it } from "vitest";
import { scenarioOf } from "./scenario.ts";
import { simulate } from "./world.ts";

const only = process.env["QUIC_SEED"];
const SEEDS = 3_000;
const BATCH = 250;

describe("over bad paths, all that is sent arrives, and no rule is broken", () => {
  if (only !== undefined) {
    it(`seed ${only}`, () => {
      expect(simulate(scenarioOf(Number(only))).packets).toBeGreaterThan(0);
    });
    return;
  }
  for (let first = 0; first < SEEDS; first += BATCH) {
    it(`seeds ${first} to ${first + BATCH - 1}`, { timeout: 120_000 }, () => {
      for (let seed = first; seed < first + BATCH; seed++) simulate(scenarioOf(seed));
    });
  }
});

it("tells the same story for the same seed", () => {
  for (const seed of [5, 64, 270]) expect(simulate(scenarioOf(seed))).toEqual(simulate(scenarioOf(seed)));
});
