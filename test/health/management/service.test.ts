/** The management service behind an ordinary HTTP server, with `ws` and sockets as clients. */
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { hostname } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { readManagementToken, refusalOf } from "../../../src/health/management/access-token.ts";
import { LogTap } from "../../../src/health/management/log-tap.ts";
import { readLogs } from "../../../src/health/management/messages.ts";
import { type ManagementOptions, ManagementService } from "../../../src/health/management/service.ts";
import { makeToken } from "./make-token.ts";

const TUNNEL = "5f6a1f3e-0000-4000-8000-00000000000a";
const CONNECTOR = "5f6a1f3e-0000-4000-8000-00000000000b";
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const token = makeToken({ tunnelId: TUNNEL });

let tap: LogTap;
let service: ManagementService;
let server: http.Server;
let port = 0;
const clients = new Set<WebSocket>();

async function start(options: Partial<ManagementOptions> = {}): Promise<void> {
  tap = new LogTap({ target: silent });
  service = new ManagementService({
    tap,
    connectorId: CONNECTOR,
    served: () => ({ tunnelId: TUNNEL, accountTag: "account" }),
    label: undefined,
    serviceAddress: "127.0.0.1:9",
    metrics: () => "a_metric 1\n",
    logger: silent,
    ...options,
  });
  server = http.createServer((request, response) => void service.listener(request, response));
  server.on("upgrade", (request, socket, head) => void service.upgrade(request, socket, head));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as net.AddressInfo);
}

beforeEach(() => start());

afterEach(() => {
  for (const client of clients) client.terminate();
  clients.clear();
  server.closeAllConnections();
  server.close();
});

const url = (path: string, access = token): string =>
  `http://127.0.0.1:${port}${path}${access === "" ? "" : `?access_token=${access}`}`;

function open(access = token, headers: Record<string, string> = {}): WebSocket {
  const client = new WebSocket(url("/logs", access).replace("http", "ws"), { headers });
  client.on("error", () => {});
  clients.add(client);
  return client;
}

async function handshakeStatus(client: WebSocket): Promise<[status: number, body: string]> {
  const [, response] = (await once(client, "unexpected-response")) as [unknown, http.IncomingMessage];
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return [response.statusCode ?? 0, body];
}

async function streaming(access = token): Promise<WebSocket> {
  const client = open(access);
  await once(client, "open");
  client.send('{"type":"start_streaming"}');
  const attached = new Promise<void>((resolve) => {
    const look = (): void => (tap.attached ? resolve() : void setImmediate(look));
    look();
  });
  await attached;
  return client;
}

describe("the access token", () => {
  const missing = '{"errors":[{"code":1001,"message":"missing access_token query parameter"}]}\n';

  it.each([
    ["none", ""],
    ["no JWT", "abc"],
    ["two parts", token.split(".").slice(0, 2).join(".")],
    ["another algorithm", makeToken({ tunnelId: TUNNEL, header: { alg: "none" } })],
    ["no tunnel", makeToken({ tunnelId: "" })],
    ["no actor", makeToken({ tunnelId: TUNNEL, actor: "" })],
    ["no account", makeToken({ tunnelId: TUNNEL, accountTag: "" })],
    ["an expiry in words", makeToken({ tunnelId: TUNNEL, claims: { exp: "1" } })],
    ["an endless one", `${token.slice(0, -1)}${"A".repeat(20_000)}`],
  ])("%s: 400, for requests and for the log", async (_name, access) => {
    const response = await fetch(url("/ping", access.length > 9000 ? access.slice(0, 9000).replace(".", "_") : access));
    expect([response.status, await response.text()]).toEqual([400, missing]);
    if (access.length < 9000) expect(await handshakeStatus(open(access))).toEqual([400, missing]);
    expect(readManagementToken(access)).toBeUndefined();
  });

  it.each([
    ["another tunnel", makeToken({ tunnelId: CONNECTOR }), "access_token is for another tunnel"],
    ["another account", makeToken({ tunnelId: TUNNEL, accountTag: "x" }), "access_token is for another account"],
    ["a time gone by", makeToken({ tunnelId: TUNNEL, claims: { exp: 1 } }), "access_token has expired"],
    ["a time to come", makeToken({ tunnelId: TUNNEL, claims: { nbf: 4e9 } }), "access_token does not count yet"],
  ])("for %s: 403", async (_name, access, message) => {
    const body = `${JSON.stringify({ errors: [{ code: 1002, message }] })}\n`;
    const response = await fetch(url("/host_details", access));
    expect([response.status, await response.text()]).toEqual([403, body]);
    expect(await handshakeStatus(open(access))).toEqual([403, body]);
  });

  it("counts a minute longer, for clocks that differ, and without an expiry", () => {
    const claims = readManagementToken(makeToken({ tunnelId: TUNNEL, claims: { exp: 1000 } }));
    const served = { tunnelId: TUNNEL.toUpperCase(), accountTag: undefined };
    expect(claims && refusalOf(claims, served, 1_059_999)).toBeUndefined();
    expect(claims && refusalOf(claims, served, 1_060_000)).toBe("access_token has expired");
    const lasting = readManagementToken(makeToken({ tunnelId: TUNNEL, claims: { exp: undefined } }));
    expect(lasting && refusalOf(lasting, served, 9e12)).toBeUndefined();
  });
});

