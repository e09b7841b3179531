/** The simulator of test/protocol/quic/simulator with ten times as many seeds, none of which it runs itself. QUIC_SEEDS sets how many. */
import { describe, it } from "vitest";
import { scenarioOf } from "../protocol/quic/simulator/scenario.ts";
import { simulate } from "../protocol/quic/simulator/world.ts";

const FIRST = 1_000_000;
const SEEDS = Number(process.env["QUIC_SEEDS"] ?? 20_000);
const BATCH = 1_000;

describe("QUIC over bad paths", () => {
  for (let done = 0; done < SEEDS; done += BATCH) {
    const from = FIRST + done;
    const to = FIRST + Math.min(done + BATCH, SEEDS);
    it(`seeds ${from} to ${to - 1}`, { timeout: 600_000 }, () => {
      for (let seed = from; seed < to; seed++) simulate(scenarioOf(seed));
    });
  }
});
