/** The connector against the mock edge: replacing, draining, health. How it registers and reconnects: scenarios/. */
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import type { EdgeProtocol } from "../../src/types.ts";
import { type MockEdge, type MockEdgeOptions, startMockEdge } from "../../src/mock-edge/index.ts";

interface Rig {
  readonly edge: MockEdge;
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
  try {
    await run({
      edge,
      connect: async (overrides = {}) => {
        const tunnel = await connect({
          token: edge.issueToken(),
          edge: Array.from({ length: overrides.haConnections ?? 4 }, () => edge.edgeAddress),
          cacert: edge.caPem,
          protocol,
          origin: () => new Response("served"),
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

  describe.concurrent("a lost connection", () => {
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
        let allHere = (): void => {};
        const hundred = new Promise<void>((resolve) => {
          allHere = resolve;
        });
        let release = (): void => {};
        const held = new Promise<void>((resolve) => {
          release = resolve;
        });
        const tunnel = await connect({
          origin: {
            fetch: async () => {
              if (++arrived === 100) allHere();
              await held;
              return new Response("finished");
            },
          },
        });
        await edge.registered(4);
        const answers = Array.from({ length: 100 }, async () => await (await edge.fetch("/")).text());
        await hundred;
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
        // The second of its ladder, where the checks were faster than the registration.
        expect([5_000, 10_000]).toContain(delayMs);
        expect(reason.message).toContain("530 (error 1033)");
        expect(await (await edge.fetch("/")).text()).toBe("served");
      }));
  });
});
