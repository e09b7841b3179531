/** Lost, frozen and black-holed connections (rows 10 to 16 of the reliability list), in virtual time over loopback. */
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { ConnectionInfo } from "../../../src/index.ts";
import { advance, ask, heldOrigin, inVirtualTime, pumped, readAll, readiness, stateOf, until } from "./virtual-edge.ts";

/** Within two seconds more of waiting, and a handshake. */
const REPLACED_MS = 2_500;

const registeredOf = (connections: readonly ConnectionInfo[]): number[] =>
  connections.flatMap(({ connIndex, state }) => (state === "registered" ? [connIndex] : []));

describe("row 10: a tunnel whose hostname is not routed yet", () => {
  it("is registered at once, and ready only when a probe has come through it", () =>
    inVirtualTime("http2", async ({ edge, start }) => {
      let routed = false;
      const probe = async (): Promise<{ status: number; body: string }> => {
        if (!routed) return { status: 530, body: "error code: 1033" };
        return { status: (await edge.fetch("/")).status, body: "" };
      };
      const tunnel = await pumped(start({ healthCheck: { url: edge.publicUrl, probe } }).tunnel);
      const ready: string[] = [];
      tunnel.on("ready", (url) => ready.push(url));
      expect(registeredOf(tunnel.connections)).toEqual([0]);
      await advance(3_000);
      expect(ready).toEqual([]);
      routed = true;
      await until(() => ready.length > 0, 60_000);
      await advance(60_000);
      expect(ready).toHaveLength(1);
    }));
});

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  it("row 11: four connections that are cut at once come back within seconds, and not together", () =>
    inVirtualTime(protocol, async ({ edge, open }) => {
      const tunnel = await open({ haConnections: 4, edge: Array.from({ length: 6 }, () => edge.edgeAddress) });
      await advance(15_000);
      const back: number[] = [];
      tunnel.on("registered", () => back.push(performance.now()));
      const cutAt = performance.now();
      edge.dropConnections();
      await until(() => back.length === 4, 60_000);
      const delays = back.map((at) => at - cutAt);
      // QUIC hears of nothing, and finds out by its idle timeout.
      expect(Math.min(...delays)).toBeLessThan(protocol === "quic" ? 7_000 : 2_500);
      const mean = delays.reduce((sum, delay) => sum + delay, 0) / delays.length;
      expect(delays.reduce((sum, delay) => sum + (delay - mean) ** 2, 0)).toBeGreaterThan(0);
    }));

  it("row 14: a connection whose edge stands still is found out, replaced, and only then given up; /ready is right throughout", () =>
    inVirtualTime(protocol, async ({ edge, logged, start }) => {
      const tunnel = await pumped(start({ haConnections: 2, metrics: 0 }).tunnel);
      await until(() => registeredOf(tunnel.connections).length === 2 && edge.registrations.length === 2);
      const frozen = edge.connections.find(({ registration }) => registration?.connIndex === 0);
      const events: string[] = [];
      tunnel.on("registered", ({ connIndex }) => events.push(`registered ${connIndex}`));
      tunnel.on("disconnected", ({ connIndex }) => events.push(`disconnected ${connIndex}`));
      frozen?.freeze();
      const noticed = await until(() => tunnel.connections[0]?.state === "silent");
      // Two PINGs of HTTP/2 are 20 s apart, the idle timeout of QUIC is 5 s.
      expect(noticed).toBeLessThan(protocol === "quic" ? 4_000 : 16_000);
      expect(await readiness(tunnel)).toMatchObject({ status: 200, body: { readyConnections: 1 } });
      expect(logged("The edge does not answer")).toMatchObject([{ level: "info", fields: { connIndex: 0 } }]);
      expect(await until(() => events.length > 0)).toBeLessThan(REPLACED_MS);
      expect(events).toEqual(["registered 0"]);
      expect(await readiness(tunnel)).toMatchObject({ status: 200, body: { readyConnections: 2 } });
      await until(() => events.length === 2, 60_000);
      expect(events).toEqual(["registered 0", "disconnected 0"]);
      expect(registeredOf(tunnel.connections)).toEqual([0, 1]);
      expect(tunnel.connections).toMatchObject([
        { reconnects: 1, lastError: { code: "ERR_UNDERPASS_CONNECTION_LOST", message: "the edge did not answer" } },
        { reconnects: 0, lastError: undefined },
      ]);
    }));

  it("row 14: the only connection's is replaced before it is given up as well", () =>
    inVirtualTime(protocol, async ({ edge, open }) => {
      const tunnel = await open({ metrics: 0 });
      edge.connections[0]?.freeze();
      await until(() => tunnel.connections[0]?.state === "silent");
      expect(await readiness(tunnel)).toMatchObject({ status: 503, body: { readyConnections: 0 } });
      await until(() => tunnel.connections[0]?.state === "registered");
      expect(await readiness(tunnel)).toMatchObject({ status: 200, body: { readyConnections: 1 } });
      await until(() => edge.connections.filter(({ state }) => state === "registered").length > 0);
      expect(edge.registrations).toHaveLength(2);
    }));

  it("an edge that was only slow to answer keeps its connection, and what it serves", () =>
    inVirtualTime(protocol, async ({ edge, logged, open }) => {
      // Half a second passes before another one is opened in its place.
      const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
      onTestFinished(() => random.mockRestore());
      const { letGo, origin, arrived } = heldOrigin();
      const tunnel = await open({ origin });
      const [connection] = edge.connections;
      const held = readAll(connection?.openStream({ authority: "app.example.com", path: "/hold", end: true }));
      await until(() => arrived.length === 1);
      connection?.freeze();
      await until(() => tunnel.connections[0]?.state === "silent");
      connection?.thaw();
      await until(() => tunnel.connections[0]?.state === "registered");
      await advance(30_000);
      expect(logged("The edge answers again")).toHaveLength(1);
      expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 0, activeStreams: 1 }]);
      letGo();
      await until(() => held.ended);
      expect(held.text).toBe("finished");
      await until(() => stateOf(edge).length === 1);
    }));

  it("row 15: 100 visitors a second who leave for a minute cost nobody else an answer", () =>
    inVirtualTime(protocol, async ({ edge, open }) => {
      const tunnel = await open({
        origin: (request: Request) =>
          new URL(request.url).pathname === "/slow" ? new Promise<Response>(() => {}) : new Response("served"),
      });
      const [connection] = edge.connections;
      let served = 0;
      for (let second = 0; second < 60; second++) {
        for (let batch = 0; batch < 10; batch++) {
          const leaving = Array.from({ length: 10 }, () =>
            connection?.openStream({ authority: "app.example.com", path: "/slow", end: true }),
          );
          await advance(100);
          for (const stream of leaving) {
            stream?.on("error", () => {});
            stream?.destroy();
          }
        }
        const answer = await ask(edge);
        if (answer?.text === "served") served++;
      }
      expect(served).toBe(60);
      expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 0 }]);
      expect(tunnel.connections[0]?.resets).toBeGreaterThanOrEqual(5_900);
      await until(() => tunnel.connections[0]?.activeStreams === 0);
    }));

  it("row 16: after ten minutes of sleep every connection is opened anew before the old one goes, and no timer is owed", () =>
    inVirtualTime(protocol, async ({ edge, logged, open }) => {
      const tunnel = await open({ haConnections: 4 });
      const outcomes: number[] = [];
      tunnel.on("request", ({ milliseconds }) => outcomes.push(milliseconds));
      const old = [...edge.connections];
      // The wall clock alone goes on while a machine sleeps.
      vi.setSystemTime(Date.now() + 600_000);
      let fewest = 4;
      await until(() => {
        fewest = Math.min(fewest, registeredOf(tunnel.connections).length);
        return edge.registrations.length === 8;
      });
      expect(fewest).toBe(4);
      await until(() => old.every(({ state }) => state === "closed"));
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      expect(outcomes.every((milliseconds) => milliseconds >= 0)).toBe(true);
      expect(logged("stood still for 600s")).toHaveLength(1);
      await advance(60_000);
      expect(edge.registrations).toHaveLength(8);
      expect(tunnel.connections.map(({ reconnects }) => reconnects)).toEqual([1, 1, 1, 1]);
    }));
});

