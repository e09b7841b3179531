/** TCP over WebSocket, with ws as the client and sockets on loopback behind it. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { OriginRequestOptions, Service } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, Harness, listen, portOf, type RawConnection } from "./harness.ts";
import { visitorServer, type VisitorServer } from "./visitor-server.ts";
import { closedPort } from "../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function tcpService(port: number, scheme = "tcp", host = "127.0.0.1"): Service {
  return { kind: "tcp", scheme, host, port };
}

interface Rig extends VisitorServer {
  readonly harness: Harness;
  readonly url: string;
}

async function rigFor(service: Service, options: Partial<OriginRequestOptions> = {}): Promise<Rig> {
  const harness = cleanup.add(new Harness(service, options), ({ proxy }) => proxy.close());
  const visitors = visitorServer(harness.proxy);
  cleanup.add(visitors.server, (server) => {
    server.closeAllConnections();
    server.close();
  });
  await listen(visitors.server);
  return { ...visitors, harness, url: `ws://127.0.0.1:${portOf(visitors.server)}` };
}

interface Client {
  readonly socket: WebSocket;
  /** All that has come, from the first byte on: it may come along with the handshake. */
  readonly inbox: { bytes: Buffer };
  /** The code of the Close. */
  readonly closed: Promise<number>;
}

async function open(
  url: string,
  options: { protocols?: string[]; headers?: Record<string, string> } = {},
): Promise<Client> {
  const socket = new WebSocket(url, options.protocols ?? [], { headers: options.headers, perMessageDeflate: false });
  cleanup.add(socket, (each) => each.terminate());
  const inbox = { bytes: Buffer.alloc(0) };
  socket.on("message", (data: Buffer) => {
    inbox.bytes = Buffer.concat([inbox.bytes, data]);
  });
  const closed = once(socket, "close").then(([code]) => code as number);
  await once(socket, "open");
  return { socket, inbox, closed };
}

async function connect(url: string, options: Parameters<typeof open>[1] = {}): Promise<WebSocket> {
  return (await open(url, options)).socket;
}

const echo = (connection: RawConnection): void => {
  connection.socket.pipe(connection.socket);
};

