/**
 * A real cloudflared, where CLOUDFLARED_BIN names one: its `tail` follows our connector's log, ours follows its connector's, and what
 * its management service answers is what ours answers.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { main } from "../../src/cli/dispatch.ts";
import { connect } from "../../src/index.ts";
import { type IssuedTunnel, type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { FakeIo } from "../cli/fake-io.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";
const HOST = "management.argotunnel.com";
const closers: (() => Promise<unknown>)[] = [];

let edge: MockEdge;
let issued: IssuedTunnel;
let caFile: string;

beforeEach(async () => {
  edge = await startMockEdge();
  issued = edge.issueTunnel();
  caFile = await edge.caFile();
  closers.push(() => edge.close());
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function start(args: readonly string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(binary, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, HOME: "/nonexistent", SSL_CERT_FILE: caFile, ...env },
  });
  const output = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  const exit = once(child, "exit").then(([code]) => code as number | null);
  closers.push(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  return { child, exit, output };
}

async function ours(protocol: "http2" | "quic", requestLog: "errors" | "headers" = "errors"): Promise<void> {
  const tunnel = await connect({
    requestLog,
    token: issued.token,
    edge: [edge.edgeAddress],
    cacert: edge.caPem,
    protocol,
    origin: { fetch: () => new Response("origin") },
  });
  closers.push(() => tunnel.close({ grace: 0 }));
}

async function theirs(protocol: "http2" | "quic"): Promise<void> {
  const origin = createServer((_request, response) => response.end("origin")).listen(0, "127.0.0.1");
  await once(origin, "listening");
  closers.push(() => new Promise((resolve) => origin.close(resolve)));
  const edges = ["--edge", edge.edgeAddress, "--edge", edge.edgeAddress, "--cacert", caFile];
  const url = `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
  const options = ["--no-autoupdate", "--metrics", "127.0.0.1:0", "--protocol", protocol, "--url", url];
  start(["tunnel", ...edges, ...options, "run"], { TUNNEL_TOKEN: issued.token });
  await edge.registered(1);
}

const token = (actor = "me"): string => edge.issueManagementToken(issued.tunnelId, { actor });

async function visitUntil(has: () => boolean): Promise<void> {
  while (!has()) {
    await (await edge.fetch("https://app.example.com/path")).text();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe.skipIf(binary === "").each(["http2", "quic"] as const)("over %s", (protocol) => {
  it.each(["default", "json"])("cloudflared tail follows our log, as %s", async (format) => {
    await ours(protocol);
    const args = ["--management-hostname", edge.managementHost, "--token", token(), "--output", format];
    const { child, exit, output } = start(["tail", ...args, "--event", "http"]);
    await visitUntil(() => output.stdout.includes("Request served"));
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    const [line = ""] = output.stdout.split("\n");
    if (format === "json") {
      expect(JSON.parse(line)).toMatchObject({ event: "http", message: "Request served", fields: { path: "/path" } });
    } else expect(line).toMatch(/^\S+ debug http Request served \{.*"path":"\/path"/);
    expect(output.stderr).toBe("");
  });

  it("no visitor ends cloudflared tail by the length of his headers", async () => {
    await ours(protocol, "headers");
    const args = ["--management-hostname", edge.managementHost, "--token", token(), "--event", "http"];
    const { output } = start(["tail", ...args]);
    await visitUntil(() => output.stdout.includes("Request served"));
    const headers = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`x-${"n".repeat(900)}${i}`, "v"]));
    await (await edge.fetch("https://app.example.com/long", { headers })).text();
    await visitUntil(() => /"path":"\/long"[^]*"path":"\/path"/.test(output.stdout));
    expect(output.stdout).toMatch(/"requestHeaders":"\[\d+ bytes\]"/);
    expect(output.stderr).toBe("");
  });

  it("cloudflared tail tells why we refuse it", async () => {
    await ours(protocol);
    const expired = edge.issueManagementToken(issued.tunnelId, { expiresInSeconds: -3600 });
    const { exit, output } = start(["tail", "--management-hostname", edge.managementHost, "--token", expired]);
    await exit;
    expect(output.stderr).toContain("management request failed validation: (1002) access_token has expired");
  });

  it("underpass tail follows cloudflared's log", async () => {
    await theirs(protocol);
    const io = new FakeIo({ SSL_CERT_FILE: caFile, TUNNEL_MANAGEMENT_TOKEN: token() });
    const status = main(["tail", "--management-hostname", edge.managementHost, "--output", "json"], io);
    await visitUntil(() => io.stdout.text.includes('"event":"http"'));
    io.signal("SIGINT");
    expect(await status).toBe(0);
    const records = io.stdout.text.trim().split("\n");
    expect(records.length).toBeGreaterThan(0);
    for (const record of records) {
      expect(JSON.parse(record)).toMatchObject({
        time: expect.stringMatching(/^\d{4}-/) as string,
        level: expect.stringMatching(/^(debug|info|warn|error)$/) as string,
      });
    }
    expect(io.stderr.text).toBe("");
  });
});

describe.skipIf(binary === "").each([
  ["ours", ours],
  ["cloudflared's", theirs],
])("the management service: %s", (_name, run) => {
  beforeEach(() => run("http2"));

  const get = (path: string, init: RequestInit = {}) => edge.fetch(`https://${HOST}${path}`, init);

  const open = async (actor: string): Promise<WebSocket> => {
    const client = new WebSocket(`wss://${edge.managementHost}/logs?access_token=${token(actor)}`, { ca: edge.caPem });
    closers.push(async () => client.terminate());
    await once(client, "open");
    return client;
  };

  it("wants an access token", async () => {
    for (const path of ["/ping", "/nowhere", "/ping?access_token=x"]) {
      const response = await get(path);
      expect([response.status, response.headers.get("content-type")]).toEqual([400, "application/json"]);
      expect(await response.json()).toEqual({
        errors: [{ code: 1001, message: "missing access_token query parameter" }],
      });
    }
  });

  it("answers /ping, /host_details and /metrics, and nothing else", async () => {
    const query = `?access_token=${token()}`;
    const headers = { origin: "https://dash.cloudflare.com" };
    const ping = await get(`/ping${query}`, { headers });
    expect([ping.status, ping.headers.get("access-control-allow-origin")]).toEqual([200, headers.origin]);
    expect(ping.headers.get("access-control-allow-credentials")).toBe("true");
    const details = (await (await get(`/host_details${query}`)).json()) as object;
    expect(details).toMatchObject({
      connector_id: edge.registrations[0]?.clientId,
      hostname: expect.stringMatching(/./) as string,
    });
    expect(await (await get(`/metrics${query}`)).text()).toContain("cloudflared_tunnel_ha_connections");
    expect((await get(`/nowhere${query}`)).status).toBe(404);
    expect((await get(`/ping${query}`, { method: "POST" })).status).toBe(405);
  });

  it.each([
    ['{"type":"start_streaming","filters":{"level":"loud"}}', 4001],
    ['{"type":"reboot"}', 1003],
    ["no JSON", 1003],
  ])("closes on %s with %i", async (message, code) => {
    const client = await open("me");
    client.send(message);
    expect((await once(client, "close"))[0]).toBe(code);
  });

  it("serves one actor, whose newer session takes over", async () => {
    const first = await open("me");
    const begun = once(first, "message");
    first.send('{"type":"start_streaming"}');
    const seen = { yet: false };
    void begun.then(() => (seen.yet = true));
    await visitUntil(() => seen.yet);
    const other = await open("somebody else");
    other.send('{"type":"start_streaming"}');
    expect((await once(other, "close"))[0]).toBe(4002);
    const ended = once(first, "close");
    const second = await open("me");
    second.send('{"type":"start_streaming"}');
    expect((await ended)[0]).toBeOneOf([1000, 1006, 1011]);
  });
});
