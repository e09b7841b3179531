/** Connections that are replaced or paused on command, what they tell of themselves, and the tunnel that gives up. */
import { describe, expect, it } from "vitest";
import { refused, registered } from "./fake-edge.ts";
import { inSupervision } from "./supervision.ts";

describe("a connection that is to be replaced", () => {
  it("serves until the other has registered, and then ends in order", () =>
    inSupervision({ haConnections: 2 }, async ({ advance, edge, named, supervisor }) => {
      await advance(30_000);
      const [first] = edge.open;
      expect(supervisor.replace(0)).toBe(true);
      await advance(25);
      expect(supervisor.registeredConnections).toBe(2);
      await advance(5_000);
      expect(first?.closeReason).toEqual({ kind: "replaced" });
      expect(first?.client.unregisterCalls).toBe(1);
      expect(named("disconnected")).toMatchObject([{ connIndex: 0, error: undefined }]);
      expect(supervisor.connections.map(({ reconnects }) => reconnects)).toEqual([1, 0]);
    }));

  it("and does not exist, is not: before the start, of another index, after the end", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, supervisor }) => {
      await advance(1_000);
      for (const index of [1, -1, 0.5, Number.NaN]) expect(supervisor.replace(index)).toBe(false);
      expect(supervisor.replaceAll()).toBe(true);
    }));

  it("with a pause ends first, and comes back after it", () =>
    inSupervision({ haConnections: 2 }, async ({ advance, edge, supervisor }) => {
      await advance(30_000);
      const [first] = edge.open;
      supervisor.replace(0, 20_000);
      expect(supervisor.connections.map(({ state }) => state)).toEqual(["waiting", "registered"]);
      await advance(19_000);
      expect(first?.closeReason).toEqual({ kind: "replaced" });
      expect(edge.connections).toHaveLength(2);
      await advance(1_100);
      expect(supervisor.registeredConnections).toBe(2);
    }));

  it("with a pause gives up an attempt under way", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, supervisor }) => {
      edge.registerDelayMs = 4_000;
      await advance(1_000);
      supervisor.replace(0, 10_000);
      await advance(9_900);
      expect(edge.open).toEqual([]);
      expect(supervisor.connections).toMatchObject([{ state: "waiting" }]);
      await advance(5_000);
      expect(supervisor.registeredConnections).toBe(1);
    }));

  it("with a pause does not come before the time that the edge asked for", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, supervisor }) => {
      edge.onRegister = () => refused("busy", { shouldRetry: true, retryAfterMs: 60_000 });
      await advance(100);
      supervisor.replace(0, 1_000);
      await advance(58_000);
      expect(edge.registrations).toHaveLength(1);
    }));
});

describe("what a connection tells of itself", () => {
  it("is how it fares, and what became of its predecessors", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, supervisor }) => {
      edge.onRegister = () => (edge.registrations.length === 1 ? new Error("not yet") : registered());
      await advance(100);
      expect(supervisor.connections).toMatchObject([
        {
          state: "waiting",
          ageMs: undefined,
          roundTripMs: undefined,
          lastError: { code: undefined, message: "not yet" },
        },
      ]);
      await advance(5_000);
      const [first] = edge.open;
      if (first === undefined) throw new Error("no connection");
      first.roundTripMs = 12.5;
      first.openStreams = 2;
      first.resets = 3;
      for (let i = 0; i < 5; i++) first.onRequest({ kind: "tcp" } as never);
      first.onRequest({ kind: "configuration" } as never);
      expect(supervisor.connections).toMatchObject([
        { roundTripMs: 12.5, activeStreams: 2, requests: 5, resets: 3, reconnects: 0 },
      ]);
      expect(supervisor.connections[0]?.ageMs).toBeGreaterThan(1_000);
      supervisor.replace(0);
      await advance(500);
      const second = edge.open.find((connection) => connection !== first);
      second?.onRequest({ kind: "tcp" } as never);
      // Those that it finishes count as well.
      expect(supervisor.connections).toMatchObject([
        { activeStreams: 2, requests: 6, resets: 3, reconnects: 1, roundTripMs: undefined },
      ]);
      first.openStreams = 0;
      await advance(5_000);
      expect(supervisor.connections).toMatchObject([{ activeStreams: 0, requests: 6, resets: 3 }]);
      second?.drop(new Error("ECONNRESET"));
      await advance(1);
      expect(supervisor.connections).toMatchObject([
        { state: "waiting", requests: 6, lastError: { code: "ERR_UNDERPASS_CONNECTION_LOST" } },
      ]);
    }));

  it("stands in the log when it has ended, for whoever wants to know", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, logged }) => {
      await advance(20_000);
      edge.open[0]?.drop();
      await advance(1);
      expect(logged("Connection ended")).toMatchObject([
        { level: "debug", fields: { connIndex: 0, requests: 0, resets: 0, ageMs: 19_970, protocol: "http2" } },
      ]);
    }));
});

describe("a tunnel that is to end on failure", () => {
  it("does when a connection has failed as often as may be, and none is registered", () =>
    inSupervision({ exitOnFailure: true, retries: 3 }, async ({ advance, edge, gaveUp }) => {
      edge.onDial = () => new Error("no route");
      await advance(100_000);
      expect(edge.dials).toHaveLength(3);
      expect(gaveUp).toMatchObject([{ message: "no route" }]);
    }));

  it("does not while another one serves", () =>
    inSupervision(
      { exitOnFailure: true, haConnections: 2, retries: 3 },
      async ({ advance, edge, gaveUp, supervisor }) => {
        edge.onDial = (connIndex) => (connIndex === 1 ? new Error("no route") : undefined);
        await advance(100_000);
        expect(gaveUp).toEqual([]);
        expect(supervisor.registeredConnections).toBe(1);
      },
    ));
});