describe("a TCP service", () => {
  it("is accepted as RFC 6455 says, and carries text and binary messages of any size", async () => {
    const origin = await cleanup.raw(echo);
    const { harness, streams, url } = await rigFor(tcpService(portOf(origin.server), "ssh"));
    const client = await connect(url);
    const sent: Buffer[] = [];
    for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 3_000_000]) {
      const message = randomBytes(length);
      sent.push(message);
      client.send(message);
    }
    client.send("grüße");
    sent.push(Buffer.from("grüße"));
    client.send("frag", { fin: false });
    client.send("mented", { fin: true });
    sent.push(Buffer.from("fragmented"));
    const expected = Buffer.concat(sent);
    const received: Buffer[] = [];
    let bytes = 0;
    await new Promise<void>((resolve) => {
      client.on("message", (data: Buffer, isBinary) => {
        expect(isBinary).toBe(true);
        received.push(data);
        bytes += data.length;
        if (bytes === expected.length) resolve();
      });
    });
    expect(Buffer.concat(received).equals(expected)).toBe(true);
    client.close(1000, "done");
    const [code] = (await once(client, "close")) as [number];
    expect(code).toBe(1000);
    expect(await harness.outcome()).toMatchObject({ class: "ok", kind: "websocket", status: 101 });
    expect(harness.logs.at(-1)?.fields).toMatchObject({
      originService: expect.stringMatching(/^ssh:\/\/127\.0\.0\.1:\d+$/),
    });
    expect(streams[0]?.held).toBe(0);
  });

  it("holds no more than the window while the origin does not read, and loses nothing", async () => {
    const length = 20_000_000;
    let resume!: () => void;
    const hash = createHash("sha256");
    let received = 0;
    const origin = await cleanup.raw(({ socket }) => {
      socket.removeAllListeners("data");
      socket.pause();
      resume = () => {
        socket.on("data", (chunk: Buffer) => {
          hash.update(chunk);
          received += chunk.length;
        });
        socket.resume();
      };
    });
    const { streams, url } = await rigFor(tcpService(portOf(origin.server)));
    const client = await connect(url);
    const data = randomBytes(length);
    client.send(data.subarray(0, 12_000_000));
    client.send(data.subarray(12_000_000));
    await vi.waitUntil(() => (streams[0]?.held ?? 0) > 256 * 1024, 5_000);
    expect(streams[0]?.peakHeld).toBeLessThan(1024 * 1024);
    resume();
    await vi.waitUntil(() => received === length, 10_000);
    expect(hash.digest("hex")).toBe(createHash("sha256").update(data).digest("hex"));
    expect(streams[0]?.held).toBe(0);
  });

  it("stops reading from the origin while the visitor does not read", async () => {
    const chunk = Buffer.alloc(64 * 1024, "x");
    let taken = 0;
    let blocked = false;
    const origin = await cleanup.raw(({ socket }) => {
      const more = (): void => {
        while (taken < 64_000_000 && socket.write(chunk)) taken += chunk.length;
        blocked = taken < 64_000_000;
        if (taken >= 64_000_000) socket.end();
        else socket.once("drain", more);
      };
      more();
    });
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const stream = new FakeStream({ window: 100_000 });
    harness.proxy.handle(webSocketRequest(stream), 0);
    await vi.waitUntil(() => blocked && stream.blocked, 5_000);
    const before = stream.body.length;
    expect(before).toBeLessThan(400_000);
    stream.drain();
    await stream.until(({ body }) => body.length > before);
    stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "splice" });
  });

  it("ends with 1000 when the origin has said all, after all of it", async () => {
    const reply = randomBytes(300_000);
    const origin = await cleanup.raw(({ socket }) => socket.end(reply));
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)));
    const { closed, inbox } = await open(url);
    expect(await closed).toBe(1000);
    expect(inbox.bytes.equals(reply)).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
    await (await origin.connection()).until(({ ended }) => ended);
  });

  it("delivers what the origin still says to a visitor that has sent its Close, and then answers it", async () => {
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("end", () => connection.socket.end(`heard ${connection.received}`));
    });
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)));
    const { closed, inbox, socket } = await open(url);
    socket.send("question");
    socket.close(4001, "asked");
    expect(await closed).toBe(4001);
    expect(inbox.bytes.toString()).toBe("heard question");
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
  });

  it("does the same for one that only ended its stream", async () => {
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("end", () => connection.socket.end("reply"));
    });
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    stream.giveEnd();
    await stream.done();
    // One frame with the reply, and the Close.
    expect(stream.body.toString("hex")).toBe(`8205${Buffer.from("reply").toString("hex")}880203e8`);
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
  });

  it("tells the visitor by 1011 that the origin broke off", async () => {
    const origin = await cleanup.raw(({ socket }) => socket.on("data", () => socket.resetAndDestroy()));
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)));
    const client = await connect(url);
    client.send("x");
    const [code, reason] = (await once(client, "close")) as [number, Buffer];
    expect(code).toBe(1011);
    expect(reason.toString()).toBe("the connection to the origin broke");
    expect(await harness.outcome()).toMatchObject({ class: "origin-reset", phase: "splice", status: 101 });
  });

  it("tells the visitor by 1001 that the tunnel is shutting down", async () => {
    const origin = await cleanup.raw();
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)));
    const client = await connect(url);
    const closed = once(client, "close");
    await harness.proxy.close();
    expect((await closed)[0]).toBe(1001);
    expect(await harness.outcome()).toMatchObject({ class: "shutdown", phase: "splice" });
  });

  it("answers pings, the latest of those that found no room", async () => {
    const origin = await cleanup.raw();
    const { url, harness } = await rigFor(tcpService(portOf(origin.server)));
    const client = await connect(url);
    client.ping("are you there");
    expect(String((await once(client, "pong"))[0])).toBe("are you there");

    const stream = new FakeStream({ window: 10 });
    harness.proxy.handle(webSocketRequest(stream), 0);
    const ping = (text: string): string =>
      `89${(0x80 + text.length).toString(16)}00000000${Buffer.from(text).toString("hex")}`;
    // Before the origin's connection is open there is nothing that could be answered on.
    stream.give(Buffer.from(ping("early"), "hex"));
    await stream.until(({ body }) => body.length > 0);
    expect(stream.body.toString("hex")).toBe(`8a05${Buffer.from("early").toString("hex")}`);
    (await origin.connection(1)).write("some bytes more than fit");
    await stream.until(({ blocked }) => blocked);
    const before = stream.body.length;
    for (let i = 0; i < 1_000; i++) stream.give(Buffer.from(ping(`ping ${i % 10}`), "hex"));
    expect(stream.body.length).toBe(before);
    stream.drain();
    expect(stream.body.subarray(before).toString("hex")).toBe(`8a06${Buffer.from("ping 9").toString("hex")}`);
    expect(stream.credited).toBe(stream.given);
  });

  it("takes a subprotocol that stands for bytes, and no other", async () => {
    const origin = await cleanup.raw();
    const { url } = await rigFor(tcpService(portOf(origin.server)));
    expect((await connect(url, { protocols: ["base64", "binary"] })).protocol).toBe("binary");
    const stream = new FakeStream();
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const headers = fieldsOf({ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": "chat" });
    harness.proxy.handle(webSocketRequest(stream, { headers }), 0);
    await stream.until(({ head }) => head !== undefined);
    expect(stream.head?.status).toBe(101);
    expect(stream.fields).toEqual([
      "Connection: Upgrade",
      "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      "Upgrade: websocket",
    ]);
  });

  it("is acknowledged with nothing where the request has no key", async () => {
    const origin = await cleanup.raw();
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    await stream.until(({ head }) => head !== undefined);
    expect(stream.head).toEqual({ status: 101, headers: [], contentLength: undefined, source: "origin" });
  });

  for (const [fault, hex, code] of [
    ["a frame without a mask", "820161", 1002],
    ["a reserved bit", "c281000000006162", 1002],
    ["a reserved opcode", "8381000000006162", 1002],
    ["a continuation of nothing", "8081000000006162", 1002],
    ["a fragmented ping", "0981000000006162", 1002],
    ["half a close code", "888100000000aa", 1002],
    ["a frame of 2^60 bytes", "82ff100000000000000000000000", 1009],
  ] as const) {
    it(`closes with ${code} on ${fault}, and the origin's connection with it`, async () => {
      const origin = await cleanup.raw();
      const { harness } = await rigFor(tcpService(portOf(origin.server)));
      const stream = new FakeStream();
      harness.proxy.handle(webSocketRequest(stream), 0);
      const connection = await origin.connection();
      await stream.until(({ head }) => head !== undefined);
      stream.give(Buffer.from(`828300000000616263${hex}8100`, "hex"));
      await stream.done();
      expect(stream.body.subarray(0, 1).toString("hex")).toBe("88");
      expect(stream.body.readUInt16BE(2)).toBe(code);
      expect(stream.ended).toBe(true);
      await connection.until(({ closed, ended }) => closed || ended);
      const outcome = await harness.outcome();
      expect(outcome).toMatchObject({ class: "bad-request", phase: "splice" });
      expect(outcome.error).toMatchObject({ code: "ERR_UNDERPASS_WEBSOCKET" });
      stream.give("more");
      expect(stream.credited).toBe(stream.given);
    });
  }

  it("refuses a violation before the origin has answered with 502", async () => {
    const origin = await cleanup.raw();
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    stream.give(Buffer.from("820161", "hex"));
    expect(stream.aborted).toBe(true);
    expect(stream.head).toBeUndefined();
    expect(await harness.outcome()).toMatchObject({ class: "bad-request" });
  });

  it("explains itself to whoever comes without a WebSocket", async () => {
    const origin = await cleanup.raw();
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)));
    const response = await fetch(url.replace("ws:", "http:"));
    expect(response.status).toBe(426);
    expect(response.headers.get("upgrade")).toBe("websocket");
    expect(await response.text()).toContain("cloudflared access tcp");
    expect(await harness.outcome()).toMatchObject({ class: "bad-request", phase: "match", status: 426 });
    const head = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(head, { method: "HEAD" }), 0);
    expect(head).toMatchObject({ ended: true, head: { status: 426 } });
    expect(head.body.length).toBe(0);
    const old = new FakeStream();
    harness.proxy.handle(webSocketRequest(old, { headers: fieldsOf({ "sec-websocket-version": "8" }) }), 0);
    expect(old.head?.status).toBe(426);
    expect(old.header("sec-websocket-version")).toBe("13");
    expect(origin.connections).toHaveLength(0);
  });

  it("is a 502 when nothing listens, or nothing has that name", async () => {
    const port = await closedPort();
    for (const [service, outcome] of [
      [tcpService(port), "origin-refused"],
      [tcpService(port, "tcp", "nowhere.invalid"), "origin-dns"],
    ] as const) {
      const { harness } = await rigFor(service);
      const stream = new FakeStream();
      harness.proxy.handle(webSocketRequest(stream), 0);
      stream.give(Buffer.from("828100000000aa", "hex"));
      await stream.done();
      expect(stream.aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: outcome, status: 502 });
      expect(stream.credited).toBe(stream.given);
    }
  });

  it("ends where neither side says anything for idleTimeout", async () => {
    const origin = await cleanup.raw();
    const { harness, url } = await rigFor(tcpService(portOf(origin.server)), { idleTimeoutMs: 40 });
    const { closed } = await open(url);
    expect(await closed).toBe(1011);
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "origin-timeout", phase: "splice" });
    expect(outcome.error?.message).toContain("idleTimeout");
  });

  for (const [version, expected] of [
    ["v1", /^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 0 (\d+)\r\nhello$/],
    ["v2", /^\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\0\0..hello$/s],
  ] as const) {
    it(`tells the origin the visitor's address by PROXY protocol ${version}, before its first byte`, async () => {
      const origin = await cleanup.raw();
      const { url } = await rigFor(tcpService(portOf(origin.server)), { proxyProtocol: version });
      const client = await connect(url);
      client.send("hello");
      const connection = await origin.connection();
      await connection.until(({ received }) => received.endsWith("hello"));
      expect(connection.received).toMatch(expected);
    });
  }

  it("sends the PROXY header to an origin that speaks first", async () => {
    const origin = await cleanup.raw(({ socket }) => socket.write("SSH-2.0-x\r\n"));
    const { url } = await rigFor(tcpService(portOf(origin.server)), { proxyProtocol: "v1" });
    const { inbox } = await open(url);
    await vi.waitUntil(() => inbox.bytes.toString() === "SSH-2.0-x\r\n", 5_000);
    const connection = await origin.connection();
    await connection.until(({ received }) => received.endsWith("\r\n"));
    expect(connection.received).toMatch(/^PROXY TCP4 /);
  });
});

