/** `underpass tail` against a tunnel behind the mock edge, and against servers that behave badly. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { main } from "../../src/cli/dispatch.ts";
import { readTailFlags } from "../../src/cli/tail-flags.ts";
import { connect, type Logger, type Tunnel } from "../../src/index.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { type IssuedTunnel, type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { makeToken } from "../health/management/make-token.ts";
import { FakeIo } from "./fake-io.ts";

let edge: MockEdge;
let issued: IssuedTunnel;
let folder: string;
let caFile: string;
const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const tunnels: Tunnel[] = [];

async function run(protocol: "http2" | "quic"): Promise<Tunnel> {
  const tunnel = await connect({
    token: issued.token,
    edge: [edge.edgeAddress],
    cacert: edge.caPem,
    protocol,
    logger,
    origin: { fetch: () => new Response("origin") },
  });
  tunnels.push(tunnel);
  return tunnel;
}

beforeAll(async () => {
  edge = await startMockEdge();
  issued = edge.issueTunnel();
  caFile = await edge.caFile();
  folder = mkdtempSync(join(tmpdir(), "underpass-tail-"));
});

afterEach(async () => {
  await Promise.all(tunnels.splice(0).map((tunnel) => tunnel.close({ grace: 0 })));
});

afterAll(async () => {
  await edge.close();
  rmSync(folder, { recursive: true, force: true });
});

const token = (options = {}): string => edge.issueManagementToken(issued.tunnelId, options);

function tail(args: readonly string[], env: Record<string, string> = {}) {
  const io = new FakeIo({ SSL_CERT_FILE: caFile, ...env });
  const status = main(["tail", "--management-hostname", edge.managementHost, ...args], io);
  return { io, status };
}

/** Visits the tunnel until the output has the text. */
async function visitUntil(io: FakeIo, text: string): Promise<void> {
  while (!io.stdout.text.includes(text)) {
    await (await edge.fetch("https://app.example.com/path")).text();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe.each(["http2", "quic"] as const)("a tunnel over %s", (protocol) => {
  it("its requests come, as text and as JSON; Ctrl-C ends it with 0", async () => {
    await run(protocol);
    const text = tail(["--event", "http", issued.tunnelId], { TUNNEL_MANAGEMENT_TOKEN: token() });
    await visitUntil(text.io, "Request served");
    text.io.signal("SIGINT");
    expect(await text.status).toBe(0);
    const [line = ""] = text.io.stdout.text.split("\n");
    expect(line).toMatch(
      /^\d{4}-\d\d-\d\dT\S+Z debug http Request served \{"outcome":"ok","kind":"http",.*"path":"\/path"/,
    );

    const json = tail(["--output=json", "-token", token(), "--level", "debug"]);
    await visitUntil(json.io, "Request served");
    json.io.signal("SIGTERM");
    expect(await json.status).toBe(0);
    const records = json.io.stdout.text
      .trim()
      .split("\n")
      .map((each) => JSON.parse(each) as Record<string, unknown>);
    expect(records.find(({ event }) => event === "http")).toMatchObject({ level: "debug", message: "Request served" });
    expect(text.io.stderr.text + json.io.stderr.text).toBe("");
  });

  it("ends with 1 when the connector does", async () => {
    const tunnel = await run(protocol);
    const { io, status } = tail(["--token", token()]);
    await visitUntil(io, "Request served");
    await tunnel.close({ grace: 0 });
    expect(await status).toBe(1);
    expect(io.stderr.text).toContain("the connector ends (1001)");
    expect(io.stderr.text).toContain("ERR_UNDERPASS_TAIL_ENDED");
  });
});

it("follows the connector that --connector-id names, each for one actor", async () => {
  const [first, second] = [await run("http2"), await run("quic")];
  const follow = (tunnel: Tunnel, actor: string) =>
    tail(["--token", token({ actor }), "--connector-id", tunnel.connectorId]);
  const one = follow(first, "a");
  const two = follow(second, "b");
  await visitUntil(one.io, "Request served");
  await visitUntil(two.io, "Request served");
  const other = follow(first, "b");
  expect(await other.status).toBe(1);
  expect(other.io.stderr.text).toContain("somebody else follows the log of this connector (4002)");
  const again = follow(first, "a");
  expect(await one.status).toBe(1);
  expect(one.io.stderr.text).toContain("another session of the same actor has begun");
  for (const each of [again, two]) {
    each.io.signal("SIGINT");
    expect(await each.status).toBe(0);
  }
});

describe("what keeps it from beginning", () => {
  it("530: no connector", async () => {
    const { io, status } = tail(["--token", token()]);
    expect(await status).toBe(1);
    expect(io.stderr.text).toContain("no connector of this tunnel is reachable (HTTP status 530)");
    expect(io.stderr.text).toContain("ERR_UNDERPASS_TAIL_UNREACHABLE");
  });

  it("a token that nobody accepts, and one that has expired", async () => {
    await run("http2");
    const foreign = tail(["--token", makeToken({ tunnelId: issued.tunnelId, accountTag: issued.accountTag })]);
    expect(await foreign.status).toBe(1);
    expect(foreign.io.stderr.text).toMatch(/refused the request \(HTTP status 403\): \(10000\) Authentication error/);
    const expired = token({ expiresInSeconds: -3600 });
    const late = tail(["--token", expired]);
    expect(await late.status).toBe(1);
    expect(late.io.stderr.text).toContain("(1002) access_token has expired");
    expect(late.io.stderr.text).not.toContain(expired);
    const none = tail(["--token", "nonsense"]);
    expect(await none.status).toBe(1);
    expect(none.io.stderr.text).toContain("the access token is none");
  });

  it("a host that nobody answers at, or whose certificate nobody vouches for", async () => {
    const socket = net.createServer().listen(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address() as AddressInfo;
    socket.close();
    const io = new FakeIo();
    expect(await main(["tail", "--management-hostname", `127.0.0.1:${port}`, "--token", token()], io)).toBe(1);
    expect(io.stderr.text).toContain(`can't reach 127.0.0.1:${port}`);
    const untrusted = new FakeIo();
    expect(await main(["tail", "--management-hostname", edge.managementHost, "--token", token()], untrusted)).toBe(1);
    expect(untrusted.stderr.text).toMatch(/can't reach .*(certificate|self-signed|issuer)/);
  });

  it("an access token for another tunnel than the one that was asked for; in other spellings it is the same", async () => {
    await run("http2");
    const other = "5f6a1f3e-0000-4000-8000-00000000000a";
    for (const refused of [
      tail([other], { TUNNEL_MANAGEMENT_TOKEN: token() }),
      tail(["--token", token(), other]),
      tail(["--token", makeToken({ tunnelId: "\u001b[31m", accountTag: issued.accountTag }), other]),
    ]) {
      expect(await refused.status).toBe(1);
      expect(refused.io.stderr.text).toMatch(
        new RegExp(`the access token is for another tunnel \\((?:${issued.tunnelId}|no UUID)\\) than ${other}`),
      );
      expect(refused.io.stderr.text).toContain("ERR_UNDERPASS_TAIL_REFUSED");
      expect(refused.io.stderr.text).not.toContain("\u001b");
      expect(refused.io.stdout.text).toBe("");
    }
    const same = tail(["--token", token(), `{${issued.tunnelId.toUpperCase()}}`]);
    await visitUntil(same.io, "Request served");
    same.io.signal("SIGINT");
    expect(await same.status).toBe(0);
  });

  it("an empty --token is none, and no other is looked for in the environment", async () => {
    for (const args of [["--token="], ["--token", " "]]) {
      const { io, status } = tail(args, { TUNNEL_MANAGEMENT_TOKEN: token() });
      expect(await status).toBe(1);
      expect(io.stderr.text).toContain("which tunnel? its UUID");
      const named = tail([...args, issued.tunnelId], { TUNNEL_MANAGEMENT_TOKEN: token() });
      expect(await named.status).toBe(1);
      expect(named.io.stderr.text).toContain("no cert.pem");
    }
  });

  it.each([
    [
      ["--management-hostname", "localhost:99999"],
      /--management-hostname: found "localhost:99999"; .*port of 1 to 65535/,
    ],
    [["--management-hostname", "localhost:0"], /--management-hostname: found "localhost:0"/],
    [["--management-hostname", "[1:2]"], /--management-hostname: found "\[1:2\]"/],
    [["--management-hostname", "1.2.3.999"], /--management-hostname: found "1.2.3.999"/],
    [["--event", "http,dns"], /--event: found "dns"/],
    [["--level", "trace"], /--level: found "trace".*debug, info, warn, error/],
    [["--event", "dns"], /--event: found "dns"/],
    [["--sample", "2"], /--sample: found "2"/],
    [["--sample", "0"], /--sample: found "0"/],
    [["--output", "yaml"], /--output: found "yaml"/],
    [["--connector-id", "x"], /--connector-id: found "x"/],
    [["--api-url", "ftp://x"], /--api-url/],
    [["not-a-uuid"], /the tunnel: found "not-a-uuid"/],
    [["--levle", "info"], /unknown flag; did you mean --level/],
    [[], /which tunnel\?/],
    [["token"], /which tunnel\?/],
  ])("%j", async (args, message) => {
    const { io, status } = tail(args);
    expect(await status).toBe(1);
    expect(io.stderr.text).toMatch(message);
  });

  it("no cert.pem", async () => {
    const { io, status } = tail([issued.tunnelId]);
    expect(await status).toBe(1);
    expect(io.stderr.text).toContain("no cert.pem");
  });
});

describe("whoever reads its stdout", () => {
  /** A management service of this test's own that sends entries as fast as they are taken. */
  async function flood(entry: string) {
    const authority = createAuthority();
    const { certPem, keyPem } = authority.issue({ dnsNames: ["localhost"] });
    const ca = join(folder, "flood.pem");
    writeFileSync(ca, authority.certPem);
    const server = https.createServer({ cert: certPem, key: keyPem }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const sockets = new WebSocketServer({ server });
    let sent = 0;
    sockets.on("connection", (ws) => {
      const more = (): void => {
        if (ws.readyState !== ws.OPEN) return;
        sent++;
        ws.send(entry, more);
      };
      ws.once("message", more);
    });
    const args = ["tail", "--management-hostname", `localhost:${(server.address() as AddressInfo).port}`];
    return {
      args: [...args, "--token", token()],
      env: { SSL_CERT_FILE: ca },
      sent: () => sent,
      close: () => {
        for (const client of sockets.clients) client.terminate();
        server.close();
      },
    };
  }

  /** Output that is taken until there were so many bytes. */
  function stalling(bytes: number, stall: (done: (error?: Error) => void) => void) {
    const output = { written: 0 };
    const stdout = new Writable({
      write(chunk: Buffer, _encoding, done) {
        output.written += chunk.length;
        if (output.written < bytes) done();
        else stall(done);
      },
    });
    return { output, stdout };
  }

  const entry = JSON.stringify({ type: "logs", logs: [{ time: "t", message: `bell \u0007 ${"x".repeat(1000)}` }] });

  it("may stop reading: nothing piles up, and Ctrl-C ends it", async () => {
    const server = await flood(entry);
    const { output, stdout } = stalling(100_000, () => {});
    const io = Object.assign(new FakeIo(server.env), { stdout });
    const status = main(server.args, io);
    // Until nothing moves any more: the sockets are full.
    for (let before = -1; before !== server.sent() || before < 100; ) {
      before = server.sent();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(stdout.writableLength).toBeLessThan(1_000_000);
    io.signal("SIGINT");
    expect(await status).toBe(0);
    expect(output.written).toBeLessThan(1_000_000);
    server.close();
  });

  it("may go away: that ends it with 0", async () => {
    const server = await flood(entry);
    const { stdout } = stalling(10_000, (done) => done(Object.assign(new Error("EPIPE"), { code: "EPIPE" })));
    const io = Object.assign(new FakeIo(server.env), { stdout });
    expect(await main(server.args, io)).toBe(0);
    expect(io.stderr.text).toBe("");
    server.close();
  });

  it("may be a disk that is full: that ends it with 1 and the cause", async () => {
    const server = await flood(entry);
    const { stdout } = stalling(10_000, (done) => done(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" })));
    const io = Object.assign(new FakeIo(server.env), { stdout });
    expect(await main(server.args, io)).toBe(1);
    expect(io.stderr.text).toMatch(/^underpass: stdout can't be written.*ENOSPC\nWhat to do: .*ERR_UNDERPASS_OUTPUT/);
    server.close();
  });

  it("gets one line an entry, without terminal codes from outside", async () => {
    const server = await flood(entry);
    const io = new FakeIo(server.env);
    const status = main(server.args, io);
    while (!io.stdout.text.includes("\n")) await new Promise((resolve) => setTimeout(resolve, 5));
    io.signal("SIGINT");
    expect(await status).toBe(0);
    expect(io.stdout.text.split("\n")[0]).toBe(`t debug cloudflared bell \\u0007 ${"x".repeat(1000)} {}`);
    server.close();
  });
});

it.each([
  [["--event", "http,tcp"], {}, ["http", "tcp"]],
  [["--event", "udp", "--event=http, cloudflared,"], {}, ["cloudflared", "http", "udp"]],
  [[], { TUNNEL_MANAGEMENT_FILTER_EVENTS: "tcp,udp" }, ["tcp", "udp"]],
  [["--event="], { TUNNEL_MANAGEMENT_FILTER_EVENTS: "tcp" }, []],
])("events are a list: %j %j", (args, env, events) => {
  const plan = readTailFlags([...args, "--token", "x"], env);
  expect(plan).toMatchObject({ filters: { events } });
});

it("tells which variable an unknown event stands in", () => {
  expect(() => readTailFlags(["--token", "x"], { TUNNEL_MANAGEMENT_FILTER_EVENTS: "dns" })).toThrow(
    /^TUNNEL_MANAGEMENT_FILTER_EVENTS: found "dns"/,
  );
});

it("--help lists its flags", async () => {
  const { io, status } = tail(["--help"]);
  expect(await status).toBe(0);
  expect(io.stdout.text).toContain("--connector-id UUID");
  const other = new FakeIo();
  expect(await main(["help", "tail"], other)).toBe(0);
  expect(other.stdout.text).toBe(io.stdout.text);
});

it("gets its access token from the API by cert.pem, and prints one on demand", async () => {
  const api = http.createServer((request, response) => {
    const isRight =
      request.url === `/accounts/${issued.accountTag}/cfd_tunnel/${issued.tunnelId}/management/logs` &&
      request.headers.authorization === "Bearer api";
    response.writeHead(isRight ? 200 : 404).end(JSON.stringify({ success: isRight, result: isRight ? token() : null }));
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
  try {
    const cert = { zoneID: "z", accountID: issued.accountTag, apiToken: "api" };
    const name = "ARGO TUNNEL TOKEN";
    const pem = `-----BEGIN ${name}-----\n${Buffer.from(JSON.stringify(cert)).toString("base64")}\n-----END ${name}-----\n`;
    writeFileSync(join(folder, "cert.pem"), pem, { mode: 0o600 });
    const flags = [
      "--origincert",
      join(folder, "cert.pem"),
      "--api-url",
      `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
    ];
    await run("http2");
    const followed = tail([...flags, issued.tunnelId]);
    await visitUntil(followed.io, "Request served");
    followed.io.signal("SIGINT");
    expect(await followed.status).toBe(0);
    const printed = tail([...flags, "token", issued.tunnelId]);
    expect(await printed.status).toBe(0);
    expect(JSON.parse(printed.io.stdout.text)).toEqual({ token: expect.stringMatching(/^eyJ/) as string });
    const wrong = tail([...flags, "5f6a1f3e-0000-4000-8000-00000000000a"]);
    expect(await wrong.status).toBe(1);
    expect(wrong.io.stderr.text).toContain("no such tunnel");
  } finally {
    api.closeAllConnections();
    api.close();
  }
});

it("goes through the proxy that HTTPS_PROXY names", async () => {
  await run("http2");
  const asked: string[] = [];
  const proxy = http.createServer().on("connect", (request: http.IncomingMessage, socket: net.Socket) => {
    asked.push(request.url ?? "");
    const to = net.connect(Number(edge.managementHost.split(":")[1]), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(to).pipe(socket);
    });
    for (const each of [socket, to]) each.on("error", () => {});
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const io = new FakeIo({
    SSL_CERT_FILE: caFile,
    HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
  });
  const status = main(["tail", "--token", token()], io);
  await visitUntil(io, "Request served");
  io.signal("SIGINT");
  expect(await status).toBe(0);
  expect(asked).toEqual(["management.argotunnel.com:443"]);
  proxy.closeAllConnections();
  proxy.close();
});