describe("row 17: a change of this machine's addresses", () => {
  const real = os.networkInterfaces;
  let address: string;

  beforeEach(() => {
    address = "192.0.2.7";
    os.networkInterfaces = () => ({
      wlan0: [
        { address, internal: false, netmask: "255.255.255.0", mac: "00:00:00:00:00:00", cidr: null, family: "IPv4" },
      ],
    });
    syncBuiltinESMExports();
  });

  afterEach(() => {
    os.networkInterfaces = real;
    syncBuiltinESMExports();
  });

  it("has every connection show at once whether it still reaches the edge, and replaces the one that does not", () =>
    inVirtualTime("http2", async ({ edge, open, logged }) => {
      const tunnel = await open({ haConnections: 2 });
      await advance(20_000);
      edge.connections.find(({ registration }) => registration?.connIndex === 1)?.freeze();
      address = "198.51.100.7";
      // A look every 5 s, 2 s for an answer: without the change it would be 15 s.
      expect(await until(() => tunnel.connections[1]?.state === "silent")).toBeLessThan(8_000);
      await until(() => registeredOf(tunnel.connections).length === 2);
      expect(tunnel.connections.map(({ reconnects }) => reconnects)).toEqual([0, 1]);
      expect(logged("This machine's addresses have changed")).toHaveLength(1);
    }));
});

