/** What `underpass tail` says where it does not get to the management host: each way may end at any of its steps. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { main } from "../../src/cli/dispatch.ts";
import { TailWay } from "../../src/cli/tail-way.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { makeToken } from "../health/management/make-token.ts";
import { FakeIo } from "./fake-io.ts";
import { closedPort } from "../ports.ts";

const folder = mkdtempSync(join(tmpdir(), "underpass-tail-way-"));
const authority = createAuthority();
const caFile = join(folder, "ca.pem");
writeFileSync(caFile, authority.certPem);
const token = makeToken({ tunnelId: "5f6a1f3e-0000-4000-8000-00000000000a" });
const servers: net.Server[] = [];
const sockets = new Set<net.Socket>();

afterEach(() => {
  vi.useRealTimers();
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function listen(server: net.Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    // HTTP servers keep their side open.
    socket.on("end", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function certified(dnsNames: readonly string[], issuer = authority) {
  const { certPem, keyPem } = issuer.issue({ dnsNames: [...dnsNames] });
  return { cert: certPem, key: keyPem };
}

async function tail(host: string, env: Record<string, string> = {}): Promise<string> {
  const io = new FakeIo({ SSL_CERT_FILE: caFile, ...env });
  expect(await main(["tail", "--management-hostname", host, "--token", token], io)).toBe(1);
  expect(io.stdout.text).toBe("");
  expect(io.stderr.text).toContain("ERR_UNDERPASS_TAIL_UNREACHABLE");
  // The message, and what to do.
  expect(io.stderr.text.trim().split("\n").length).toBeLessThanOrEqual(3);
  expect(io.stderr.text).not.toContain("\n\n");
  return io.stderr.text;
}

describe("the certificate", () => {
  it("of an authority that nobody knows: SSL_CERT_FILE", async () => {
    const port = await listen(https.createServer(certified(["localhost"], createAuthority())));
    expect(await tail(`localhost:${port}`)).toMatch(
      /can't reach localhost:\d+: the TLS handshake failed: .*certificate.*; SSL_CERT_FILE names a file/,
    );
  });

  it("of another name: --management-hostname", async () => {
    const names = ["elsewhere.example", "b.example", "c.example", "d.example", "e.example"];
    const port = await listen(https.createServer(certified(names)));
    const said = await tail(`localhost:${port}`);
    expect(said).toMatch(
      /DNS:elsewhere\.example.* and 2 more; --management-hostname has to be a name of the certificate/,
    );
  });

  it.each([
    ["is not there", join(folder, "missing.pem"), "SSL_CERT_FILE is left out: % can't be read (ENOENT)"],
    ["is a directory", folder, "SSL_CERT_FILE is left out: % can't be read (it is no regular file)"],
    ["holds none", import.meta.filename, "SSL_CERT_FILE holds no certificate: % should have some, as PEM"],
  ])("whose file %s: that is told", async (_what, file, message) => {
    const port = await listen(https.createServer(certified(["localhost"])));
    expect(await tail(`localhost:${port}`, { SSL_CERT_FILE: file })).toContain(
      `underpass: ${message.replace("%", file)}\n`,
    );
  });
});

describe("a port", () => {
  it("that nobody listens on", async () => {
    const port = await closedPort();
    expect(await tail(`localhost:${port}`)).toContain(`can't reach localhost:${port}: connect ECONNREFUSED`);
  });

  it("of plain HTTP", async () => {
    const port = await listen(http.createServer());
    const said = await tail(`127.0.0.1:${port}`);
    expect(said).toContain(
      `can't reach 127.0.0.1:${port}: what listens there does not speak TLS; --management-hostname`,
    );
    expect(said).not.toMatch(/EPROTO|openssl|record/);
  });

  it("that hangs up in the handshake", async () => {
    const port = await listen(net.createServer((socket) => socket.once("data", () => socket.destroy())));
    expect(await tail(`127.0.0.1:${port}`)).toMatch(/the TLS handshake failed: .*; does it speak TLS\?/);
  });

  it("of TLS that shares no version: OpenSSL's reason alone", async () => {
    const port = await listen(
      tls.createServer({
        ...certified(["localhost"]),
        maxVersion: "TLSv1.1",
        minVersion: "TLSv1",
        ciphers: "ALL:@SECLEVEL=0",
      }),
    );
    expect(await tail(`localhost:${port}`)).toMatch(/the TLS handshake failed: [\w ]*protocol version[\w ]*\n/);
  });

  it("that hangs up on the request", async () => {
    const server = https.createServer(certified(["localhost"]));
    server.on("upgrade", (_request, socket: net.Socket) => socket.destroy());
    expect(await tail(`localhost:${await listen(server)}`)).toMatch(/can't reach localhost:\d+: socket hang up/);
  });
});

describe("HTTPS_PROXY", () => {
  it("nobody listens there", async () => {
    const port = await closedPort();
    expect(await tail("tail.invalid", { HTTPS_PROXY: `http://user:pass@127.0.0.1:${port}` })).toContain(
      `can't reach tail.invalid: the proxy of HTTPS_PROXY, 127.0.0.1:${port}: connect ECONNREFUSED 127.0.0.1:${port}; NO_PROXY has`,
    );
  });

  it("refuses, or breaks off", async () => {
    const refusing = http.createServer().on("connect", (_request, socket) => {
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    const proxy = `http://127.0.0.1:${await listen(refusing)}`;
    expect(await tail("tail.invalid", { HTTPS_PROXY: proxy })).toMatch(
      /can't reach tail\.invalid: the proxy answered CONNECT tail\.invalid:443 .*403.*NO_PROXY/,
    );
    const breaking = net.createServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    expect(await tail("tail.invalid", { HTTPS_PROXY: `http://127.0.0.1:${await listen(breaking)}` })).toMatch(
      /the proxy of HTTPS_PROXY, 127\.0\.0\.1:\d+: read ECONNRESET; NO_PROXY/,
    );
  });

  it("is no proxy that is known here", async () => {
    expect(await tail("tail.invalid", { HTTPS_PROXY: "socks5://127.0.0.1:1" })).toContain(
      "HTTPS_PROXY names a proxy by",
    );
  });

  it("leads to something that does not speak TLS", async () => {
    const proxy = http.createServer().on("connect", (_request, socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    expect(await tail("tail.invalid", { HTTPS_PROXY: `http://127.0.0.1:${await listen(proxy)}` })).toContain(
      "can't reach tail.invalid: what listens there does not speak TLS",
    );
  });
});

describe("whoever takes the connection and never answers gets 15 s", () => {
  /** Follows the log; once the other side has come as far as `reached` says, time passes. */
  async function wait(host: string, reached: Promise<unknown>, env: Record<string, string> = {}): Promise<string> {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let ended = false;
    const said = tail(host, env).finally(() => (ended = true));
    await reached;
    // What has been sent gets here before the time is over.
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(14_999);
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(false);
    const closed = Promise.all([...sockets].map((socket) => once(socket.resume(), "close")));
    vi.advanceTimersByTime(1);
    const text = await said;
    await closed;
    return text;
  }

  it("in the TLS handshake", async () => {
    const server = net.createServer();
    const port = await listen(server);
    const reached = once(server, "connection").then(([socket]) => once(socket as net.Socket, "data"));
    expect(await wait(`127.0.0.1:${port}`, reached)).toContain(
      `can't reach 127.0.0.1:${port}: it takes connections, but was not through with the TLS handshake within 15 s`,
    );
  });

  it("to the request", async () => {
    const server = https.createServer(certified(["localhost"]));
    const port = await listen(server);
    const reached = once(
      server.on("upgrade", () => {}),
      "upgrade",
    );
    expect(await wait(`localhost:${port}`, reached)).toContain(
      `can't reach localhost:${port}: it speaks TLS, but has not answered the request within 15 s`,
    );
  });

  it("with all of its refusal", async () => {
    const server = https.createServer(certified(["localhost"]));
    const port = await listen(server);
    server.on("upgrade", (_request, socket: net.Socket) => {
      socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n{");
    });
    expect(await wait(`localhost:${port}`, once(server, "upgrade"))).toMatch(
      /answered with HTTP status 403, not with a WebSocket|has not answered the request within 15 s/,
    );
  });

  it("as a proxy", async () => {
    const silent = net.createServer();
    const reached = once(silent, "connection").then(([socket]) => once(socket as net.Socket, "data"));
    const address = `127.0.0.1:${await listen(silent)}`;
    expect(await wait("tail.invalid", reached, { HTTPS_PROXY: address })).toContain(
      `can't reach tail.invalid: the proxy of HTTPS_PROXY, ${address}, has not answered within 15 s; NO_PROXY has`,
    );
  });

  it("behind a proxy", async () => {
    const proxy = http.createServer();
    const began = new Promise<void>((resolve) => {
      proxy.on("connect", (_request, socket) => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.once("data", () => resolve());
      });
    });
    expect(await wait("tail.invalid", began, { HTTPS_PROXY: `127.0.0.1:${await listen(proxy)}` })).toContain(
      "can't reach tail.invalid: it takes connections, but was not through with the TLS handshake within 15 s",
    );
  });

  it("that does not even take the connection, or whose proxy does not", () => {
    const url = new URL("wss://tail.invalid/logs");
    expect(new TailWay(url, {}).lateness(15)).toBe(
      "can't reach tail.invalid: no connection within 15 s; does a firewall block outgoing TCP to this port?",
    );
    expect(new TailWay(url, { HTTPS_PROXY: "[2001:db8::1]:3128" }).lateness(15)).toMatch(
      /no connection to the proxy of HTTPS_PROXY, \[2001:db8::1\]:3128 within 15 s; NO_PROXY/,
    );
  });
});