describe("requests", () => {
  it("GET and HEAD /ping: 200 and nothing", async () => {
    for (const method of ["GET", "HEAD"]) {
      const response = await fetch(url("/ping"), { method });
      expect([response.status, await response.text()]).toEqual([200, ""]);
    }
  });

  it("GET /host_details: the connector, the address of this machine and its name, or the label", async () => {
    const response = await fetch(url("/host_details"));
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toEqual({ connector_id: CONNECTOR, ip: "127.0.0.1", hostname: hostname() });
    server.closeAllConnections();
    server.close();
    await start({ label: "attic", serviceAddress: "no address" });
    expect(await (await fetch(url("/host_details"))).json()).toEqual({
      connector_id: CONNECTOR,
      hostname: "custom:attic",
    });
  });

  it("GET /metrics, where the diagnostics are on", async () => {
    const response = await fetch(url("/metrics"));
    expect([response.status, await response.text()]).toEqual([200, "a_metric 1\n"]);
    server.closeAllConnections();
    server.close();
    await start({ metrics: undefined });
    expect((await fetch(url("/metrics"))).status).toBe(404);
  });

  it.each([
    ["GET", "/", 404],
    ["GET", "/debug/pprof/heap", 404],
    ["POST", "/ping", 405],
    ["HEAD", "/host_details", 405],
    ["POST", "/logs", 405],
    ["GET", "/logs", 426],
    ["GET", "//evil.example/ping", 404],
  ])("%s %s: %i", async (method, path, status) => {
    expect((await fetch(url(path), { method })).status).toBe(status);
  });

  it.each([
    ["https://dash.cloudflare.com", true],
    ["https://one.dash.cloudflare.com", true],
    ["https://cloudflare.com", false],
    ["http://dash.cloudflare.com", false],
    ["https://dash.cloudflare.com.evil.example", false],
    ["https://evilcloudflare.com", false],
    ["https://dash.cloudflare.com:8443", false],
    ["null", false],
  ])("pages of %s may read it and open the log: %s", async (origin, may) => {
    const response = await fetch(url("/ping"), { headers: { origin } });
    expect(response.headers.get("access-control-allow-origin")).toBe(may ? origin : null);
    expect(response.headers.get("access-control-allow-credentials")).toBe(may ? "true" : null);
    expect(response.headers.get("vary")).toBe("Origin");
    const preflight = await fetch(url("/host_details"), { method: "OPTIONS", headers: { origin } });
    expect([preflight.status, preflight.headers.get("access-control-max-age")]).toEqual([204, "300"]);
    const client = open(token, { origin });
    if (may) await once(client, "open");
    else expect((await handshakeStatus(client))[0]).toBe(403);
  });
});

describe("the log", () => {
  it("comes over a WebSocket from start_streaming on", async () => {
    const client = await streaming();
    const message = once(client, "message");
    tap.logger.info("a line", { connIndex: 3 });
    const [data] = (await message) as [Buffer];
    expect(readLogs(data.toString())).toMatchObject([{ level: "info", message: "a line", fields: { connIndex: 3 } }]);
    client.close();
    await once(client, "close");
  });

  it("is one actor's at a time", async () => {
    const first = await streaming();
    const other = open(makeToken({ tunnelId: TUNNEL, actor: "somebody else" }));
    await once(other, "open");
    other.send('{"type":"start_streaming"}');
    expect((await once(other, "close"))[0]).toBe(4002);
    const gone = once(first, "close");
    const again = open();
    await once(again, "open");
    again.send('{"type":"start_streaming"}');
    expect((await gone)[0]).toBe(1000);
  });

  it("ends with 1001 when the connector ends, and takes nobody after that", async () => {
    const client = await streaming();
    const closed = once(client, "close");
    service.close();
    expect((await closed)[0]).toBe(1001);
    expect((await handshakeStatus(open()))[0]).toBe(503);
  });

  it("takes 16 clients, whether they stream or not, and is free for more when one is gone", async () => {
    const many = Array.from({ length: 16 }, () => open());
    await Promise.all(many.map((client) => once(client, "open")));
    expect((await handshakeStatus(open()))[0]).toBe(503);
    const [one] = many;
    one?.close();
    await once(one as WebSocket, "close");
    const next = open();
    await once(next, "open");
  });

  it("refuses messages that are too long", async () => {
    const client = open();
    await once(client, "open");
    client.send("x".repeat(40_000));
    expect((await once(client, "close"))[0]).toBe(1009);
  });

  it("holds little for a client that never reads, and ends one that went away", async () => {
    const client = net.connect(port, "127.0.0.1");
    client.on("error", () => {});
    const key = Buffer.alloc(16).toString("base64");
    client.write(
      `GET /logs?access_token=${token} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    await once(client, "data");
    client.pause();
    const start = Buffer.from('{"type":"start_streaming"}');
    client.write(Buffer.concat([Buffer.from([0x81, 0x80 | start.length, 0, 0, 0, 0]), start]));
    while (!tap.attached) await new Promise((resolve) => setImmediate(resolve));
    const text = "x".repeat(2000);
    const total = 20_000;
    for (let i = 0; i < total; i++) {
      tap.logger.info(text);
      if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    let received = 0;
    const last = new Promise<string>((resolve) => {
      client.on("data", (chunk: Buffer) => {
        received += chunk.length;
        if (chunk.includes("Entries were left out")) resolve(chunk.toString("latin1"));
      });
    });
    client.resume();
    const count = /"count":(\d+)/.exec(await last)?.[1];
    // What went into the sockets of the system, and no more than a moment's worth beside it.
    expect(Number(count)).toBeGreaterThan(total / 2);
    expect(received).toBeLessThan((total * 2000) / 2);
    client.destroy();
    while (tap.attached) await new Promise((resolve) => setImmediate(resolve));
  });
});
