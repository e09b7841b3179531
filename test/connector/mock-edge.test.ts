/** The connector against the mock edge: registration rows of the conformance list, replacing, draining, health. */
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import type { EdgeProtocol } from "../../src/types.ts";
import { type Fault, type MockEdge, type MockEdgeOptions, startMockEdge } from "../../src/mock-edge/index.ts";

interface Rig {
  readonly edge: MockEdge;
  readonly lines: [level: string, message: string, fields: Record<string, unknown>][];
  readonly connect: (options?: Partial<ConnectOptions>) => Promise<Tunnel>;
}

/** A mock edge of its own for each test, so that they can run beside each other. */
async function withMockEdge(
  protocol: EdgeProtocol,
  run: (rig: Rig) => Promise<void>,
  options: MockEdgeOptions = {},
): Promise<void> {
  const edge = await startMockEdge(options);
  const tunnels: Tunnel[] = [];
  const lines: Rig["lines"] = [];
  const at =
    (level: string) =>
    (message: string, fields: object = {}): void => {
      lines.push([level, message, { ...fields }]);
    };
  try {
    await run({
      edge,
      lines,
      connect: async (overrides = {}) => {
        const tunnel = await connect({
          token: edge.issueToken(),
          edge: Array.from({ length: overrides.haConnections ?? 4 }, () => edge.edgeAddress),
          cacert: edge.caPem,
          protocol,
          origin: () => new Response("served"),
          logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
          ...overrides,
        });
        tunnels.push(tunnel);
        return tunnel;
      },
    });
  } finally {
    await Promise.all(tunnels.map((tunnel) => tunnel.close({ grace: 0 })));
    await edge.close();
  }
}

