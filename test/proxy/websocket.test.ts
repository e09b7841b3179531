/** WebSockets through the splice, with ws as the independent peer on both sides: the client over a Duplex on the fake stream. */
import { once } from "node:events";
import http from "node:http";
import { Duplex } from "node:stream";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import { FakeStream, fieldsOf, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, listen, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE = fieldsOf({ "sec-websocket-key": KEY, "sec-websocket-version": "8", "sec-websocket-protocol": "chat" });
const SWITCHED = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

async function webSocketOrigin(onSocket: (socket: WebSocket) => void): Promise<http.Server> {
  const server = cleanup.add(await listen(http.createServer()), (each) => {
    each.closeAllConnections();
    each.close();
  });
  const sockets = new WebSocketServer({ server });
  cleanup.add(sockets, (each) => {
    for (const client of each.clients) client.terminate();
  });
  sockets.on("connection", onSocket);
  return server;
}

/** What a ws client needs of a socket, over the fake stream: the head goes to the client as HTTP/1.1, as the edge would write it. */
class StreamSocket extends Duplex {
  readonly #stream: FakeStream;
  #sent = 0;

  constructor(stream: FakeStream) {
    super();
    this.#stream = stream;
    void this.#pump();
  }

  setNoDelay(): void {}
  setTimeout(): void {}

  async #pump(): Promise<void> {
    const stream = this.#stream;
    await stream.until(({ head, aborted }) => head !== undefined || aborted);
    const lines = (stream.head?.headers ?? []).map(({ name, value }: HeaderField) => `${name}: ${value}\r\n`);
    this.push(Buffer.from(`HTTP/1.1 ${stream.head?.status} X\r\n${lines.join("")}\r\n`, "latin1"));
    for (;;) {
      while (this.#sent < stream.chunks.length) this.push(stream.chunks[this.#sent++]);
      if (stream.aborted) {
        this.destroy();
        return;
      }
      if (stream.ended) {
        this.push(null);
        return;
      }
      await stream.until(({ chunks, ended, aborted }) => ended || aborted || chunks.length > this.#sent);
    }
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    // The client's own request head is the edge's business.
    if (!chunk.toString("latin1").startsWith("GET ")) this.#stream.give(chunk);
    callback();
  }

  override _final(callback: () => void): void {
    this.#stream.giveEnd();
    callback();
  }
}

/** A ws client whose handshake goes through the proxy. */
function connectClient(harness: Harness): { client: WebSocket; stream: FakeStream } {
  const stream = new FakeStream();
  const client = new WebSocket("ws://app.example.com/chat", {
    createConnection: () => {
      const socket = new StreamSocket(stream);
      setImmediate(() => socket.emit("connect"));
      return socket;
    },
    perMessageDeflate: false,
    finishRequest: (request) => {
      const headers = fieldsOf({
        "sec-websocket-key": String(request.getHeader("sec-websocket-key")),
        "sec-websocket-version": "13",
      });
      request.end();
      harness.proxy.handle(webSocketRequest(stream, { path: "/chat", headers }), 0);
    },
  });
  client.on("error", () => {});
  return { client, stream };
}

describe("a WebSocket", () => {
  it("carries messages of every size both ways, and ends as the peers end it", async () => {
    const origin = await webSocketOrigin((socket) => {
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    const harness = cleanup.harness(urlOrigin(origin));
    const { client, stream } = connectClient(harness);
    await once(client, "open");
    expect(stream.head?.status).toBe(101);
    for (const size of [0, 1, 125, 126, 4_096, 65_535, 65_536, 300_000]) {
      const message = Buffer.alloc(size, size % 251);
      client.send(message);
      const [reply]: unknown[] = await once(client, "message");
      expect(Buffer.isBuffer(reply) && message.equals(reply)).toBe(true);
    }
    client.close(4_001, "bye");
    const [code, reason]: unknown[] = await once(client, "close");
    expect(code).toBe(4_001);
    expect(String(reason)).toBe("bye");
    expect(await harness.outcome()).toMatchObject({ class: "ok", kind: "websocket", status: 101 });
    expect(stream.credited).toBe(stream.given);
    expect(harness.proxy.activeRequests).toBe(0);
  });

  it("asks the origin as a client of HTTP/1.1 would", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    harness.proxy.handle(webSocketRequest(new FakeStream(), { path: "/chat?x=1", headers: UPGRADE }), 0);
    const head = await (await origin.connection()).head();
    expect(head.split("\r\n")).toEqual([
      "GET /chat?x=1 HTTP/1.1",
      "Host: app.example.com",
      `Sec-Websocket-Key: ${KEY}`,
      "Sec-Websocket-Protocol: chat",
      "Cf-Warp-Tag-Id: 0a1b2c3d-0000-4000-8000-000000000001",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-Websocket-Version: 13",
      "",
      "",
    ]);
  });

  it("keeps bytes that the origin glued to its 101, and bytes that the visitor sent before it", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
    stream.give("early");
    const connection = await origin.connection();
    await connection.head();
    expect(connection.received).not.toContain("early");
    connection.write(`${SWITCHED}glued`);
    await stream.until(({ chunks }) => chunks.length > 0);
    expect(stream.body.toString()).toBe("glued");
    expect(stream.fields).toContain(`Sec-WebSocket-Accept: ${ACCEPT}`);
    await connection.until(({ received }) => received.endsWith("\r\n\r\nearly"));
  });

  it("gives an answer that is no 101 back as it is, and the connection serves the next request", async () => {
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("data", () =>
        connection.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 3\r\n\r\nold"),
      );
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    for (let i = 1; i <= 2; i++) {
      const stream = new FakeStream();
      harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
      stream.give("frames for nobody");
      await stream.done();
      expect(stream.head).toMatchObject({ status: 426, contentLength: 3, source: "origin" });
      expect(stream.body.toString()).toBe("old");
      expect(stream.credited).toBe(stream.given);
      expect(await harness.outcome(i)).toMatchObject({ class: "ok", status: 426 });
    }
    expect(origin.connections).toHaveLength(1);
    expect((await origin.connection()).received).not.toContain("frames");
  });

  it("lets the origin answer after the visitor has finished", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.write(SWITCHED);
    await stream.until(({ head }) => head !== undefined);
    stream.give("question");
    stream.giveEnd();
    await connection.until(({ ended }) => ended);
    expect(connection.received.endsWith("question")).toBe(true);
    expect(stream.ended).toBe(false);
    connection.socket.end("answer");
    await stream.done();
    expect(stream.body.toString()).toBe("answer");
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
  });

  it("lets the visitor go on after the origin has finished", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.socket.end(`${SWITCHED}all`);
    await stream.done();
    expect(stream.body.toString()).toBe("all");
    stream.give("still here");
    await connection.until(({ received }) => received.endsWith("still here"));
    expect(harness.outcomes).toHaveLength(0);
    stream.giveEnd();
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
    await connection.until(({ ended }) => ended);
  });

  it("does not wait for ever for an origin after the visitor has finished", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write(SWITCHED));
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
      await stream.until(({ head }) => head !== undefined);
      stream.giveEnd();
      await (await origin.connection()).until(({ ended }) => ended);
      vi.advanceTimersByTime(240_000);
      expect(stream.aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: "origin-timeout", phase: "splice", status: 101 });
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("is broken off when the origin breaks it off", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.write(SWITCHED);
    await stream.until(({ head }) => head !== undefined);
    connection.socket.resetAndDestroy();
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "origin-reset", phase: "splice", status: 101 });
  });

  it("is ended at the origin when the visitor goes away", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: UPGRADE }), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.write(SWITCHED);
    await stream.until(({ head }) => head !== undefined);
    stream.cancel();
    await connection.until(({ closed, ended }) => closed || ended);
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "splice" });
  });
});
