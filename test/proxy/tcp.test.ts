import { afterEach, describe, expect, it, vi } from "vitest";
import { FakeStream, tcpRequest } from "./fake-stream.ts";
import { Cleanup, portOf } from "./harness.ts";
import { closedPort } from "../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const NO_HTTP = { kind: "status", status: 503 } as const;

describe("a TCP stream", () => {
  it("is acknowledged with an empty 200 by the origin's side, and carries bytes both ways", async () => {
    const origin = await cleanup.raw((connection) => connection.socket.on("data", (chunk) => connection.write(chunk)));
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream();
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 1);
    // Sent along with the request, before there is a connection.
    stream.give("ping");
    await stream.until(({ body }) => body.toString() === "ping");
    expect(stream.head).toEqual({ status: 200, headers: [], contentLength: undefined, source: "origin" });
    const bulk = Buffer.alloc(500_000, "b");
    stream.give(bulk);
    await stream.until(({ body }) => body.length === bulk.length + 4);
    stream.giveEnd();
    const connection = await origin.connection();
    await connection.until(({ ended }) => ended);
    connection.socket.end("bye");
    await stream.done();
    expect(stream.body.subarray(-3).toString()).toBe("bye");
    expect(await harness.outcome()).toMatchObject({ class: "ok", kind: "tcp", status: 200, connIndex: 1 });
    expect(stream.credited).toBe(stream.given);
    expect(harness.logs).toMatchObject([{ fields: { originService: "warp-routing" } }]);
  });

  it("delivers the whole reply to a visitor that has finished speaking", async () => {
    const reply = Buffer.alloc(300_000, "r");
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("end", () => connection.socket.end(reply));
    });
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream();
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 0);
    stream.give("request");
    stream.giveEnd();
    await stream.done();
    expect(stream.body.equals(reply)).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
  });

  it("that comes half-closed still gets its reply", async () => {
    const origin = await cleanup.raw((connection) =>
      connection.socket.on("end", () => connection.socket.end("banner")),
    );
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 0);
    await stream.done();
    expect(stream.body.toString()).toBe("banner");
  });

  it("tells a visitor that goes on sending to an origin that is gone", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream();
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 0);
    const connection = await origin.connection();
    connection.socket.end("last words");
    await stream.until(({ ended }) => ended);
    expect(stream.body.toString()).toBe("last words");
    connection.socket.resetAndDestroy();
    // What is sent first may still find the connection open; sooner or later the reset is known.
    while (!stream.aborted) {
      stream.give("hello?");
      await new Promise(setImmediate);
    }
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
    expect(stream.credited).toBe(stream.given);
  });

  for (const destination of [
    "localhost:80",
    "example.com:443",
    "",
    "127.0.0.1",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:80x",
    "127.0.0.300:80",
    "::1:80",
    "[127.0.0.1]:80",
    "[::1]",
    "[::1%lo]:80",
    "127.0.0.1:80\r\n",
  ]) {
    it(`is refused for ${JSON.stringify(destination)}`, async () => {
      const harness = cleanup.harness(NO_HTTP);
      const stream = new FakeStream();
      harness.proxy.handle(tcpRequest(stream, destination), 0);
      expect(stream.aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: "bad-request", status: 502 });
      // The edge may still have sent something.
      stream.give("x");
      expect(stream.credited).toBe(1);
    });
  }

  it("is refused when nothing listens", async () => {
    const destination = `127.0.0.1:${await closedPort()}`;
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream();
    harness.proxy.handle(tcpRequest(stream, destination), 0);
    stream.give("x");
    await stream.done();
    expect(stream.head).toBeUndefined();
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
    expect(stream.credited).toBe(1);
  });

  it("is ended at the origin when the edge cancels it", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(NO_HTTP);
    const stream = new FakeStream();
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 0);
    const connection = await origin.connection();
    await stream.until(({ head }) => head !== undefined);
    stream.cancel("edge-lost");
    await connection.until(({ closed, ended }) => closed || ended);
    expect(await harness.outcome()).toMatchObject({ class: "edge-lost", phase: "splice" });
  });
});

describe("a TCP stream of which one side has ended", () => {
  const MINUTE = 60_000;
  afterEach(() => vi.useRealTimers());

  async function open(idleTimeoutMs = 0) {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(NO_HTTP, { idleTimeoutMs });
    const stream = new FakeStream();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    harness.proxy.handle(tcpRequest(stream, `127.0.0.1:${portOf(origin.server)}`), 0);
    await stream.until(({ head }) => head !== undefined);
    return { stream, harness, connection: await origin.connection() };
  }

  it("waits four minutes for an origin that is silent", async () => {
    const { connection, harness, stream } = await open();
    vi.advanceTimersByTime(60 * MINUTE);
    stream.give("question");
    stream.giveEnd();
    await connection.until(({ ended }) => ended);
    vi.advanceTimersByTime(3 * MINUTE);
    connection.write("so far");
    await stream.until(({ body }) => body.length === 6);
    vi.advanceTimersByTime(4 * MINUTE - 1);
    expect(stream.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(stream.aborted).toBe(true);
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "origin-timeout", phase: "splice" });
    expect(outcome.error?.message).toMatch(/has said nothing for 240000 ms since the visitor's end/);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("waits as long for a visitor, whose stream is reset then", async () => {
    const { connection, harness, stream } = await open();
    connection.socket.end("answer");
    await stream.until(({ ended }) => ended);
    vi.advanceTimersByTime(3 * MINUTE);
    stream.give("more");
    await connection.until(({ received }) => received === "more");
    vi.advanceTimersByTime(4 * MINUTE - 1);
    expect(stream.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(stream.aborted).toBe(true);
    expect(stream.body.toString()).toBe("answer");
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
    await connection.until(({ ended, closed }) => ended || closed);
    expect(stream.credited).toBe(stream.given);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leaves no timer behind when the other ends too, or goes away", async () => {
    for (const goes of [false, true]) {
      const { connection, harness, stream } = await open();
      stream.giveEnd();
      await connection.until(({ ended }) => ended);
      expect(vi.getTimerCount()).toBe(1);
      if (goes) stream.cancel();
      else connection.socket.end();
      expect(await harness.outcome()).toMatchObject({ class: goes ? "client-abort" : "ok" });
      expect(vi.getTimerCount()).toBe(0);
      vi.useRealTimers();
    }
  });
});
