import { createServer } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { type MetricsServer, startMetricsServer } from "../../src/health/server.ts";
import type { DiagnosticConnection } from "../../src/health/diagnostics/tunnel-state.ts";
import { readState } from "../../src/health/state.ts";
import { cli } from "./fake-io.ts";
import { freePort } from "../ports.ts";

const CONNECTOR = "99999999-8888-4777-8666-555555555555";
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function connection(connIndex: number, state: string): DiagnosticConnection {
  return { connIndex, state, protocol: "quic", edgeAddress: undefined, connectionId: undefined, location: undefined };
}

/** A tunnel's metrics server with connections in these states; resolves with host:port. */
async function instance(states: readonly string[], problems: readonly string[] = []): Promise<string> {
  const readyConnections = states.filter((state) => state === "registered").length;
  const server: MetricsServer = await startMetricsServer(
    { kind: "address", host: "127.0.0.1", port: 0 },
    {
      connectorId: CONNECTOR,
      health: () => ({
        ...readState({
          everRegistered: true,
          stopping: false,
          ready: readyConnections,
          wanted: states.length,
          problems,
        }),
        readyConnections,
        wantedConnections: states.length,
      }),
      quickHostname: () => "",
      configuration: () => "{}",
      metrics: () => "",
      diagnostics: {
        version: "1.2.3",
        tunnelId: () => undefined,
        connections: () => states.map((state, index) => connection(index, state)),
        icmpSources: () => [],
        settings: {},
      },
    },
  );
  closers.push(() => server.close());
  return new URL(server.url).host;
}

describe("underpass ready", () => {
  it("is silent and 0 with a registered connection, wherever the address is said", async () => {
    const address = await instance(["waiting", "registered"]);
    for (const [args, env] of [
      [["ready", "--metrics", address], {}],
      [["tunnel", "--metrics", address, "ready"], {}],
      [["ready"], { TUNNEL_METRICS: address }],
    ] as const) {
      const { io, status } = await cli(args, env);
      expect([status, io.stdout.text, io.stderr.text]).toEqual([0, "", ""]);
    }
  });

  it("is 1 without one, and shows cloudflared's words", async () => {
    const address = await instance(["waiting"]);
    const { io, status } = await cli(["tunnel", "--metrics", address, "ready"]);
    expect(status).toBe(1);
    expect(io.stderr.text).toBe(
      `underpass: http://${address}/ready endpoint returned status code 503\n{"status":503,"readyConnections":0,"connectorId":"${CONNECTOR}"}\n`,
    );
  });

  it("is 1 where nothing listens", async () => {
    const { io, status } = await cli(["ready", "--metrics", `127.0.0.1:${await freePort()}`]);
    expect(status).toBe(1);
    expect(io.stderr.text).toContain("ECONNREFUSED");
  });

  it("is 1 for a wrong address or an argument too many", async () => {
    const wrong = await cli(["ready", "--metrics", "nonsense"]);
    expect([wrong.status, wrong.io.stderr.text]).toEqual([1, expect.stringContaining("--metrics")]);
    const more = await cli(["ready", "now"]);
    expect([more.status, more.io.stderr.text]).toEqual([1, expect.stringContaining("no argument")]);
  });
});

describe("underpass healthcheck", () => {
  it.each([
    [["registered", "registered"], 0, "ready (2 of 2 connections)"],
    [["registered", "waiting", "connecting"], 0, "degraded (1 of 3 connections)"],
    [["waiting"], 1, "live (0 of 1 connections)"],
  ] as const)("with connections %j: %i, %s", async (states, expected, text) => {
    const address = await instance(states);
    const { io, status } = await cli(["healthcheck", "--metrics", address]);
    expect([status, io.stdout.text]).toEqual([expected, expect.stringContaining(`http://${address}: ${text}`)]);
  });

  it("is degraded where the tunnel says so, which only --strict minds", async () => {
    const address = await instance(["registered"], ["the origin http://localhost:3000 is down: ECONNREFUSED"]);
    const { io, status } = await cli(["healthcheck", "--metrics", address]);
    expect([status, io.stdout.text]).toEqual([
      0,
      `http://${address}: degraded (1 of 1 connections): the origin http://localhost:3000 is down: ECONNREFUSED\n`,
    ]);
    expect((await cli(["healthcheck", "--strict", "--metrics", address])).status).toBe(1);
    const well = await instance(["registered"]);
    expect((await cli(["healthcheck", "--strict", "--metrics", well])).status).toBe(0);
    const elsewhere = await cli(["ready", "--strict", "--metrics", well]);
    expect([elsewhere.status, elsewhere.io.stderr.text]).toEqual([
      1,
      expect.stringContaining("underpass healthcheck --strict has it"),
    ]);
  });

  it("tells programs in JSON", async () => {
    const address = await instance(["registered", "waiting"]);
    const { io } = await cli(["healthcheck", "--json", "--metrics", address]);
    expect(JSON.parse(io.stdout.text)).toEqual({
      instances: [
        {
          url: `http://${address}`,
          health: "degraded",
          tunnelId: "00000000-0000-0000-0000-000000000000",
          connectorId: CONNECTOR,
          active: 1,
          wanted: 2,
          pid: process.pid,
          state: "degraded",
          reasons: ["1 of 2 connections is registered"],
        },
      ],
    });
  });

  it("takes no other server for a tunnel, and says what to do", async () => {
    const server = createServer((_request, response) => response.end('{"status":"ok"}')).listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    const { io, status } = await cli(["healthcheck", "--metrics", `127.0.0.1:${port}`]);
    expect(status).toBe(1);
    expect(io.stderr.text).toContain(
      `no running tunnel answers on http://127.0.0.1:${port}: what answers there is no tunnel: the answer is another program's\n`,
    );
    expect(io.stderr.text).toMatch(/What to do: .*start it.*--metrics .*\(ERR_UNDERPASS_NO_INSTANCE\)/);
  });

  it("tells what keeps it from one that was named; programs get their JSON all the same", async () => {
    const address = `127.0.0.1:${await freePort()}`;
    for (const command of ["healthcheck", "ready"]) {
      const { io, status } = await cli([command, "--metrics", address]);
      expect([status, io.stderr.text]).toEqual([
        1,
        expect.stringMatching(/no running tunnel answers on .*ECONNREFUSED[^]*What to do: .*ERR_UNDERPASS_NO_INSTANCE/),
      ]);
    }
    const { io, status } = await cli(["healthcheck", "--json", "--metrics", address]);
    expect([status, JSON.parse(io.stdout.text)]).toEqual([1, { instances: [] }]);
    expect(io.stderr.text).toContain("ERR_UNDERPASS_NO_INSTANCE");
  });

  it("tells of one that hangs", async () => {
    const server = createTcpServer((socket) => socket.on("error", () => {}).resume()).listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.push(() => new Promise((resolve) => server.close(resolve)));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { io, status } = await cli(["healthcheck", "--json", "--metrics", new URL(url).host]);
    expect([status, JSON.parse(io.stdout.text)]).toEqual([1, { instances: [{ url, health: "hung" }] }]);
    expect(io.stderr.text).toContain("no answer within 3 s");
  });
});