describe.concurrent.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const withEdge = (run: (rig: Rig) => Promise<void>, options?: MockEdgeOptions) =>
    withMockEdge(protocol, run, options);

  describe.concurrent("registration", () => {
    it("of four connections: index 0 first, one client, all features", () =>
      withEdge(async ({ edge, connect }) => {
        const tunnel = await connect();
        await edge.registered(4);
        const indexes = edge.registrations.map(({ connIndex }) => connIndex);
        expect(indexes[0]).toBe(0);
        expect([...indexes].sort((a, b) => a - b)).toEqual([0, 1, 2, 3]);
        expect(new Set(edge.registrations.map(({ clientId }) => clientId))).toEqual(new Set([tunnel.connectorId]));
        const [first] = edge.registrations;
        expect([...(first?.features ?? [])].sort()).toEqual([
          "allow_remote_config",
          "management_logs",
          "serialized_headers",
          "support_datagram_v2",
          "support_quic_eof",
        ]);
        expect(first).toMatchObject({ credentials: "valid", originLocalIp: "127.0.0.1", numPreviousAttempts: 0 });
        expect(first?.arch).toMatch(/^[a-z]+_[a-z0-9]+$/);
      }));

    it("of four connections with one address is clamped", () =>
      withEdge(async ({ edge, lines, connect }) => {
        await connect({ edge: edge.edgeAddress });
        expect(edge.connections).toHaveLength(1);
        expect(lines.filter(([, message]) => /\b4\b.*\b1\b/.test(message))).toHaveLength(1);
      }));

    it("tells the local configuration on index 0 alone, where the tunnel is not managed remotely", () =>
      withEdge(
        async ({ edge, connect }) => {
          await connect({ origin: "http://localhost:1" });
          await edge.registered(4);
          await edge.until(() => edge.localConfigurations.length > 0);
          expect(edge.localConfigurations.map(({ connIndex }) => connIndex)).toEqual([0]);
          expect(JSON.parse(edge.localConfigurations[0]?.config ?? "")).toEqual({
            __configuration_flags: { protocol },
            ingress: [{ service: "http://localhost:1", originRequest: {} }],
            "warp-routing": {},
          });
        },
        { remotelyManaged: false },
      ));

    const faults: Fault[] = [
      { kind: "malformed" },
      { kind: "control", serve: (channel) => channel.end() },
      { kind: "duplicate" },
      { kind: "exception", reason: "overloaded" },
      { kind: "refuse", cause: "later", shouldRetry: true, retryAfterMs: 50 },
      { kind: "never-answer" },
      { kind: "uuid-length", length: 15 },
      { kind: "unknown-result" },
      { kind: "end-control-stream" },
      { kind: "reset-control-stream" },
      { kind: "drop" },
    ];
    const tcpFaults: Fault[] = [
      { kind: "close-at-accept" },
      { kind: "raw", serve: (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
    ];
    it.each(protocol === "http2" ? [...tcpFaults, ...faults] : faults)(
      "is tried again after $kind, and nothing of the failed one is left",
      (fault) =>
        withEdge(async ({ edge, lines, connect }) => {
          edge.fail(fault);
          await connect({ haConnections: 1, rpcTimeout: 300 });
          expect(lines.filter(([, message]) => /^Retrying connection in up to [23]s$/.test(message))).toHaveLength(1);
          // Of the failed attempt nothing is left; the mock edge keeps its end of a closed one for a moment.
          await edge.until(() => edge.connections.length === 1);
          expect(edge.connections[0]?.state).toBe("registered");
        }),
    );

    it("is tried again with an edge whose certificate is not trusted, as often as it takes", () =>
      withEdge(async ({ edge, lines, connect }) => {
        edge.useCertificate("wrong-name");
        const attempt = connect({ haConnections: 1 });
        await expect
          .poll(() => lines.some(([, message]) => message.startsWith("Retrying")), { timeout: 5_000 })
          .toBe(true);
        expect(lines.find(([, message]) => message.startsWith("Retrying"))?.[2].error).toMatch(/certificate/);
        edge.useCertificate("valid");
        await attempt;
      }));

    it("with the only address refusing does not spin", () =>
      withEdge(async ({ edge, lines, connect }) => {
        const blocker = createServer();
        blocker.listen(0, "127.0.0.1");
        await once(blocker, "listening");
        const { port } = blocker.address() as AddressInfo;
        await new Promise((resolve) => blocker.close(resolve));
        const abort = new AbortController();
        const attempt = connect({ edge: `127.0.0.1:${port}`, signal: abort.signal });
        await expect.poll(() => lines.some(([level]) => level === "warn"), { timeout: 5_000 }).toBe(true);
        // Hundreds of turns of the loop in which another attempt could have been made.
        for (let i = 0; i < 500; i++) await new Promise((resolve) => setImmediate(resolve));
        expect(lines.filter(([level]) => level === "warn").length).toBeLessThan(4);
        abort.abort();
        await expect(attempt).rejects.toMatchObject({ name: "AbortError" });
        expect(edge.registrations).toEqual([]);
      }));
  });

  describe.concurrent("a control stream that ends after the registration", () => {
    it.each([{ kind: "end-control-after" }, { kind: "reset-control-after" }] as const)(
      "($kind) costs no request, and the connection is replaced before it goes",
      (fault) =>
        withEdge(async ({ edge, connect }) => {
          edge.fail(fault);
          const tunnel = await connect({ haConnections: 1 });
          const [old] = edge.connections;
          let replaced = false;
          tunnel.once("disconnected", (_info, error) => {
            expect(error).toBeUndefined();
            replaced = true;
          });
          // The replacement is spread over two seconds; the test's own time limit ends a loop that it never ends.
          while (!replaced) expect(await (await edge.fetch("/")).text()).toBe("served");
          await expect.poll(() => edge.connections).not.toContain(old);
          expect(edge.connections.map(({ state }) => state)).toEqual(["registered"]);
        }),
    );
  });

  describe.concurrent("a lost connection", () => {
    it("comes back with its index, and the others serve on", () =>
      withEdge(async ({ edge, connect }) => {
        const tunnel = await connect();
        await edge.registered(4);
        const lost = new Promise((resolve) => tunnel.once("disconnected", (info, error) => resolve([info, error])));
        const retrying = new Promise((resolve) => tunnel.once("retrying", (info, delayMs) => resolve([info, delayMs])));
        await expect.poll(() => tunnel.connections.every(({ state }) => state === "registered")).toBe(true);
        const back = new Promise((resolve) => tunnel.once("registered", resolve));
        edge.dropConnections({ connIndex: 2 });
        expect(await lost).toMatchObject([{ connIndex: 2 }, { code: "ERR_UNDERPASS_CONNECTION_LOST" }]);
        expect(await retrying).toMatchObject([{ connIndex: 2 }, expect.any(Number)]);
        expect(await (await edge.fetch("/")).text()).toBe("served");
        expect(await back).toMatchObject({ connIndex: 2, state: "registered" });
      }));

    // QUIC has no GOAWAY.
    it.runIf(protocol === "http2")(
      "that the edge takes its leave of is replaced before it goes, and finishes what it serves",
      () =>
        withEdge(async ({ edge, connect }) => {
          let arrived = (): void => {};
          const asked = new Promise<void>((resolve) => {
            arrived = resolve;
          });
          let release = (): void => {};
          const held = new Promise<void>((resolve) => {
            release = resolve;
          });
          const tunnel = await connect({
            haConnections: 1,
            origin: {
              fetch: async () => {
                arrived();
                await held;
                return new Response("finished");
              },
            },
          });
          const [old] = edge.connections;
          const answer = edge.fetch("/");
          await asked;
          let lost = false;
          tunnel.once("disconnected", () => {
            lost = true;
          });
          const back = new Promise((resolve) => tunnel.once("registered", resolve));
          old?.goaway();
          await back;
          expect(lost).toBe(false);
          release();
          expect(await (await answer).text()).toBe("finished");
          await edge.until(() => edge.connections.every((connection) => connection !== old));
          expect(edge.connections).toHaveLength(1);
        }),
    );
  });

  describe.concurrent("closing", () => {
    it("unregisters first and completes a hundred requests in flight, and those that still come", () =>
      withEdge(async ({ edge, connect }) => {
        let arrived = 0;
        let release = (): void => {};
        const held = new Promise<void>((resolve) => {
          release = resolve;
        });
        const tunnel = await connect({
          origin: {
            fetch: async () => {
              arrived++;
              await held;
              return new Response("finished");
            },
          },
        });
        await edge.registered(4);
        const answers = Array.from({ length: 100 }, async () => await (await edge.fetch("/")).text());
        await expect.poll(() => arrived, { timeout: 10_000 }).toBe(100);
        const closed = tunnel.close();
        await edge.until(() => edge.connections.every(({ state }) => state === "draining"));
        release();
        expect(await Promise.all(answers)).toEqual(Array(100).fill("finished"));
        await closed;
        await edge.until(() => edge.connections.length === 0);
      }));

    it("serves what an edge still sends after it has acknowledged", () =>
      withEdge(
        async ({ edge, connect }) => {
          const tunnel = await connect({ haConnections: 1 });
          const [connection] = edge.connections;
          const closed = tunnel.close();
          await edge.until(() => connection?.state === "draining");
          const stream = connection?.openStream({ authority: "example.com", end: true });
          expect(stream).toBeDefined();
          let body = "";
          stream?.on("data", (chunk: Buffer) => {
            body += chunk.toString();
          });
          if (stream !== undefined) await once(stream, "end");
          expect(body).toBe("served");
          await closed;
        },
        { closeDrained: false },
      ));

    it("cuts off what is open at the grace period's end, and a second call hurries it", () =>
      withEdge(async ({ edge, connect }) => {
        let arrived = (): void => {};
        const asked = new Promise<void>((resolve) => {
          arrived = resolve;
        });
        const tunnel = await connect({
          haConnections: 1,
          origin: {
            fetch: () => {
              arrived();
              return new Promise<Response>(() => {});
            },
          },
        });
        const outcomes: string[] = [];
        tunnel.on("request", (outcome) => outcomes.push(outcome.class));
        const answer = edge.fetch("/").then(
          (response) => response.status,
          () => "cut off",
        );
        await asked;
        const closed = tunnel.close();
        await edge.until(() => edge.connections[0]?.state === "draining");
        void tunnel.close({ grace: 0 });
        await closed;
        expect(["cut off", 502]).toContain(await answer);
        expect(outcomes).toEqual(["shutdown"]);
      }));

    it("does not wait for an edge that never acknowledges, when it is hurried", () =>
      withEdge(async ({ edge, connect }) => {
        const tunnel = await connect({ haConnections: 1 });
        edge.connections[0]?.freeze();
        const closed = tunnel.close();
        void tunnel.close({ grace: 50 });
        await closed;
        await expect(tunnel.finished).resolves.toBeUndefined();
      }));
  });

  describe.concurrent("the health check", () => {
    it("finds the public hostname ready through the built-in probe", () =>
      withEdge(async ({ edge, connect }) => {
        const tunnel = await connect({ haConnections: 1, healthCheck: { url: edge.publicUrl } });
        const url = await new Promise<string>((resolve) => tunnel.once("ready", resolve));
        expect(url).toBe(edge.publicUrl);
      }));

    it("asks its own resolver for the hostname", () =>
      withEdge(async ({ edge, connect }) => {
        const issued = edge.issueTunnel({ hostnames: ["agent.example.com"] });
        const { port } = new URL(edge.publicUrl);
        const tunnel = await connect({
          token: issued.token,
          hostname: "agent.example.com",
          haConnections: 1,
          healthCheck: {
            url: `http://agent.example.com:${port}/`,
            lookup: (_hostname, options, callback) => {
              if (options.all === true) callback(null, [{ address: "127.0.0.1", family: 4 }]);
              else callback(null, "127.0.0.1", 4);
            },
          },
        });
        await new Promise((resolve) => tunnel.once("ready", resolve));
      }));

    it("reports an origin that redirects as degraded, and its own 502 too", () =>
      withEdge(async ({ edge, connect }) => {
        let status = 302;
        const tunnel = await connect({
          haConnections: 1,
          origin: () => new Response("", { status, headers: { location: "/login" } }),
          healthCheck: { url: edge.publicUrl, interval: 50, maxFailures: 1 },
        });
        const restarts: unknown[] = [];
        tunnel.on("restarting", (delayMs) => restarts.push(delayMs));
        const report = (): Promise<{ status: number | undefined }> =>
          new Promise((resolve) => tunnel.once("degraded", resolve));
        expect((await report()).status).toBe(302);
        status = 502;
        expect((await report()).status).toBe(502);
        expect(restarts).toEqual([]);
      }));

    it("restarts a tunnel that the edge does not reach, and serves all the while", () =>
      withEdge(async ({ edge, connect }) => {
        let reached = true;
        const probe = () =>
          Promise.resolve(reached ? { status: 200, body: "" } : { status: 530, body: "error code: 1033" });
        const tunnel = await connect({
          haConnections: 2,
          healthCheck: { url: edge.publicUrl, interval: 50, maxFailures: 2, probe },
        });
        const restarting = new Promise<[number, Error]>((resolve) =>
          tunnel.once("restarting", (delay, error) => resolve([delay, error])),
        );
        reached = false;
        const [delayMs, reason] = await restarting;
        expect(delayMs).toBe(5_000);
        expect(reason.message).toContain("530 (error 1033)");
        expect(await (await edge.fetch("/")).text()).toBe("served");
      }));
  });
});
