/** Back-pressure both ways, memory, cancelling, and the end of a proxy. */
import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { CancelReason, OutcomeClass } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest, tcpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, portOf, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** One turn of the loop in which sockets were polled. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

describe("a slow visitor", () => {
  it("holds the origin back, and gets every byte", async () => {
    const size = 30_000_000;
    const hash = createHash("sha256");
    let sent = 0;
    const origin = await cleanup.http((_, response) => {
      response.writeHead(200, { "Content-Length": size });
      const pump = (): void => {
        while (sent < size) {
          const chunk = Buffer.alloc(Math.min(50_000, size - sent), sent % 253);
          sent += chunk.length;
          hash.update(chunk);
          if (!response.write(chunk)) {
            response.once("drain", pump);
            return;
          }
        }
        response.end();
      };
      pump();
    });
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream({ bodyless: true, window: 100_000 });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.until(({ blocked }) => blocked);
    await turns(50);
    const received = stream.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    // One read beyond the window at most.
    expect(received).toBeLessThanOrEqual(100_000 + 2 * 65_536);
    // Loopback's socket buffers hold some megabytes; the origin stands long before the end.
    expect(sent).toBeLessThan(size);
    while (!stream.ended) {
      await stream.until(({ blocked, ended }) => blocked || ended);
      stream.drain();
    }
    expect(createHash("sha256").update(stream.body).digest("hex")).toBe(hash.digest("hex"));
  }, 30_000);

  it("leaves a connection that works for the next request", async () => {
    const origin = await cleanup.http((_, response) => response.end(Buffer.alloc(150_000, "x")));
    const harness = cleanup.harness(urlOrigin(origin));
    for (let i = 0; i < 3; i++) {
      const stream = new FakeStream({ bodyless: true, window: 1 });
      harness.proxy.handle(httpRequest(stream), 0);
      while (!stream.ended) {
        await stream.until(({ blocked, ended }) => blocked || ended);
        stream.drain();
      }
      expect(stream.body.length).toBe(150_000);
    }
  });
});

describe("a slow origin", () => {
  it("gives credit only for what its socket has taken, and loses nothing", async () => {
    const origin = await cleanup.raw(({ socket }) => void socket.pause());
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    const hash = createHash("sha256");
    const chunk = Buffer.alloc(16_384);
    // More than any socket buffer takes, with the window of 1 MiB that the transport would keep.
    const window = 1_048_576;
    let stalled = false;
    while (!stalled) {
      while (stream.given - stream.credited + chunk.length <= window) {
        chunk.writeUInt32LE(stream.given);
        hash.update(chunk);
        stream.give(chunk);
      }
      const before = stream.credited;
      await turns(20);
      stalled = stream.credited === before;
    }
    expect(stream.given - stream.credited).toBeGreaterThan(window / 2);
    const connection = await origin.connection();
    stream.giveEnd();
    connection.socket.resume();
    await connection.until(({ received }) => received.endsWith("\r\n0\r\n\r\n"));
    const body = dechunk(connection.received.slice(connection.received.indexOf("\r\n\r\n") + 4));
    expect(body.length).toBe(stream.given);
    expect(createHash("sha256").update(Buffer.from(body, "latin1")).digest("hex")).toBe(hash.digest("hex"));
    expect(stream.credited).toBe(stream.given);
  }, 30_000);

  it("costs no more memory for many tiny frames than for few large ones", async () => {
    const origin = await cleanup.raw(({ socket }) => void socket.pause());
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    await origin.connection();
    const fill = Buffer.alloc(65_536);
    let stalled = false;
    while (!stalled) {
      const before = stream.credited;
      stream.give(fill);
      await turns(5);
      stalled = stream.credited === before;
    }
    const { arrayBuffers } = process.memoryUsage();
    for (let i = 0; i < 20_000; i++) {
      stream.give("x");
      if (i % 1_000 === 0) await turns(1);
    }
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(8_000_000);
    stream.cancel();
    expect(stream.credited).toBe(stream.given);
  });
});

