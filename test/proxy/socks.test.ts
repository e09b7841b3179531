/** SOCKS5 over WebSocket: curl through a bridge where there is one, and bytes by hand. */
import { execFile, spawnSync } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { createWebSocketStream, WebSocket } from "ws";
import { IpPolicy } from "../../src/proxy/socks5/ip-policy.ts";
import type { IpRule, OriginRequestOptions, Service } from "../../src/types.ts";
import { FakeStream, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, Harness, listen, portOf } from "./harness.ts";
import { closedPort } from "../ports.ts";
import { visitorServer } from "./visitor-server.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const SOCKS: Service = { kind: "socks-proxy" };
const LOOPBACK: IpRule[] = [
  { prefix: "127.0.0.0/8", ports: [], allow: true },
  { prefix: "::1/128", ports: [], allow: true },
];

function start(service: Service, options: Partial<OriginRequestOptions>): Harness {
  return cleanup.add(new Harness(service, options), ({ proxy }) => proxy.close());
}

/** A local port whose connections go over WebSockets, as `cloudflared access tcp` makes one. */
async function bridge(harness: Harness): Promise<number> {
  const { server } = visitorServer(harness.proxy);
  cleanup.add(server, (each) => {
    each.closeAllConnections();
    each.close();
  });
  await listen(server);
  const sockets = new Set<net.Socket>();
  const local = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const stream = createWebSocketStream(new WebSocket(`ws://127.0.0.1:${portOf(server)}`), { allowHalfOpen: true });
    socket.pipe(stream).pipe(socket);
    socket.on("error", () => stream.destroy());
    stream.on("error", () => socket.destroy());
  });
  cleanup.add(local, (each) => {
    each.close();
    for (const socket of sockets) socket.destroy();
  });
  await listen(local);
  return portOf(local);
}

/** One visitor who speaks SOCKS5 in frames. */
class SocksVisitor {
  readonly stream = new FakeStream();

  constructor(harness: Harness) {
    harness.proxy.handle(webSocketRequest(this.stream), 0);
  }

  send(hex: string): void {
    const bytes = Buffer.from(hex, "hex");
    const head =
      bytes.length < 126 ? [0x82, 0x80 + bytes.length] : [0x82, 0xfe, bytes.length >> 8, bytes.length & 0xff];
    this.stream.give(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), bytes]));
  }

  /** Payload of the data frames so far, and the code of the Close. */
  get heard(): { payload: string; code: number | undefined } {
    const { body } = this.stream;
    let payload = "";
    for (let at = 0; at + 1 < body.length; ) {
      const length = body[at + 1] ?? 0;
      const data = body.subarray(at + 2, at + 2 + length);
      if (body[at] === 0x88) return { payload, code: data.readUInt16BE() };
      payload += data.toString("hex");
      at += 2 + length;
    }
    return { payload, code: undefined };
  }

  async until(payload: RegExp): Promise<void> {
    await this.stream.until(() => payload.test(this.heard.payload));
  }
}

const hex = (number: number): string => number.toString(16).padStart(4, "0");
const toLoopback = (port: number): string => `050100050100017f000001${hex(port)}`;
const toName = (name: string, port: number): string =>
  `05010005010003${name.length.toString(16).padStart(2, "0")}${Buffer.from(name).toString("hex")}${hex(port)}`;

const hasCurl = spawnSync("curl", ["--version"]).status === 0;

describe.skipIf(!hasCurl)("curl through socks-proxy", () => {
  const curl = async (...args: string[]): Promise<{ status: number; stdout: string }> => {
    try {
      const { stdout } = await promisify(execFile)("curl", ["-sS", "--noproxy", "", "--max-time", "10", ...args]);
      return { status: 0, stdout };
    } catch (error) {
      return { status: Number((error as { code: unknown }).code), stdout: "" };
    }
  };

  it("fetches by address and by name, what ipRules allow and nothing else", async () => {
    const origin = await cleanup.http((request, response) => response.end(`you asked for ${request.url}`));
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const port = await bridge(harness);
    const url = `127.0.0.1:${portOf(origin)}/page`;
    expect(await curl("--socks5", `127.0.0.1:${port}`, `http://${url}`)).toEqual({
      status: 0,
      stdout: "you asked for /page",
    });
    expect(await curl("--socks5-hostname", `127.0.0.1:${port}`, `http://localhost:${portOf(origin)}/name`)).toEqual({
      status: 0,
      stdout: "you asked for /name",
    });
    const denied = await bridge(start(SOCKS, { ipRules: [{ prefix: "10.0.0.0/8", ports: [], allow: true }] }));
    // 97: CURLE_PROXY.
    expect((await curl("--socks5", `127.0.0.1:${denied}`, `http://${url}`)).status).toBe(97);
  });

  it("carries a large answer", async () => {
    const body = Buffer.alloc(5_000_000, "large ");
    const origin = await cleanup.http((_request, response) => response.end(body));
    const port = await bridge(start(SOCKS, { ipRules: LOOPBACK }));
    const { stdout } = await promisify(execFile)(
      "curl",
      ["-sS", "--max-time", "10", "--socks5", `127.0.0.1:${port}`, `http://127.0.0.1:${portOf(origin)}/`],
      { maxBuffer: 10_000_000 },
    );
    expect(stdout.length).toBe(body.length);
  });

  it("reaches a service with proxyType socks whatever it asks for", async () => {
    const origin = await cleanup.http((request, response) => response.end(`host ${request.headers.host}`));
    const service: Service = { kind: "tcp", scheme: "tcp", host: "127.0.0.1", port: portOf(origin) };
    const port = await bridge(start(service, { proxyType: "socks" }));
    expect(await curl("--socks5-hostname", `127.0.0.1:${port}`, "http://elsewhere.invalid/")).toEqual({
      status: 0,
      stdout: "host elsewhere.invalid",
    });
  });
});

