/** The tunnel's state, and when a change of it is told, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readState, type StateFacts, StateWatch } from "../../src/health/state.ts";

const well: StateFacts = { everRegistered: true, stopping: false, ready: 4, wanted: 4, problems: [] };

describe("the state", () => {
  it.each<[string, Partial<StateFacts>, string, string[]]>([
    ["all is well", {}, "ready", []],
    [
      "before the first registration",
      { everRegistered: false, ready: 0 },
      "starting",
      ["no connection has registered yet"],
    ],
    ["without a connection", { ready: 0 }, "down", ["no connection is registered"]],
    ["with one of four", { ready: 1 }, "degraded", ["1 of 4 connections is registered"]],
    ["with a problem", { problems: ["the origin is down"] }, "degraded", ["the origin is down"]],
    [
      "with both",
      { ready: 3, problems: ["the origin is down"] },
      "degraded",
      ["3 of 4 connections are registered", "the origin is down"],
    ],
    ["a problem without a connection", { ready: 0, problems: ["x"] }, "down", ["no connection is registered"]],
    ["being closed", { stopping: true, ready: 0 }, "stopping", ["the tunnel is being closed"]],
  ])("%s", (_name, facts, state, reasons) => {
    expect(readState({ ...well, ...facts })).toEqual({ state, reasons });
  });
});

describe("its changes", () => {
  let facts: StateFacts;
  let told: string[];
  let watch: StateWatch;

  beforeEach(() => {
    vi.useFakeTimers();
    facts = { ...well, everRegistered: false, ready: 0 };
    told = [];
    watch = new StateWatch({
      read: () => facts,
      onChange: ({ state }, previous) => told.push(`${previous} -> ${state}`),
    });
  });
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  function become(change: Partial<StateFacts>): void {
    facts = { ...facts, ...change };
    watch.update();
  }

  it("are told once, and connections that follow the first make no noise", () => {
    watch.update();
    for (let ready = 1; ready <= 4; ready++) become({ everRegistered: true, ready });
    watch.update();
    expect(told).toEqual(["starting -> ready"]);
  });

  it("a connection that is back soon is not worth a word, one that stays away is", () => {
    become({ everRegistered: true, ready: 4 });
    become({ ready: 3 });
    expect(watch.reading.state).toBe("degraded");
    vi.advanceTimersByTime(9_000);
    become({ ready: 4 });
    become({ ready: 3 });
    vi.advanceTimersByTime(10_000);
    become({ ready: 4 });
    expect(told).toEqual(["starting -> ready", "ready -> degraded", "degraded -> ready"]);
  });

  it("of what else is wrong are told at once, as is the end of all connections", () => {
    become({ everRegistered: true, ready: 4 });
    become({ problems: ["the origin is down"] });
    become({ ready: 0 });
    become({ ready: 1, problems: [] });
    become({ ready: 4 });
    become({ stopping: true });
    expect(told).toEqual([
      "starting -> ready",
      "ready -> degraded",
      "degraded -> down",
      "down -> degraded",
      "degraded -> ready",
      "ready -> stopping",
    ]);
  });
});
