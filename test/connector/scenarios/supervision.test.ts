/** Supervision and readiness (cases SUP of the list), over both transports, in virtual time. */
import { once } from "node:events";
import { PassThrough } from "node:stream";
import tls from "node:tls";
import { afterEach, describe, expect, it, vi } from "vitest";
import { controlByStdin } from "../../../src/cli/stdin-control.ts";
import { dialTls } from "../../../src/edge/dial.ts";
import { createEdgeTls } from "../../../src/edge/tls.ts";
import type { Tunnel } from "../../../src/index.ts";
import { createAuthority } from "../../../src/mock-edge/ca.ts";
import { certificate } from "../../../src/mock-edge/certificates.ts";
import { recordingLogger } from "../fake-edge.ts";
import {
  advance,
  ask,
  heldOrigin,
  inVirtualTime,
  pumped,
  readAll,
  readiness,
  stateOf,
  until,
  type VirtualOptions,
  type VirtualRig,
} from "./virtual-edge.ts";
import { closedPort, freePort } from "../../ports.ts";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const scenario = (run: (rig: VirtualRig) => Promise<void>, options?: VirtualOptions) =>
    inVirtualTime(protocol, run, options);

  it("SUP-01: /ready is 503 before the registration, 200 with the number after it, 503 after a loss and while draining", () =>
    scenario(
      async ({ edge, start }) => {
        const { letGo, origin, arrived } = heldOrigin();
        const metrics = await freePort();
        const metricsUrl = `http://127.0.0.1:${metrics}`;
        edge.fail({ kind: "never-answer" });
        const opening = start({ haConnections: 2, metrics, origin }).tunnel;
        await until(() => stateOf(edge).includes("registering"));
        expect(await readiness({ metricsUrl })).toMatchObject({ status: 503, body: { readyConnections: 0 } });
        const tunnel = await pumped(opening);
        await until(() => tunnel.connections.filter(({ state }) => state === "registered").length === 2);
        expect(await readiness(tunnel)).toEqual({
          status: 200,
          body: { status: 200, readyConnections: 2, connectorId: tunnel.connectorId },
        });
        edge.fail({ kind: "exception", reason: "not yet" }, { times: 4 });
        edge.dropConnections();
        await until(() => tunnel.connections.every(({ state }) => state !== "registered" && state !== "silent"));
        expect(await readiness(tunnel)).toMatchObject({ status: 503, body: { status: 503, readyConnections: 0 } });
        await until(() => tunnel.connections.every(({ state }) => state === "registered"));
        await until(() => stateOf(edge).filter((state) => state === "registered").length === 2);
        const held = readAll(edge.openStream({ authority: "app.example.com", path: "/hold", end: true }));
        await until(() => arrived.length === 1);
        const closed = tunnel.close();
        await advance(3_000);
        expect(await readiness(tunnel)).toMatchObject({ status: 503, body: { readyConnections: 0 } });
        letGo();
        await until(() => held.ended);
        expect(held.text).toBe("finished");
        await pumped(closed);
      },
      { closeDrained: false },
    ));

  it("SUP-02: of two addresses where nothing listens each is tried in turn, with growing waits", () =>
    scenario(async ({ lines, start }) => {
      const ports = [await closedPort(), await closedPort()];
      vi.spyOn(Math, "random").mockReturnValue(0.5);
      start({ edge: ports.map((port) => `127.0.0.1:${port}`) }).tunnel.catch(() => {});
      const failed = () => lines.filter(({ message }) => /^(Retrying|Serve tunnel)/.test(message));
      await until(() => failed().length === 1);
      // Of a window that doubles a number in the middle; time goes on in steps.
      for (const [n, seconds] of [1, 2, 4, 8].entries()) {
        const waited = await until(() => failed().length === n + 2);
        expect(waited).toBeGreaterThanOrEqual(seconds * 1_000 - 50);
        expect(waited).toBeLessThan(seconds * 1_000 + 500);
      }
      await advance(15_000);
      const attempts = failed();
      const tried = attempts.map(({ fields }) => /127\.0\.0\.1:(\d+)/.exec(String(fields.error))?.[1]);
      expect(attempts.length).toBeGreaterThan(4);
      for (const [i, port] of tried.entries()) if (i > 0) expect(port).not.toBe(tried[i - 1]);
      expect(attempts.slice(0, 4).map(({ message }) => message)).toEqual(
        [2, 4, 8, 16].map((s) => `Retrying connection in up to ${s}s`),
      );
    }));

  it("SUP-03: a single address where nothing listens does not spin", () =>
    scenario(async ({ lines, start }) => {
      start({ edge: `127.0.0.1:${await closedPort()}` }).tunnel.catch(() => {});
      await advance(300_000);
      const attempts = lines.filter(({ message }) => /^(Retrying|Serve tunnel)/.test(message));
      expect(attempts.length).toBeGreaterThan(5);
      expect(attempts.length).toBeLessThan(40);
    }));

  it.each(["untrusted", "wrong-name", "expired"] as const)(
    "SUP-04, row 8: an edge with a certificate that is %s is refused every time, whatever the environment says, until it is right",
    (kind) =>
      scenario(
        async ({ edge, lines, start }) => {
          vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
          const { tunnel } = start();
          await advance(30_000);
          expect(edge.registrations).toEqual([]);
          const errors = lines
            .filter(({ message }) => message.startsWith("Retrying"))
            .map(({ fields }) => fields.error);
          expect(errors.length).toBeGreaterThan(2);
          for (const error of errors) expect(error).toMatch(/certificate|issuer|trust/i);
          edge.useCertificate("valid");
          await pumped(tunnel);
        },
        { certificate: kind },
      ),
  );

  it.runIf(protocol === "http2")("SUP-05: an edge that has TLS 1.2 alone is good enough", () =>
    scenario(
      async ({ edge, open }) => {
        await open();
        expect(edge.connections.map(({ tlsVersion }) => tlsVersion)).toEqual(["TLSv1.2"]);
      },
      { maxTlsVersion: "TLSv1.2" },
    ),
  );

  it("SUP-06: of four connections one is lost: the others are untouched, and the same index returns", () =>
    scenario(async ({ edge, logged, open }) => {
      const tunnel = await open({ haConnections: 4 });
      const events: [what: string, connIndex: number, code?: unknown][] = [];
      tunnel.on("disconnected", ({ connIndex }, error) =>
        events.push(["disconnected", connIndex, error !== undefined && "code" in error ? error.code : undefined]),
      );
      tunnel.on("retrying", ({ connIndex }) => events.push(["retrying", connIndex]));
      tunnel.on("registered", ({ connIndex }) => events.push(["registered", connIndex]));
      const others = edge.connections.filter(({ registration }) => registration?.connIndex !== 2);
      edge.dropConnections({ connIndex: 2 });
      await until(() => events.length > 0);
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      await until(() => events.length === 3);
      expect(events[0]).toEqual(["disconnected", 2, "ERR_UNDERPASS_CONNECTION_LOST"]);
      expect(events[2]).toEqual(["registered", 2]);
      expect(others.map(({ state }) => state)).toEqual(Array(3).fill("registered"));
      expect(tunnel.connections[2]).toMatchObject({
        state: "registered",
        reconnects: 1,
        lastError: { code: "ERR_UNDERPASS_CONNECTION_LOST" },
      });
      expect(logged("Lost connection with the edge")).toHaveLength(1);
    }));

  it("SUP-07: `reconnect 5s` on stdin ends one connection in order, and it returns after that time", () =>
    scenario(async ({ edge, open }) => {
      const tunnel = await open({ haConnections: 2 });
      const { say, stop } = stdinOf(tunnel);
      const errors: unknown[] = [];
      tunnel.on("disconnected", (_info, error) => errors.push(error));
      say("reconnect 5s\n");
      await until(() => tunnel.connections.filter(({ state }) => state === "waiting").length === 1);
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      await until(() => errors.length === 1);
      await advance(2_000);
      expect(edge.registrations).toHaveLength(2);
      await until(() => tunnel.connections.every(({ state }) => state === "registered"));
      expect(edge.registrations).toHaveLength(3);
      expect(errors).toEqual([undefined]);
      stop();
    }));

  it("SUP-07: `reconnect` opens the new connection before it ends the old one, and no request notices", () =>
    scenario(async ({ edge, open }) => {
      const { letGo, origin, arrived } = heldOrigin();
      const tunnel = await open({ metrics: 0, origin });
      const [old] = edge.connections;
      const held = readAll(old?.openStream({ authority: "app.example.com", path: "/hold", end: true }));
      await until(() => arrived.length === 1);
      const { say, stop } = stdinOf(tunnel);
      let fewest = 1;
      say("reconnect\n");
      await until(() => {
        fewest = Math.min(fewest, tunnel.connections.filter(({ state }) => state === "registered").length);
        return edge.registrations.length === 2 && old?.state === "draining";
      });
      expect(fewest).toBe(1);
      expect(await readiness(tunnel)).toMatchObject({ status: 200 });
      letGo();
      await until(() => held.ended);
      expect(held.text).toBe("finished");
      await until(() => edge.connections.length === 1);
      expect(tunnel.connections).toMatchObject([{ state: "registered", reconnects: 1, requests: 1 }]);
      stop();
    }));
});

function stdinOf(tunnel: Tunnel): { say: (text: string) => void; stop: () => void } {
  const stdin = new PassThrough();
  const stop = controlByStdin({ stdin, tunnel, logger: recordingLogger().logger, random: () => 0 });
  return { say: (text) => void stdin.write(text), stop };
}

describe("whatever the transport", () => {
  it("SUP-05: an edge that has P-256 alone is good enough", async () => {
    const authority = createAuthority();
    const { certPem, keyPem } = certificate("valid", authority, createAuthority);
    const server = tls.createServer({ key: keyPem, cert: certPem, ecdhCurve: "P-256", minVersion: "TLSv1.3" });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    try {
      const socket = await dialTls({
        address: { ip: "127.0.0.1", port: address.port, family: 4 },
        servername: "h2.cftunnel.com",
        tls: createEdgeTls({ cacert: authority.certPem, postQuantum: false }),
      });
      expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: "prime256v1" });
      socket.destroy();
    } finally {
      server.close();
    }
  });
});
