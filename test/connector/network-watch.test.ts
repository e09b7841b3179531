/** Changes of this machine's addresses, and what becomes of a tunnel's connections then, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  compareNetworks,
  hasLeft,
  type Interfaces,
  outwardAddresses,
  watchNetwork,
} from "../../src/connector/network-watch.ts";
import { registered } from "./fake-edge.ts";
import { inSupervision } from "./supervision.ts";

function interfaces(addresses: readonly string[], internal = false): Interfaces {
  return {
    eth0: addresses.map((address) => ({
      address,
      internal,
      netmask: "255.255.255.0",
      mac: "00:00:00:00:00:00",
      cidr: null,
      family: "IPv4",
    })),
    gone: undefined,
  };
}

describe("the addresses of a machine", () => {
  it("that lead elsewhere are neither its own, nor of one link alone", () => {
    const found = outwardAddresses({
      ...interfaces(["127.0.0.1", "::1"], true),
      wlan0: interfaces(["192.0.2.7", "fe80::1", "FEBF::1", "169.254.1.1", "2001:db8::7"]).eth0,
    });
    expect([...found]).toEqual(["192.0.2.7", "2001:db8::7"]);
  });

  it("are compared by what came and what went", () => {
    const before = new Set(["192.0.2.7", "2001:db8::7"]);
    expect(compareNetworks(before, new Set(["2001:db8::7", "192.0.2.7"]))).toBeUndefined();
    const change = compareNetworks(before, new Set(["2001:db8::7", "198.51.100.1"]));
    expect(change).toMatchObject({ appeared: ["198.51.100.1"], disappeared: ["192.0.2.7"] });
    if (change === undefined) throw new Error("no change");
    expect(["192.0.2.7", "2001:db8::7", "127.0.0.1"].map(hasLeft(change))).toEqual([true, false, false]);
  });
});

describe("the watch", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("tells each change once, and nothing after its end", () => {
    let now = ["192.0.2.7"];
    const changes: unknown[] = [];
    const stop = watchNetwork(
      ({ appeared, disappeared }) => changes.push([appeared, disappeared]),
      () => interfaces(now),
    );
    vi.advanceTimersByTime(60_000);
    expect(changes).toEqual([]);
    now = [];
    vi.advanceTimersByTime(60_000);
    now = ["198.51.100.1"];
    vi.advanceTimersByTime(5_000);
    expect(changes).toEqual([
      [[], ["192.0.2.7"]],
      [["198.51.100.1"], []],
    ]);
    stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("takes a system that does not tell for one that does not change", () => {
    let forbidden = true;
    const changes: unknown[] = [];
    const stop = watchNetwork(
      (change) => changes.push(change),
      () => {
        if (forbidden) throw new Error("EPERM");
        return interfaces(["192.0.2.7"]);
      },
    );
    vi.advanceTimersByTime(10_000);
    forbidden = false;
    vi.advanceTimersByTime(10_000);
    forbidden = true;
    vi.advanceTimersByTime(10_000);
    expect(changes).toEqual([]);
    stop();
  });
});

describe("after a change", () => {
  const present = new Set(["192.0.2.1"]);
  const appeared = { appeared: ["192.0.2.1"], disappeared: [], present };

  it("each connection is asked for a sign of life, and one that answers stays", () =>
    inSupervision({}, async ({ advance, edge, supervisor }) => {
      await advance(30_000);
      supervisor.networkChanged(appeared);
      await advance(30_000);
      expect(edge.open.map(({ probes }) => probes)).toEqual([1, 1, 1, 1]);
      expect(edge.connections).toHaveLength(4);
    }));

  it("those that don't answer are replaced before they end, of another region", () =>
    inSupervision({}, async ({ addresses, advance, edge, named, supervisor }) => {
      await advance(30_000);
      const [first, second] = edge.open;
      edge.onProbe = (connection) => {
        if (connection === first || connection === second) setTimeout(() => connection.onSilence(true), 2_000);
      };
      supervisor.networkChanged(appeared);
      await advance(2_000);
      expect(supervisor.connections.map(({ state }) => state)).toEqual([
        "silent",
        "silent",
        "registered",
        "registered",
      ]);
      expect(supervisor.readyConnections).toBe(2);
      expect(supervisor.registeredConnections).toBe(4);
      await advance(1_500);
      expect(supervisor.readyConnections).toBe(4);
      expect(named("disconnected").map(({ error }) => error)).not.toContainEqual(expect.any(Error));
      expect(addresses.rotations).toEqual([
        { connIndex: expect.any(Number), why: "silent" },
        { connIndex: expect.any(Number), why: "silent" },
      ]);
      await advance(10_000);
      expect(first?.closeReason?.kind).toBe("replaced");
      expect(edge.open).toHaveLength(4);
    }));

  it("those whose own address has gone are not even asked", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, logged, supervisor }) => {
      await advance(30_000);
      supervisor.networkChanged({ appeared: [], disappeared: ["192.0.2.1"], present: new Set() });
      expect(supervisor.connections).toMatchObject([{ state: "silent" }]);
      await advance(1_500);
      expect(edge.connections).toHaveLength(2);
      expect(edge.connections[0]?.probes).toBe(0);
      expect(logged("The edge does not answer")).toHaveLength(1);
    }));

  it("who waits for another attempt need not wait where there is a new address", () =>
    inSupervision({ retries: 1 }, async ({ addresses, advance, edge, supervisor }) => {
      let changes = 0;
      addresses.networkChanged = () => {
        changes++;
      };
      edge.onDial = () => new Error("no route");
      await advance(400_000);
      edge.onDial = () => undefined;
      const dials = edge.dials.length;
      supervisor.networkChanged({ appeared: [], disappeared: ["198.51.100.9"], present });
      await advance(1_000);
      // An address less is no better chance.
      expect(edge.dials).toHaveLength(dials);
      supervisor.networkChanged(appeared);
      expect(changes).toBe(2);
      await advance(1_000);
      expect(edge.dials.length).toBeGreaterThan(dials);
      expect(supervisor.registeredConnections).toBe(4);
    }));
});

describe("a connection that does not answer", () => {
  it("and then does again stays, before its replacement is dialled and while it is", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, logged, named, supervisor }) => {
      await advance(30_000);
      edge.dialDelayMs = 2_000;
      const [connection] = edge.open;
      for (const wait of [0, 1_500]) {
        connection?.onSilence(true);
        await advance(wait);
        connection?.onSilence(false);
        await advance(20_000);
        expect(supervisor.connections).toMatchObject([{ state: "registered", reconnects: 0 }]);
        expect(edge.open).toEqual([connection]);
      }
      expect(edge.dials).toHaveLength(2);
      expect(logged("The edge answers again")).toHaveLength(2);
      expect(named("silence").map(({ info }) => info.state)).toEqual(["silent", "registered", "silent", "registered"]);
    }));

  it("and then does again is replaced in order where the edge may count the other one already", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, named, supervisor }) => {
      await advance(30_000);
      edge.registerDelayMs = 2_000;
      const [connection] = edge.open;
      connection?.onSilence(true);
      await advance(1_500);
      connection?.onSilence(false);
      expect(supervisor.connections).toMatchObject([{ state: "registered", reconnects: 0 }]);
      await advance(10_000);
      expect(connection?.closeReason).toEqual({ kind: "replaced" });
      expect(supervisor.connections).toMatchObject([{ state: "registered", reconnects: 1 }]);
      expect(named("disconnected").map(({ error }) => error)).toEqual([undefined]);
    }));

  it("and then does again stays without a word where the other one is refused", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, logged, named, supervisor }) => {
      await advance(30_000);
      edge.registerDelayMs = 2_000;
      edge.onRegister = () => new Error("not now");
      const [connection] = edge.open;
      connection?.onSilence(true);
      await advance(1_500);
      connection?.onSilence(false);
      await advance(60_000);
      expect(edge.open).toEqual([connection]);
      expect(edge.dials).toHaveLength(2);
      expect(named("retrying")).toEqual([]);
      expect(logged("Retrying")).toEqual([]);
      // Silent again, it is replaced as before.
      connection?.onSilence(true);
      await advance(1_500);
      connection?.onSilence(false);
      connection?.onSilence(true);
      edge.onRegister = () => registered();
      await advance(60_000);
      expect(connection?.closeReason).toEqual({ kind: "replaced" });
      expect(supervisor.connections).toMatchObject([{ state: "registered", reconnects: 1 }]);
    }));

  it("and has lost its control stream meanwhile is replaced all the same", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge }) => {
      await advance(30_000);
      const [connection] = edge.open;
      edge.dialDelayMs = 2_000;
      connection?.onSilence(true);
      await advance(1_100);
      connection?.client.end(undefined);
      await advance(100);
      connection?.onSilence(false);
      await advance(10_000);
      expect(connection?.closeReason).toEqual({ kind: "replaced" });
      expect(edge.open).toHaveLength(1);
    }));

  it("is lost: the next attempt goes to another region", () =>
    inSupervision({ haConnections: 1 }, async ({ addresses, advance, edge, named }) => {
      await advance(30_000);
      const [connection] = edge.open;
      connection?.onSilence(true);
      connection?.drop(new Error("idle timeout"));
      await advance(5_000);
      expect(addresses.rotations).toEqual([{ connIndex: 0, why: "silent" }]);
      expect(named("disconnected")).toMatchObject([{ error: { code: "ERR_UNDERPASS_CONNECTION_LOST" } }]);
      expect(new Set(edge.dials.map(({ ip }) => ip)).size).toBe(2);
    }));

  it("is lost while its replacement is opened: that goes on", () =>
    inSupervision({ haConnections: 1 }, async ({ advance, edge, named, supervisor }) => {
      await advance(30_000);
      edge.registerDelayMs = 3_000;
      const [connection] = edge.open;
      connection?.onSilence(true);
      await advance(1_100);
      connection?.drop(new Error("idle timeout"));
      await advance(10);
      expect(supervisor.connections).toMatchObject([{ state: "connecting" }]);
      expect(named("retrying")).toEqual([]);
      await advance(5_000);
      expect(supervisor.connections).toMatchObject([{ state: "registered", reconnects: 1 }]);
      expect(edge.dials).toHaveLength(2);
    }));
});
