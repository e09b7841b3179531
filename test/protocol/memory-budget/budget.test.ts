import { describe, expect, it } from "vitest";
import { createMemoryBudget, type Holder } from "../../../src/protocol/memory-budget/budget.ts";
import { createHttp2Server } from "../../../src/protocol/http2/server.ts";

function holders(evicted: string[], ...names: string[]): Holder[] {
  return names.map((name) => ({
    heldBytes: 0,
    olderHolder: undefined,
    newerHolder: undefined,
    evict: () => void evicted.push(name),
  }));
}

describe("a memory budget", () => {
  it("evicts in the order of silence, as often as it must", () => {
    const evicted: string[] = [];
    const budget = createMemoryBudget(100);
    const [a, b, c, d] = holders(evicted, "a", "b", "c", "d") as [Holder, Holder, Holder, Holder];
    budget.hold(a, 30);
    budget.hold(b, 30);
    budget.hold(c, 30);
    // a has been taken from last, and still holds something; c holds more, but has no more been taken from than before.
    budget.give(a, 1);
    budget.hold(c, 5);
    budget.hold(d, 10);
    expect(evicted).toEqual(["b"]);
    budget.hold(d, 60);
    expect(evicted).toEqual(["b", "c"]);
    budget.hold(d, 60);
    expect(evicted).toEqual(["b", "c", "a", "d"]);
    expect({ held: budget.held, each: [a, b, c, d].map((holder) => holder.heldBytes) }).toEqual({
      held: 0,
      each: [0, 0, 0, 0],
    });
    budget.hold(b, 50);
    expect(budget.held).toBe(50);
  });

  it("begins a silence with the first byte held", () => {
    const evicted: string[] = [];
    const budget = createMemoryBudget(100);
    const [a, b] = holders(evicted, "a", "b") as [Holder, Holder];
    budget.hold(a, 40);
    budget.hold(b, 40);
    budget.release(a);
    budget.hold(a, 61);
    expect(evicted).toEqual(["b"]);
  });

  it("tells of pressure from half on, until a quarter", () => {
    const told: boolean[] = [];
    const budget = createMemoryBudget(100);
    const end = budget.subscribe(() => told.push(budget.pressed));
    const [a] = holders([], "a") as [Holder];
    for (const bytes of [50, 1, 30]) budget.hold(a, bytes);
    expect(told).toEqual([true]);
    for (const bytes of [30, 25, 1, 10]) budget.give(a, bytes);
    expect(told).toEqual([true, false]);
    end();
    budget.hold(a, 60);
    expect(told).toEqual([true, false]);
  });

  it("is 256 MiB by default, and more than nothing", () => {
    expect(createMemoryBudget().limit).toBe(268_435_456);
    for (const limit of [0, -1, Number.NaN]) expect(() => createMemoryBudget(limit)).toThrow(RangeError);
  });

  it("must be one of ours", () => {
    const options = { budget: { limit: 5, held: 0 } };
    expect(() => createHttp2Server(options, { onOutput() {}, onError() {} }, 0)).toThrow(/createMemoryBudget/);
  });
});