describe("QUIC through a network that loses every datagram", () => {
  it("row 12: for 4 s loses no connection", () =>
    inVirtualTime("quic", async ({ edge, open }) => {
      const tunnel = await open();
      const ends: unknown[] = [];
      // Another may have taken its place: that ends in order.
      tunnel.on("disconnected", (_info, error) => ends.push(error));
      for (const since of [0, 300, 600]) {
        expect(await ask(edge)).toMatchObject({ status: 200 });
        await advance(since);
        edge.blockUdp(true);
        await advance(4_000);
        edge.blockUdp(false);
        await advance(10_000);
      }
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      expect(ends.filter((error) => error !== undefined)).toEqual([]);
      expect(tunnel.connections).toMatchObject([{ state: "registered" }]);
      expect(tunnel.connections[0]?.lastError?.message ?? "the edge did not answer").toBe("the edge did not answer");
    }));

  it("row 12: for 6 s loses them by the idle timeout of 5 s, and goes to another region", () =>
    inVirtualTime(
      "quic",
      async ({ edges, logged, open }) => {
        const tunnel = await open();
        const there = edges.find(({ connections }) => connections.length === 0);
        await advance(10_000);
        for (const edge of edges) edge.blockUdp(true);
        const lostAfter = await until(() => tunnel.connections[0]?.state === "connecting");
        expect(lostAfter).toBeLessThan(6_200);
        expect(tunnel.connections[0]?.edgeAddress).toBe(there?.edgeAddress);
        await advance(6_000 - Math.min(6_000, lostAfter));
        for (const edge of edges) edge.blockUdp(false);
        await until(() => registeredOf(tunnel.connections).length === 1);
        expect(logged("Lost connection with the edge")).toHaveLength(1);
        expect(String(logged("Lost connection with the edge")[0]?.fields.error)).toMatch(/5000 ms|5 s|idle/);
      },
      { edges: 2 },
    ));

  it("row 13: goes on over HTTP/2 before the connections are lost, says so once, and comes back to QUIC", () =>
    inVirtualTime("quic", async ({ edge, logged, open }) => {
      const tunnel = await open({ haConnections: 2, protocol: "auto" });
      const protocols = (): string[] => tunnel.connections.map(({ protocol }) => protocol);
      expect(protocols()).toEqual(["quic", "quic"]);
      const lost: unknown[] = [];
      tunnel.on("disconnected", (_info, error) => {
        if (error !== undefined) lost.push(error);
      });
      edge.blockUdp(true);
      const took = await until(() => protocols().every((name) => name === "http2"));
      expect(took).toBeLessThan(6_000);
      expect(registeredOf(tunnel.connections)).toEqual([0, 1]);
      expect(logged("QUIC does not get through: using HTTP/2")).toHaveLength(1);
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      edge.blockUdp(false);
      await until(() => protocols().every((name) => name === "quic"), 600_000);
      expect(logged("QUIC gets through again")).toHaveLength(1);
      expect(lost).toEqual([]);
    }));
});
