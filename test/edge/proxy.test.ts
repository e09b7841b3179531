/** The edge through proxies: Node's own HTTP server as one, and a SOCKS5 server of the test's own, written from the RFCs. */
import http from "node:http";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { createEdgeDial } from "../../src/connector/edge-dial.ts";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { dialTls } from "../../src/edge/dial.ts";
import { createEdgeTls } from "../../src/edge/tls.ts";
import { openThroughProxy, type EdgeProxy } from "../../src/edge/proxy-socket.ts";
import { Socks5Client } from "../../src/protocol/socks5/client.ts";
import { recordingLogger } from "../connector/fake-edge.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function listen(server: net.Server): Promise<number> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    socket.on("error", () => {});
    sockets.add(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

interface Asked {
  readonly destination: string;
  readonly authorization: string | undefined;
}

/** By HTTP CONNECT; `wanted` is the only Proxy-Authorization that it takes. */
async function httpProxy(wanted?: string): Promise<{ port: number; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = http.createServer();
  server.on("connect", (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
    const authorization = request.headers["proxy-authorization"];
    asked.push({ destination: request.url ?? "", authorization });
    if (wanted !== undefined && authorization !== wanted) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    const { hostname, port } = new URL(`http://${request.url}`);
    const onward = net.connect(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    onward.on("error", () => socket.destroy());
  });
  return { port: await listen(server), asked };
}

/** RFC 1928, with RFC 1929 where `user` is given; says each byte by itself where `slowly`. */
async function socksProxy(options: { user?: string; password?: string; slowly?: boolean } = {}): Promise<number> {
  const server = net.createServer((socket) => {
    let stage = 0;
    let have = Buffer.alloc(0);
    const say = (...bytes: number[]): void => {
      if (options.slowly === true) for (const byte of bytes) socket.write(Buffer.of(byte));
      else socket.write(Buffer.from(bytes));
    };
    const onData = (chunk: Buffer): void => {
      have = Buffer.concat([have, chunk]);
      if (stage === 0 && have.length >= 2 && have.length >= 2 + (have[1] ?? 0)) {
        const wanted = options.user === undefined ? 0 : 2;
        const offered = have.subarray(2, 2 + (have[1] ?? 0)).includes(wanted);
        have = Buffer.alloc(0);
        stage = wanted === 0 ? 2 : 1;
        say(5, offered ? wanted : 0xff);
      } else if (stage === 1) {
        const user = have.subarray(2, 2 + (have[1] ?? 0)).toString();
        const at = 2 + (have[1] ?? 0);
        const password = have.subarray(at + 1, at + 1 + (have[at] ?? 0)).toString();
        have = Buffer.alloc(0);
        stage = 2;
        say(1, user === options.user && password === options.password ? 0 : 1);
      } else if (stage === 2 && have.length >= 10) {
        socket.off("data", onData);
        const onward = net.connect(have.readUInt16BE(8), [...have.subarray(4, 8)].join("."), () => {
          say(5, 0, 0, 1, 127, 0, 0, 1, 0, 9);
          onward.pipe(socket).pipe(onward);
        });
        onward.on("error", () => say(5, 5, 0, 1, 0, 0, 0, 0, 0, 0));
      }
    };
    socket.on("data", onData);
  });
  return await listen(server);
}

async function startEdge(): Promise<MockEdge> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  return edge;
}

async function open(edge: MockEdge, options: Partial<ConnectOptions>): Promise<Tunnel> {
  const tunnel = await connect({
    token: edge.issueToken(),
    edge: edge.edgeAddress,
    cacert: edge.caPem,
    origin: () => new Response("served"),
    healthCheck: false,
    haConnections: 1,
    ...options,
  });
  closers.push(() => tunnel.close({ grace: 0 }));
  return tunnel;
}

describe("a tunnel through a proxy that is named", () => {
  it("goes by CONNECT over HTTP/2, with the user and password", async () => {
    const edge = await startEdge();
    const proxy = await httpProxy(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
    const { logger, lines } = recordingLogger();
    const tunnel = await open(edge, { edgeProxy: `http://me:p%40ss@127.0.0.1:${proxy.port}`, logger });
    expect(tunnel.connections[0]?.protocol).toBe("http2");
    expect(proxy.asked.map(({ destination }) => destination)).toEqual([edge.edgeAddress]);
    const body = "x".repeat(300_000);
    const response = await edge.fetch("/", { method: "POST", body });
    expect(await response.text()).toBe("served");
    expect(JSON.stringify(lines)).toContain(`127.0.0.1:${proxy.port}`);
    expect(JSON.stringify(lines)).not.toMatch(/p@ss|p%40ss/);
  });

  it.each([{}, { user: "me", password: "secret" }, { slowly: true }])("goes by SOCKS5: %o", async (options) => {
    const edge = await startEdge();
    const port = await socksProxy(options);
    const user = options.user === undefined ? "" : `${options.user}:${options.password}@`;
    const tunnel = await open(edge, { edgeProxy: `socks5://${user}127.0.0.1:${port}` });
    expect(tunnel.connections[0]?.protocol).toBe("http2");
    expect(await (await edge.fetch("/")).text()).toBe("served");
  });
});

describe("a proxy that does not help", () => {
  const address = { ip: "127.0.0.1", port: 9, family: 4 } as const;
  const failure = async (proxy: EdgeProxy, timeoutMs = 5_000): Promise<string> =>
    await openThroughProxy({ proxy, address, timeoutMs }).then(
      () => "opened",
      (error: unknown) => String(error),
    );

  it("is told of by what it said", async () => {
    const { port } = await httpProxy("Basic other");
    expect(await failure({ kind: "http", host: "127.0.0.1", port, authorization: undefined })).toMatch(
      /through the proxy at 127\.0\.0\.1:\d+: the proxy answered CONNECT 127\.0\.0\.1:9 with status 407 \(it wants a user and a password/,
    );
    const socks = await socksProxy({ user: "me", password: "right" });
    const wrong = { kind: "socks5", host: "127.0.0.1", port: socks } as const;
    expect(await failure({ ...wrong, credentials: undefined })).toContain("wants a user name and a password");
    expect(await failure({ ...wrong, credentials: { user: "me", password: "bad" } })).toContain(
      "refused the user name",
    );
    const refusing = { kind: "socks5", host: "127.0.0.1", port: await socksProxy(), credentials: undefined } as const;
    expect(await failure(refusing)).toContain("could not connect: connection refused");
  });

  it("that says nothing, hangs up, or is none, ends the dial", async () => {
    const silent = await listen(net.createServer(() => {}));
    expect(await failure({ kind: "http", host: "127.0.0.1", port: silent, authorization: undefined }, 50)).toContain(
      "no answer within 0.05 s",
    );
    const rude = await listen(net.createServer((socket) => socket.end()));
    expect(await failure({ kind: "socks5", host: "127.0.0.1", port: rude, credentials: undefined })).toContain(
      "closed the connection",
    );
    const head = `HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}`;
    const endless = await listen(net.createServer((socket) => socket.write(head)));
    expect(await failure({ kind: "http", host: "127.0.0.1", port: endless, authorization: undefined })).toContain(
      "a head that does not end",
    );
    expect(await failure({ kind: "socks5", host: "127.0.0.1", port: endless, credentials: undefined })).toContain(
      "does not speak SOCKS5",
    );
    const other = await listen(net.createServer((socket) => socket.write("SSH-2.0-OpenSSH_9.2\r\n")));
    expect(await failure({ kind: "http", host: "127.0.0.1", port: other, authorization: undefined })).toContain(
      "another protocol than HTTP/1.1",
    );
  });

  it("is passed over for what it says before its answer", async () => {
    const early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    const answers = async (text: string): Promise<string> => {
      const port = await listen(net.createServer((socket) => socket.write(text)));
      return await failure({ kind: "http", host: "127.0.0.1", port, authorization: undefined });
    };
    expect(await answers(`${early}HTTP/1.1 200 OK\r\n\r\n`)).toBe("opened");
    expect(await answers(`${early}HTTP/1.1 403 Forbidden\r\n\r\n`)).toContain("403 (its rules forbid");
    expect(await answers(early.repeat(1_000))).toContain("a head that does not end");
  });

  it("is named where it opens the way and then hangs up, or answers itself", async () => {
    const dial = async (then: (socket: net.Socket) => void): Promise<string> => {
      const server = net.createServer((socket) =>
        socket.once("data", () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          socket.once("data", () => then(socket));
        }),
      );
      const proxy = { kind: "http", host: "127.0.0.1", port: await listen(server), authorization: undefined } as const;
      const edgeTls = createEdgeTls({ postQuantum: false });
      return await dialTls({ address, servername: "edge.test", tls: edgeTls, proxy }).then(
        () => "connected",
        (error: unknown) => String(error),
      );
    };
    expect(await dial((socket) => socket.destroy())).toMatch(
      /at 127\.0\.0\.1:9 through the proxy at 127\.0\.0\.1:\d+: .* \(the proxy hung up; is it allowed to connect there\?\)$/,
    );
    expect(await dial((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"))).toMatch(
      /through the proxy at 127\.0\.0\.1:\d+: wrong version number \(what listens there does not speak TLS\)$/,
    );
  });

  it("is given up with the signal", async () => {
    const port = await listen(net.createServer(() => {}));
    const abort = new AbortController();
    const proxy: EdgeProxy = { kind: "http", host: "127.0.0.1", port, authorization: undefined };
    const opening = openThroughProxy({ proxy, address, timeoutMs: 5_000, signal: abort.signal });
    setTimeout(() => abort.abort(new Error("enough")), 20);
    await expect(opening).rejects.toThrow("enough");
  });
});

it("a SOCKS5 client asks by IPv6, too", () => {
  const client = new Socks5Client("2001:db8::1", 7844, undefined);
  expect(client.start().toString("hex")).toBe("050100");
  const { send } = client.receive(Buffer.from("0500", "hex"));
  expect(send?.toString("hex")).toBe("0501000420010db80000000000000000000000011ea4");
  const { rest } = client.receive(Buffer.from(`05000004${"00".repeat(16)}0000abcd`, "hex"));
  expect(rest?.toString("hex")).toBe("abcd");
});

describe("a proxy of the environment", () => {
  const dialVia = (edge: MockEdge, env: Record<string, string>) => {
    const recording = recordingLogger();
    const config = { ...defaultTunnelConfig, cacert: edge.caPem };
    const { dial } = createEdgeDial({ ...config, protocol: "http2" }, createMemoryBudget(), recording.logger, env);
    return { dial, lines: recording.lines };
  };
  /** No host of this machine's is asked for through a proxy; this address is nobody's (RFC 5737). */
  const unreachable = { ip: "192.0.2.1", port: 7844, family: 4 } as const;

  it("is not asked while the edge can be reached", async () => {
    const edge = await startEdge();
    const proxy = await httpProxy();
    const { dial } = dialVia(edge, { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` });
    const [ip = "", port] = edge.edgeAddress.split(":");
    const address = { ip, port: Number(port), family: 4 } as const;
    const connection = await dial({ connIndex: 0, address, signal: AbortSignal.timeout(5_000) });
    await connection.close({ kind: "shutdown" });
    expect(proxy.asked).toEqual([]);
  });

  it("is asked once a direct dial has failed, and then first", async () => {
    const edge = await startEdge();
    const asked: string[] = [];
    const proxy = http.createServer();
    proxy.on("connect", (request: http.IncomingMessage, socket: net.Socket) => {
      asked.push(request.url ?? "");
      const onward = net.connect(Number(edge.edgeAddress.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onward.pipe(socket).pipe(onward);
      });
      onward.on("error", () => socket.destroy());
    });
    const port = await listen(proxy);
    // An address that a socket of this machine can't be bound for fails at once, without a packet on any network.
    const { dial, lines } = dialVia(edge, { HTTPS_PROXY: `127.0.0.1:${port}` });
    const refused = { ...unreachable, ip: "255.255.255.255" };
    for (let i = 0; i < 2; i++) {
      const connection = await dial({ connIndex: i, address: refused, signal: AbortSignal.timeout(5_000) });
      await connection.close({ kind: "shutdown" });
    }
    expect(asked).toEqual(["255.255.255.255:7844", "255.255.255.255:7844"]);
    expect(lines.filter(({ message }) => message.includes("using the proxy of HTTPS_PROXY"))).toHaveLength(1);
  });

  it("that is of no use either is told of beside what failed without it", async () => {
    const proxy = await httpProxy("Basic other");
    const { dial } = dialVia(await startEdge(), { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` });
    const refused = { ip: "255.255.255.255", port: 7844, family: 4 } as const;
    await expect(dial({ connIndex: 0, address: refused, signal: AbortSignal.timeout(5_000) })).rejects.toThrow(
      /^can't connect to the edge at 255\.255\.255\.255:7844: .*; nor by HTTPS_PROXY: can't reach .* 407/,
    );
  });
});
