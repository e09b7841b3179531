/** HTTP_PROXY, HTTPS_PROXY and NO_PROXY of origins: which count, and real proxies. */
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Environment, environmentProxy } from "../../src/proxy/environment-proxy.ts";
import type { OriginRequestOptions } from "../../src/types.ts";
import { type Certificate, selfSigned } from "./certificates.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, listen, portOf } from "./harness.ts";
import { http2Origin } from "./http2/origin.ts";
import { closedPort } from "../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
afterEach(() => vi.unstubAllEnvs());

let certificate: Certificate;
beforeAll(() => {
  certificate = selfSigned("DNS:app.test");
});

describe("the environment", () => {
  const proxyOf = (
    environment: Environment,
    host = "app.test",
    port = 80,
    scheme: "http" | "https" = "http",
  ): unknown => {
    const proxy = environmentProxy(scheme, { kind: "tcp", host, port }, environment);
    return proxy?.problem ?? (proxy && `${proxy.address.host} ${proxy.address.port} ${proxy.authorization ?? "-"}`);
  };

  it.each<[string, unknown, Environment, ...(string | number)[]]>([
    ["nothing", undefined, {}],
    ["HTTP_PROXY", "p 3128 -", { HTTP_PROXY: "http://p:3128" }],
    ["in small letters", "p 80 -", { http_proxy: "p" }],
    ["in capitals first", "a 1 -", { HTTP_PROXY: "a:1", http_proxy: "b:2" }],
    ["IPv6", "2001:db8::1 3128 -", { HTTP_PROXY: "http://[2001:db8::1]:3128/" }],
    ["credentials", `p 80 Basic ${Buffer.from("me:a b@").toString("base64")}`, { HTTP_PROXY: "http://me:a%20b%40@p" }],
    ["not that of https for http", undefined, { HTTPS_PROXY: "p" }],
    ["that of https for https", "p 80 -", { HTTPS_PROXY: "p", HTTP_PROXY: "q" }, "app.test", 443, "https"],
    ["nothing as a CGI program", undefined, { HTTP_PROXY: "p", REQUEST_METHOD: "GET" }],
    ["never for localhost", undefined, { HTTP_PROXY: "p" }, "localhost"],
    ["never for loopback", undefined, { HTTP_PROXY: "p" }, "127.8.9.1"],
    ["never for IPv6 loopback", undefined, { HTTP_PROXY: "p" }, "::1"],
    ["socks5", expect.stringMatching(/HTTP_PROXY names a proxy by socks5:\/\//), { HTTP_PROXY: "socks5://p" }],
    [
      "a password that is no escape",
      expect.stringMatching(/HTTP_PROXY has a user or a password with a %/),
      { HTTP_PROXY: "http://u:p%zz@proxy.example" },
    ],
    ["no URL", expect.stringMatching(/HTTP_PROXY is no URL/), { HTTP_PROXY: "http://:@" }],
  ])("names %s", (_what, expected, environment, host, port, scheme) => {
    expect(proxyOf(environment, host as string, port as number, scheme as "http")).toEqual(expected);
  });

  it.each<[string, string, number, boolean]>([
    ["app.test", "app.test", 80, true],
    ["app.test", "below.app.test", 80, true],
    ["app.test", "otherapp.test", 80, false],
    [".app.test", "app.test", 80, false],
    [".app.test", "below.app.test", 80, true],
    ["*.app.test", "below.app.test", 80, true],
    ["*.app.test", "app.test", 80, false],
    ["x, APP.test ,y", "app.TEST", 80, true],
    ["app.test:81", "app.test", 80, false],
    ["app.test:80", "app.test", 80, true],
    ["*", "anything", 1, true],
    ["10.0.0.1", "10.0.0.1", 80, true],
    ["10.0.0.1", "10.0.0.10", 80, false],
    ["10.0.0.0/8", "10.200.3.4", 80, true],
    ["10.0.0.0/8", "11.0.0.1", 80, false],
    ["10.0.0.0/99", "10.0.0.1", 80, false],
    ["2001:db8::1", "2001:db8::1", 80, true],
    ["[2001:db8::1]:80", "2001:db8::1", 80, true],
    ["[2001:db8::1]:81", "2001:db8::1", 80, false],
    ["2001:db8::/32", "2001:db8:ffff::1", 80, true],
    [":80", "app.test", 80, false],
    [",,", "app.test", 80, false],
  ])("excepts by NO_PROXY=%s %s:%d: %s", (list, host, port, isExcepted) => {
    for (const name of ["NO_PROXY", "no_proxy"]) {
      expect(proxyOf({ HTTP_PROXY: "p", [name]: list }, host, port)).toBe(isExcepted ? undefined : "p 80 -");
    }
  });
});

/** Connects everything to one port of this machine, as the names that are asked for exist nowhere. */
async function proxyTo(
  port: () => number,
): Promise<{ server: http.Server; asked: string[]; sockets: Set<net.Socket> }> {
  const asked: string[] = [];
  const sockets = new Set<net.Socket>();
  const note = (request: http.IncomingMessage): void => {
    asked.push(`${request.method} ${request.url} ${request.headers["proxy-authorization"] ?? "-"}`);
  };
  const server = http.createServer((request, response) => {
    note(request);
    response.end(`host ${request.headers.host}`);
  });
  const tunnel = (request: http.IncomingMessage, socket: net.Socket, head: Buffer): void => {
    note(request);
    const onward = net.connect({ port: port(), host: "127.0.0.1", allowHalfOpen: true }, () => {
      socket.write("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    for (const each of [socket, onward]) {
      sockets.add(each);
      each.on("error", () => {});
      each.on("close", () => sockets.delete(each));
    }
  };
  server.on("connect", tunnel);
  cleanup.add(await listen(server), (each) => {
    each.closeAllConnections();
    for (const socket of sockets) socket.destroy();
    each.close();
  });
  return { server, asked, sockets };
}

function start(scheme: string, proxy: net.Server | string, options: Partial<OriginRequestOptions> = {}): Harness {
  const url = typeof proxy === "string" ? proxy : `http://me:secret@127.0.0.1:${portOf(proxy)}`;
  vi.stubEnv("HTTP_PROXY", url);
  vi.stubEnv("HTTPS_PROXY", url);
  vi.stubEnv("NO_PROXY", "direct.test");
  return cleanup.harness({ kind: "url", url: new URL(`${scheme}://app.test:8443`) }, options);
}

const CREDENTIALS = `Basic ${Buffer.from("me:secret").toString("base64")}`;

function get(harness: Harness, options: Parameters<typeof httpRequest>[1] = {}): Promise<FakeStream> {
  const stream = new FakeStream({ bodyless: true });
  harness.proxy.handle(httpRequest(stream, options), 0);
  return stream.done();
}

describe("an http:// origin by a proxy", () => {
  it("is named in the target, with the visitor's host and the owner's credentials", async () => {
    const { asked, server } = await proxyTo(() => 0);
    const harness = start("http", server);
    const stream = await get(harness, { path: "/a%2Fb?q", headers: fieldsOf({ "proxy-authorization": "forged" }) });
    expect(stream.body.toString()).toBe("host app.example.com");
    await get(harness, { method: "OPTIONS", path: "*" });
    vi.stubEnv("HTTP_PROXY", `127.0.0.1:${portOf(server)}`);
    await get(cleanup.harness({ kind: "url", url: new URL("ws://usual.test") }));
    expect(asked).toEqual([
      `GET http://app.test:8443/a%2Fb?q ${CREDENTIALS}`,
      `OPTIONS http://app.test:8443 ${CREDENTIALS}`,
      "GET http://usual.test/ -",
    ]);
    expect(JSON.stringify(harness.logs)).not.toMatch(/secret|bWU6/);
  });

  it("is the only host that can be asked for", async () => {
    const { asked, server } = await proxyTo(() => 0);
    const harness = start("http", server);
    for (const request of [{ path: "@evil.test/" }, { path: "*" }, { method: "CONNECT", path: "" }]) {
      expect((await get(harness, request)).aborted).toBe(true);
    }
    expect(harness.outcomes.map((outcome) => outcome.class)).toEqual(["bad-request", "bad-request", "bad-request"]);
    expect(asked).toEqual([]);
  });
});

describe("an https:// origin by a proxy", () => {
  const secure = (): Partial<OriginRequestOptions> => ({ caPool: certificate.cert });

  async function tlsOrigin(): Promise<https.Server> {
    const server = https.createServer(certificate, (request, response) => {
      response.writeHead(200, { "x-path": request.url });
      request.pipe(response);
    });
    return cleanup.add(await listen(server), (each) => {
      each.closeAllConnections();
      each.close();
    });
  }

  it("is reached by a tunnel, whose connections are kept", async () => {
    const origin = await tlsOrigin();
    const { asked, server, sockets } = await proxyTo(() => portOf(origin));
    const harness = start("https", server, secure());
    for (const path of ["/one", "/two"]) {
      const stream = new FakeStream({ window: 65_536 });
      const body = Buffer.alloc(300_000, path);
      harness.proxy.handle(httpRequest(stream, { method: "POST", path, contentLength: body.length }), 0);
      for (let at = 0; at < body.length; at += 16_384) stream.give(body.subarray(at, at + 16_384));
      stream.giveEnd();
      while (!stream.ended && !stream.aborted) {
        await stream.until(({ aborted, blocked, ended }) => aborted || blocked || ended);
        stream.drain();
      }
      expect(stream.header("x-path")).toBe(path);
      expect(stream.body.equals(body)).toBe(true);
      expect(stream.credited).toBe(stream.given);
    }
    expect(asked).toEqual([`CONNECT app.test:8443 ${CREDENTIALS}`]);
    await harness.proxy.close();
    await vi.waitUntil(() => sockets.size === 0, 5_000);
  });

  it("may speak HTTP/2 through it", async () => {
    const { server: origin } = await http2Origin(
      cleanup,
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.end("over HTTP/2");
      },
      certificate,
    );
    const { server } = await proxyTo(() => portOf(origin));
    const harness = start("https", server, { ...secure(), http2Origin: true });
    expect((await get(harness)).body.toString()).toBe("over HTTP/2");
  });

  it("may be a WebSocket's", async () => {
    const origin = https.createServer(certificate);
    origin.on("upgrade", (_request, socket: net.Socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
      socket.pipe(socket);
    });
    cleanup.add(await listen(origin), (each) => each.close());
    const { server } = await proxyTo(() => portOf(origin));
    const harness = start("wss", server, secure());
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    stream.give("hello");
    await stream.until(({ body }) => body.toString() === "hello");
    stream.giveEnd();
    await stream.done();
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 101 });
  });

  it("must have its own certificate", async () => {
    const origin = await tlsOrigin();
    const { server } = await proxyTo(() => portOf(origin));
    const harness = start("https", server, { ...secure(), originServerName: "other.test" });
    expect((await get(harness)).aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "origin-tls", phase: "tls", status: 502 });
    await harness.proxy.close();
  });

  it.each<[string, (socket: net.Socket) => void, RegExp]>([
    [
      "refuses",
      (socket) => socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
      /with status 407; NO_PROXY/,
    ],
    ["closes", (socket) => socket.end(), /by closing the connection/],
    ["speaks another protocol", (socket) => socket.write("SSH-2.0\r\n\r\n"), /in another protocol/],
    [
      "never ends its head",
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(17_000)}`),
      /a head that does not end/,
    ],
  ])("fails where the proxy %s", async (_what, act, message) => {
    const proxy = await cleanup.raw((connection) => void connection.head().then(() => act(connection.socket)));
    const harness = start("https", proxy.server, secure());
    expect((await get(harness)).aborted).toBe(true);
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
    expect(outcome.error?.message).toMatch(message);
    await harness.proxy.close();
  });

  it("fails where there is no such proxy, or it does not answer in time", async () => {
    const silent = await cleanup.raw();
    const slow = start("https", silent.server, { ...secure(), connectTimeoutMs: 50 });
    await get(slow);
    expect(await slow.outcome()).toMatchObject({ class: "origin-timeout", phase: "connect", status: 504 });
    await slow.proxy.close();
    const port = await closedPort();
    for (const scheme of ["http", "https"]) {
      const missing = start(scheme, `http://127.0.0.1:${port}`);
      await get(missing);
      const outcome = await missing.outcome();
      expect(outcome).toMatchObject({ class: "origin-refused", phase: "connect" });
      expect(outcome.error?.message).toMatch(/nothing listens on the proxy 127\.0\.0\.1:/);
      const unknown = start(scheme, "socks5://127.0.0.1:1");
      await get(unknown);
      expect((await unknown.outcome()).error?.message).toMatch(/names a proxy by socks5:\/\//);
    }
  });
});
