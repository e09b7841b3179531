import { afterEach, describe, expect, it } from "vitest";
import { FakeStream, tcpRequest } from "./fake-stream.ts";
import { Cleanup, portOf } from "./harness.ts";

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
    const origin = await cleanup.raw();
    const destination = `127.0.0.1:${portOf(origin.server)}`;
    await new Promise((resolve) => origin.server.close(resolve));
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
