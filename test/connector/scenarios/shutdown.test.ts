/** The end of a tunnel (cases SHUT of the list), over both transports, in virtual time. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { ConfigError, connect, type ConnectOptions } from "../../../src/index.ts";
import { cli } from "../../cli/fake-io.ts";
import {
  advance,
  begin,
  heldOrigin,
  inVirtualTime,
  pumped,
  readAll,
  stateOf,
  until,
  type VirtualOptions,
  type VirtualRig,
} from "./virtual-edge.ts";

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const scenario = (run: (rig: VirtualRig) => Promise<void>, options?: VirtualOptions) =>
    inVirtualTime(protocol, run, options);

  it("SHUT-01: with a passive edge each connection unregisters at once, requests go on, and the end comes with the grace period", () =>
    scenario(
      async ({ edge, open }) => {
        const { origin, arrived } = heldOrigin();
        const tunnel = await open({ haConnections: 2, gracePeriod: 6_000, origin });
        const [first] = edge.connections;
        readAll(first?.openStream({ authority: "app.example.com", path: "/hold", end: true }));
        await until(() => arrived.length === 1);
        const closed = begin(tunnel.close());
        await until(() => stateOf(edge).every((state) => state === "draining"));
        const fresh = readAll(first?.openStream({ authority: "app.example.com", path: "/fresh", end: true }));
        await until(() => fresh.ended);
        expect(fresh.text).toBe("finished");
        const took = await until(() => closed.done);
        expect(took).toBeGreaterThan(5_000);
        expect(took).toBeLessThan(6_200);
        await expect(tunnel.finished).resolves.toBeUndefined();
      },
      { closeDrained: false },
    ));

  it("SHUT-01: a passive edge is not waited for once nothing has been open for a second", () =>
    scenario(
      async ({ open }) => {
        const tunnel = await open({ haConnections: 2, gracePeriod: 60_000 });
        const closed = begin(tunnel.close());
        expect(await until(() => closed.done)).toBeLessThan(1_500);
      },
      { closeDrained: false },
    ));

  it("SHUT-02: where the edge closes what has drained the end comes before the grace period's", () =>
    scenario(async ({ edge, open }) => {
      const { letGo, origin, arrived } = heldOrigin();
      const tunnel = await open({ gracePeriod: 60_000, origin });
      const held = readAll(edge.openStream({ authority: "app.example.com", path: "/hold", end: true }));
      await until(() => arrived.length === 1);
      const closed = begin(tunnel.close());
      await advance(5_000);
      expect(closed.done).toBe(false);
      letGo();
      expect(await until(() => closed.done)).toBeLessThan(1_500);
      expect(held).toMatchObject({ text: "finished", ended: true });
    }));

  it("SHUT-03: no grace is no wait", () =>
    scenario(
      async ({ edge, open }) => {
        const { origin, arrived } = heldOrigin();
        const tunnel = await open({ haConnections: 2, origin });
        const held = readAll(edge.openStream({ authority: "app.example.com", path: "/hold", end: true }));
        await until(() => arrived.length === 1);
        const closed = begin(tunnel.close({ grace: 0 }));
        expect(await until(() => closed.done)).toBeLessThan(100);
        await until(() => edge.connections.length === 0);
        expect(held.text).toBe("");
      },
      { closeDrained: false },
    ));

  it("SHUT-04: what takes longer than the grace period is cut off, with its outcome; the connection ends in order", () =>
    scenario(
      async ({ edge, open }) => {
        const { origin, arrived } = heldOrigin();
        const tunnel = await open({ gracePeriod: 2_000, origin });
        const outcomes: string[] = [];
        tunnel.on("request", (outcome) => outcomes.push(outcome.class));
        const [connection] = edge.connections;
        const held = readAll(connection?.openStream({ authority: "app.example.com", path: "/hold", end: true }));
        await until(() => arrived.length === 1);
        await pumped(tunnel.close());
        await until(() => edge.connections.length === 0);
        expect(held.text).toBe("");
        expect(outcomes).toEqual(["shutdown"]);
        // Neither a reset of TCP nor an error code of QUIC.
        expect(connection?.error).toBeUndefined();
      },
      { closeDrained: false },
    ));

  it("SHUT-05: before a registration the end is at once, and clean", () =>
    scenario(async ({ edge, lines, start }) => {
      const abort = new AbortController();
      edge.fail({ kind: "never-answer" });
      const { tunnel } = start({ signal: abort.signal });
      const outcome = tunnel.catch((error: unknown) => error);
      await until(() => edge.connections.some(({ state }) => state === "registering"));
      abort.abort();
      const begun = performance.now();
      expect(await pumped(outcome)).toMatchObject({ name: "AbortError" });
      expect(performance.now() - begun).toBeLessThan(100);
      expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
      await until(() => edge.connections.length === 0);
    }));
});

describe("over quic alone", () => {
  it("SHUT-01: UDP sessions that are in use are served on, and hold the end off until they rest", () =>
    inVirtualTime(
      "quic",
      async ({ edge, open }) => {
        const origin = createSocket("udp4", (payload, { port, address }) => origin.send(payload, port, address));
        origin.bind(0, "127.0.0.1");
        await once(origin, "listening");
        onTestFinished(() => void origin.close());
        const tunnel = await open({ gracePeriod: 60_000 });
        const session = await pumped(edge.openUdpSession(`127.0.0.1:${origin.address().port}`));
        const closed = begin(tunnel.close());
        for (let i = 0; i < 10; i++) {
          session.send(Buffer.from(`still ${i}`));
          expect((await pumped(session.receive())).toString()).toBe(`still ${i}`);
          await advance(800);
        }
        expect(closed.done).toBe(false);
        expect(await until(() => closed.done)).toBeLessThan(1_500);
      },
      { closeDrained: false },
    ));
});

describe("whatever the transport", () => {
  it("SHUT-06: a grace period of more than three minutes is refused before anything starts", async () => {
    const options = (gracePeriod: number): ConnectOptions => ({
      token: "x",
      origin: "http://localhost:1",
      gracePeriod,
    });
    await expect(connect(options(180_001))).rejects.toBeInstanceOf(ConfigError);
    await expect(connect(options(180_001))).rejects.toThrow(/gracePeriod/);
    const { io, status } = await cli(["tunnel", "--url", "http://localhost:1", "--grace-period", "3m1s"]);
    expect(status).not.toBe(0);
    expect(io.stderr.text).toMatch(/grace-period/);
  });
});