function dechunk(text: string): string {
  const parts: string[] = [];
  let at = 0;
  for (;;) {
    const end = text.indexOf("\r\n", at);
    const line = text.slice(at, end);
    expect(line).toMatch(/^(0|[1-9a-f][0-9a-f]*)$/);
    const size = Number.parseInt(line, 16);
    if (size === 0) return parts.join("");
    parts.push(text.slice(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

describe("chunks of the origin", () => {
  it("are sent on at once, each turn's together", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    await stream.until(({ head }) => head !== undefined);
    for (const event of ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]) {
      connection.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      await stream.until(({ body }) => body.toString().endsWith(event));
    }
    expect(stream.chunks.map(String)).toEqual(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]);
    connection.write(`${"1\r\na\r\n".repeat(500)}0\r\n\r\n`);
    await stream.done();
    expect(stream.body.toString().slice(27)).toBe("a".repeat(500));
    // Far fewer writes than chunks: those that arrive together leave together.
    expect(stream.chunks.length).toBeLessThan(50);
  });
});

describe("cancelling", () => {
  const REASONS: readonly [CancelReason, OutcomeClass][] = [
    ["client-abort", "client-abort"],
    ["edge-lost", "edge-lost"],
    ["memory-limit", "memory-limit"],
    ["protocol-error", "bad-request"],
    ["shutdown", "shutdown"],
  ];
  for (const [reason, outcome] of REASONS) {
    it(`reaches the origin at once (${reason})`, async () => {
      const origin = await cleanup.raw();
      const harness = cleanup.harness(urlOrigin(origin.server));
      const stream = new FakeStream();
      harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
      stream.give("abc");
      const connection = await origin.connection();
      await connection.head();
      stream.cancel(reason);
      await connection.until(({ closed, ended }) => closed || ended);
      expect(await harness.outcome()).toMatchObject({ class: outcome, status: 0 });
      expect(stream.aborted).toBe(false);
      expect(stream.credited).toBe(stream.given);
      expect(harness.proxy.activeRequests).toBe(0);
    });
  }

  it("in the middle of a response body counts the status that was sent", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write("HTTP/1.1 206 Part\r\nContent-Length: 10\r\n\r\nabc"));
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.until(({ chunks }) => chunks.length > 0);
    stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "response-body", status: 206 });
    expect(harness.logs).toMatchObject([{ level: "debug" }]);
  });

  it("while the connection is being opened leaves nothing behind", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "connect" });
    await harness.proxy.close();
  });
});

describe("closing a proxy", () => {
  it("cancels what is left, ends idle connections and refuses what comes later", async () => {
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("data", () => {
        if (connection.received.includes("GET /idle")) connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      });
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const idle = new FakeStream({ bodyless: true });
    const waiting = new FakeStream({ bodyless: true });
    const socket = new FakeStream();
    const raw = new FakeStream();
    harness.proxy.handle(httpRequest(waiting, { path: "/waiting" }), 0);
    harness.proxy.handle(webSocketRequest(socket, { headers: fieldsOf({ "sec-websocket-key": "x" }) }), 0);
    harness.proxy.handle(tcpRequest(raw, `127.0.0.1:${portOf(origin.server)}`), 0);
    harness.proxy.handle(httpRequest(idle, { path: "/idle" }), 0);
    await idle.done();
    await raw.until(({ head }) => head !== undefined);
    expect(harness.proxy.activeRequests).toBe(3);
    await harness.proxy.close();
    expect(harness.proxy.activeRequests).toBe(0);
    expect([waiting.aborted, socket.aborted, raw.aborted]).toEqual([true, true, true]);
    expect(harness.outcomes.map((outcome) => outcome.class).sort()).toEqual(["ok", "shutdown", "shutdown", "shutdown"]);
    await Promise.all(origin.connections.map((each) => each.until(({ ended, closed }) => ended || closed)));
    const late = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(late), 0);
    expect(late.aborted).toBe(true);
    expect(await harness.outcome(5)).toMatchObject({ class: "shutdown" });
    await harness.proxy.close();
  });
});
