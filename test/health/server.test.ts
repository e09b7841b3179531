import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type HealthState, type MetricsServer, startMetricsServer } from "../../src/health/server.ts";

let server: MetricsServer | undefined;
const blockers: Server[] = [];

afterEach(async () => {
  await server?.close();
  server = undefined;
  for (const blocker of blockers.splice(0)) await new Promise((resolve) => blocker.close(resolve));
});

function state(overrides: Partial<HealthState> = {}): HealthState {
  return {
    connectorId: "99999999-8888-4777-8666-555555555555",
    health: () => ({ state: "ready", reasons: [], readyConnections: 4, wantedConnections: 4 }),
    quickHostname: () => "",
    configuration: () => '{"version":-1}',
    metrics: () => "up 1\n",
    ...overrides,
  };
}

async function start(overrides: Partial<HealthState> = {}): Promise<string> {
  server = await startMetricsServer({ kind: "address", host: "127.0.0.1", port: 0 }, state(overrides));
  return server.url;
}

/** Takes a port, so that nobody else can. */
async function block(port: number): Promise<number> {
  const blocker = createServer();
  blocker.listen(port, "127.0.0.1");
  await once(blocker, "listening");
  blockers.push(blocker);
  return (blocker.address() as AddressInfo).port;
}

const DOWN = {
  state: "down",
  reasons: ["no connection is registered"],
  readyConnections: 0,
  wantedConnections: 4,
} as const;

describe("the metrics server", () => {
  it("lives whatever state it is in, and tells it", async () => {
    const response = await fetch(`${await start({ health: () => DOWN })}/live`);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(await response.json()).toEqual({
      status: 200,
      ...DOWN,
      connectorId: "99999999-8888-4777-8666-555555555555",
    });
  });

  it.each([
    ["/ready", 503],
    ["/live", 200],
  ])("%s has the state in a header", async (path, status) => {
    const response = await fetch(`${await start({ health: () => DOWN })}${path}`);
    expect([response.status, response.headers.get("underpass-state")]).toEqual([status, "down"]);
  });

  it.each([
    ["/ready", 200, '{"status":200,"readyConnections":4,"connectorId":"99999999-8888-4777-8666-555555555555"}'],
    ["/healthcheck", 200, "OK\n"],
    ["/quicktunnel", 200, '{"hostname":""}'],
    ["/metrics", 200, "up 1\n"],
    ["/metrics?name[]=up", 200, "up 1\n"],
    ["/", 404, "404 page not found\n"],
    ["/ready/", 404, "404 page not found\n"],
    ["/configs", 404, "404 page not found\n"],
  ])("answers %s with %i", async (path, status, body) => {
    const response = await fetch(`${await start()}${path}`);
    expect({ status: response.status, body: await response.text() }).toEqual({ status, body });
    expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
  });

  it("is not ready without a registered connection", async () => {
    const response = await fetch(`${await start({ health: () => DOWN })}/ready`);
    expect(response.status).toBe(503);
    expect(await response.text()).toBe(
      '{"status":503,"readyConnections":0,"connectorId":"99999999-8888-4777-8666-555555555555"}',
    );
  });

  it("/config tells the rules in effect", async () => {
    const response = await fetch(`${await start()}/config`);
    expect([response.status, await response.json()]).toEqual([200, { version: -1 }]);
  });

  it("names a quick tunnel's hostname", async () => {
    const response = await fetch(`${await start({ quickHostname: () => "a.trycloudflare.com" })}/quicktunnel`);
    expect(await response.json()).toEqual({ hostname: "a.trycloudflare.com" });
  });

  it("answers HEAD without a body, and every other method as it does GET", async () => {
    const url = await start();
    const head = await fetch(`${url}/ready`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      const response = await fetch(`${url}/ready`, { method });
      expect([response.status, await response.json()]).toMatchObject([200, { status: 200 }]);
    }
  });

  it("survives a peer that speaks nonsense or goes away", async () => {
    const url = new URL(await start());
    for (const bytes of ["\u0016\u0003\u0001", "GET /ready HTTP/1.1\r\n", "GET  /x\r\n\r\n"]) {
      const socket = connect(Number(url.port), url.hostname);
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(bytes);
      socket.resetAndDestroy();
    }
    expect((await fetch(new URL("/live", url))).status).toBe(200);
  });

  it("closes at once, whoever is connected", async () => {
    const url = new URL(await start());
    const socket = connect(Number(url.port), url.hostname);
    await once(socket, "connect");
    await server?.close();
    await once(socket, "close");
    await expect(fetch(url)).rejects.toThrow();
  });

  it("tells a taken port", async () => {
    const port = await block(0);
    await expect(startMetricsServer({ kind: "address", host: "127.0.0.1", port }, state())).rejects.toMatchObject({
      code: "ERR_UNDERPASS_METRICS_LISTEN",
      message: expect.stringContaining(`127.0.0.1, port ${port}`),
    });
  });

  it("by default takes the first free port from 20241 on", async () => {
    const first = await startMetricsServer({ kind: "default", host: "127.0.0.1" }, state());
    const second = await startMetricsServer({ kind: "default", host: "127.0.0.1" }, state());
    try {
      const ports = [first, second].map(({ url }) => Number(new URL(url).port));
      expect(new Set(ports).size).toBe(2);
      for (const port of ports) expect(port).toBeGreaterThanOrEqual(20_241);
      expect(ports[0]).toBeLessThan(ports[1] ?? 0);
    } finally {
      await first.close();
      await second.close();
    }
  });

  it("listens on every address when no host is named", async () => {
    server = await startMetricsServer({ kind: "address", host: "", port: 0 }, state());
    const { port } = new URL(server.url);
    expect((await fetch(`http://127.0.0.1:${port}/live`)).status).toBe(200);
  });
});
