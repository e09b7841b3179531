import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ranges } from "../../../../src/protocol/quic/streams/ranges.ts";

describe("ranges", () => {
  it("behave as a set of numbers", () => {
    const step = fc.record({
      add: fc.boolean(),
      start: fc.nat(40),
      length: fc.nat(12),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ranges = new Ranges();
        const model = new Set<number>();
        for (const { add, start, length } of steps) {
          if (add) ranges.add(start, start + length);
          else ranges.delete(start, start + length);
          for (let i = start; i < start + length; i++) {
            if (add) model.add(i);
            else model.delete(i);
          }
          const sorted = [...model].sort((a, b) => a - b);
          let runs = 0;
          for (const value of sorted) if (!model.has(value - 1)) runs++;
          expect(ranges.count).toBe(runs);
          expect(ranges.isEmpty).toBe(model.size === 0);
          for (let i = 0; i < 55; i++) expect(ranges.has(i)).toBe(model.has(i));
          if (sorted.length > 0) {
            expect(ranges.firstStart).toBe(sorted[0]);
            let end = sorted[0] as number;
            while (model.has(end)) end++;
            expect(ranges.firstEnd).toBe(end);
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