describe("the clock of a TCP service", () => {
  afterEach(() => vi.useRealTimers());

  async function openStream(): Promise<{ stream: FakeStream; harness: Harness; connection: RawConnection }> {
    const origin = await cleanup.raw();
    const { harness } = await rigFor(tcpService(portOf(origin.server)));
    const stream = new FakeStream({ window: 100_000 });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    harness.proxy.handle(webSocketRequest(stream), 0);
    await stream.until(({ head }) => head !== undefined);
    return { stream, harness, connection: await origin.connection() };
  }

  it("answers 504 for an origin that does not take the connection in time", async () => {
    const origin = await cleanup.raw();
    const { harness } = await rigFor(tcpService(portOf(origin.server)), { connectTimeoutMs: 2_000 });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    // The kernel's answer waits for the next turn of the loop.
    vi.advanceTimersByTime(2_000);
    expect(stream.head).toEqual({ status: 504, headers: [], contentLength: 0, source: "connector" });
    expect(stream.ended).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "origin-timeout", phase: "connect", status: 504 });
  });

  it("pings every 54 seconds, but not a visitor that does not read", async () => {
    const { connection, stream } = await openStream();
    vi.advanceTimersByTime(53_999);
    expect(stream.body.toString("hex")).toBe("");
    vi.advanceTimersByTime(1);
    expect(stream.body.toString("hex")).toBe("8900");
    vi.advanceTimersByTime(54_000);
    expect(stream.body.toString("hex")).toBe("89008900");
    connection.write(Buffer.alloc(200_000));
    await stream.until(({ blocked }) => blocked);
    const before = stream.body.length;
    vi.advanceTimersByTime(540_000);
    expect(stream.body.length).toBe(before);
    stream.cancel();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives an origin that ignores the visitor's Close half a minute of silence", async () => {
    const { connection, harness, stream } = await openStream();
    stream.give(Buffer.from("88820000000003e8", "hex"));
    await connection.until(({ ended }) => ended);
    vi.advanceTimersByTime(29_000);
    connection.write("still here");
    await stream.until(({ body }) => body.length === 12);
    vi.advanceTimersByTime(29_000);
    expect(stream.ended).toBe(false);
    vi.advanceTimersByTime(1_000);
    expect(stream.ended).toBe(true);
    expect(stream.body.subarray(12).toString("hex")).toBe("880203e8");
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "splice" });
    await connection.until(({ closed, ended }) => closed || ended);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("waits as long for the visitor's answer to a Close", async () => {
    const { connection, harness, stream } = await openStream();
    connection.socket.end("bye");
    await stream.until(({ body }) => body.length === 9);
    vi.advanceTimersByTime(29_000);
    // What was under way when the origin ended still reaches it.
    stream.give(Buffer.from("828200000000" + Buffer.from("ok").toString("hex"), "hex"));
    await connection.until(({ received }) => received === "ok");
    vi.advanceTimersByTime(29_000);
    expect(stream.ended).toBe(false);
    vi.advanceTimersByTime(1_000);
    expect(stream.ended).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
    stream.give("anything");
    expect(stream.credited).toBe(stream.given);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("bastion", () => {
  it("connects to where the client names", async () => {
    const origin = await cleanup.raw(echo);
    const port = portOf(origin.server);
    const { url, harness } = await rigFor({ kind: "bastion" });
    for (const destination of [
      `127.0.0.1:${port}`,
      `localhost:${port}`,
      `ssh://127.0.0.1:${port}`,
      `ssh://someone@127.0.0.1:${port}/with/a/path`,
      `127.0.0.1:${port}/path`,
    ]) {
      const client = await connect(url, { headers: { "Cf-Access-Jump-Destination": destination } });
      client.send(destination);
      expect(String((await once(client, "message"))[0])).toBe(destination);
      client.close();
    }
    await harness.outcome(5);
    expect(harness.outcomes.map((outcome) => outcome.class)).toEqual(["ok", "ok", "ok", "ok", "ok"]);
  });

  it("reaches IPv6", async () => {
    const server = cleanup.add(
      net.createServer((socket) => socket.end("six")),
      (each) => each.close(),
    );
    server.listen(0, "::1");
    await once(server, "listening");
    const { url } = await rigFor({ kind: "bastion" });
    const { closed, inbox } = await open(url, { headers: { "Cf-Access-Jump-Destination": `[::1]:${portOf(server)}` } });
    expect(await closed).toBe(1000);
    expect(inbox.bytes.toString()).toBe("six");
  });

  for (const destination of [
    "",
    "host",
    "host:",
    "host:0",
    "host:65536",
    "host:22x",
    ":22",
    "ssh://host/x:22",
    "::1:22",
    "a b:22",
  ]) {
    it(`refuses ${JSON.stringify(destination)}`, async () => {
      const { harness } = await rigFor({ kind: "bastion" });
      const stream = new FakeStream();
      harness.proxy.handle(
        webSocketRequest(stream, { headers: fieldsOf({ "cf-access-jump-destination": destination }) }),
        0,
      );
      expect(stream.aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: "bad-request", status: 502 });
      stream.give("x");
      expect(stream.credited).toBe(1);
    });
  }
});