describe("socks-proxy", () => {
  it("is accepted at once, answers with the address it dials from, and passes on what was sent along", async () => {
    const origin = await cleanup.raw((connection) => connection.socket.on("data", (chunk) => connection.write(chunk)));
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const visitor = new SocksVisitor(harness);
    expect(visitor.stream.head?.status).toBe(101);
    visitor.send(`${toLoopback(portOf(origin.server))}${Buffer.from("early").toString("hex")}`);
    await visitor.until(/6561726c79$/);
    const { socket } = await origin.connection();
    expect(visitor.heard.payload).toBe(`0500050000017f000001${hex(socket.remotePort ?? 0)}6561726c79`);
    visitor.stream.give(Buffer.from("88820000000003e8", "hex"));
    await (await origin.connection()).until(({ ended }) => ended);
    socket.end();
    await visitor.stream.done();
    expect(await harness.outcome()).toMatchObject({ class: "ok", kind: "websocket", status: 101 });
    expect(harness.logs.at(-1)?.fields).toMatchObject({ originService: "socks-proxy" });
    expect(visitor.stream.credited).toBe(visitor.stream.given);
  });

  it("tries the next address of a name where one can't be reached", async () => {
    // localhost is ::1 and 127.0.0.1 on most machines; only one of them listens.
    const server = cleanup.add(
      net.createServer((socket) => socket.end("!")),
      (each) => each.close(),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const visitor = new SocksVisitor(start(SOCKS, { ipRules: LOOPBACK }));
    visitor.send(toName("localhost", portOf(server)));
    await visitor.until(/21$/);
    expect(visitor.heard.payload).toMatch(/^050005000001/);
  });

  for (const [what, ipRules, request, reply, outcome] of [
    ["nothing without rules", [], toLoopback(1), "02", "access-denied"],
    ["no name without rules", [], toName("nowhere.invalid", 80), "02", "access-denied"],
    [
      "no port that is not listed",
      [{ prefix: "127.0.0.0/8", ports: [1, 2], allow: true }],
      toLoopback(3),
      "02",
      "access-denied",
    ],
    [
      "nothing behind the rule that denies",
      [{ prefix: "127.0.0.1/32", ports: [], allow: false }, ...LOOPBACK],
      toLoopback(1),
      "02",
      "access-denied",
    ],
    [
      "no name whose address is denied",
      [{ prefix: "10.0.0.0/8", ports: [], allow: true }],
      toName("localhost", 80),
      "02",
      "access-denied",
    ],
    ["no name that does not exist", LOOPBACK, toName("nowhere.invalid", 80), "04", "origin-dns"],
    [
      "no IPv4 address in IPv6 form that is denied",
      [
        { prefix: "127.0.0.0/8", ports: [], allow: false },
        { prefix: "::/0", ports: [], allow: true },
      ],
      `05010005010004${"00".repeat(10)}ffff7f0000010050`,
      "02",
      "access-denied",
    ],
    [
      "no 0.0.0.0",
      [{ prefix: "0.0.0.0/0", ports: [], allow: true }],
      "05010005010001000000000050",
      "02",
      "access-denied",
    ],
    [
      "no ::",
      [{ prefix: "::/0", ports: [], allow: true }],
      `05010005010004${"00".repeat(16)}0050`,
      "02",
      "access-denied",
    ],
  ] as const) {
    it(`allows ${what}`, async () => {
      const harness = start(SOCKS, { ipRules });
      const visitor = new SocksVisitor(harness);
      visitor.send(request);
      await visitor.stream.until(() => visitor.heard.code !== undefined);
      expect(visitor.heard).toEqual({ payload: `050005${reply}0001000000000000`, code: 1000 });
      expect(await harness.outcome()).toMatchObject({ class: outcome, status: 101 });
      visitor.send("00");
      expect(visitor.stream.credited).toBe(visitor.stream.given);
    });
  }

  it("says that a connection was refused", async () => {
    const port = await closedPort();
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const visitor = new SocksVisitor(harness);
    visitor.send(toLoopback(port));
    await visitor.stream.until(() => visitor.heard.code !== undefined);
    expect(visitor.heard).toEqual({ payload: "050005050001000000000000", code: 1000 });
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused" });
  });

  for (const [what, request, payload, code] of [
    ["a client that wants a password", "050102", "05ff", 1000],
    ["BIND", "050100050200017f0000010050", "050005070001000000000000", 1000],
    ["SOCKS4", "040100507f00000100", "", 1003],
    ["HTTP", Buffer.from("CONNECT x:1 HTTP/1.1\r\n\r\n").toString("hex"), "", 1003],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const harness = start(SOCKS, { ipRules: LOOPBACK });
      const visitor = new SocksVisitor(harness);
      visitor.send(request);
      expect(visitor.heard).toEqual({ payload, code });
      const outcome = await harness.outcome();
      expect(outcome).toMatchObject({ class: "bad-request", status: 101 });
      expect(outcome.error).toMatchObject({ code: "ERR_UNDERPASS_SOCKS5" });
      visitor.send("00");
      expect(visitor.stream.credited).toBe(visitor.stream.given);
    });
  }

  it("ends with a visitor that goes away in the middle of its request", async () => {
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const gone = new SocksVisitor(harness);
    gone.send("0501");
    gone.stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "request" });
    const closing = new SocksVisitor(harness);
    closing.stream.give(Buffer.from("88820000000003e8", "hex"));
    expect(closing.heard.code).toBe(1000);
    expect(closing.stream.ended).toBe(true);
    expect(await harness.outcome(2)).toMatchObject({ class: "client-abort" });
  });

  it("ends with the tunnel, by 1001", async () => {
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const visitor = new SocksVisitor(harness);
    await harness.proxy.close();
    expect(visitor.heard.code).toBe(1001);
    expect(await harness.outcome()).toMatchObject({ class: "shutdown" });
  });

  it("does not dial for a visitor that left while a name was looked up", async () => {
    const origin = await cleanup.raw();
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const visitor = new SocksVisitor(harness);
    visitor.send(toName("localhost", portOf(origin.server)));
    visitor.stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "connect" });
    // A second visitor's connection comes after the first one's would have.
    const second = new SocksVisitor(harness);
    second.send(toName("localhost", portOf(origin.server)));
    await second.until(/^05000500/);
    expect(origin.connections).toHaveLength(1);
  });

  it("explains itself to whoever comes without a WebSocket", async () => {
    const harness = start(SOCKS, { ipRules: LOOPBACK });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    expect(stream.head?.status).toBe(426);
  });
});

describe("ipRules", () => {
  it("decide by the first rule that contains the address and lists the port", () => {
    const policy = new IpPolicy([
      { prefix: "10.1.0.0/16", ports: [22], allow: false },
      { prefix: "10.0.0.0/9", ports: [], allow: true },
      { prefix: "2001:db8::/33", ports: [80, 443], allow: true },
      { prefix: "::ffff:192.0.2.0/120", ports: [], allow: true },
    ]);
    const verdicts: [string, number, boolean][] = [
      ["10.1.2.3", 22, false],
      ["10.1.2.3", 23, true],
      ["10.127.255.255", 22, true],
      ["10.128.0.0", 22, false],
      ["::ffff:10.0.0.1", 22, true],
      ["2001:db8:7fff::1", 443, true],
      ["2001:db8:7fff::1", 444, false],
      ["2001:db8:8000::1", 443, false],
      ["192.0.2.77", 1, true],
      ["192.0.3.77", 1, false],
      ["not an address", 1, false],
    ];
    for (const [address, port, allowed] of verdicts)
      expect([address, port, policy.allows(address, port)]).toEqual([address, port, allowed]);
    expect(new IpPolicy([{ prefix: "0.0.0.0/0", ports: [], allow: true }]).allows("::1", 1)).toBe(false);
    expect(new IpPolicy([{ prefix: "::/0", ports: [], allow: true }]).allows("127.0.0.1", 1)).toBe(false);
    expect(new IpPolicy([{ prefix: "0.0.0.0/0", ports: [], allow: false }]).allowsAnything).toBe(false);
  });
});
