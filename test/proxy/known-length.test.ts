/** disableChunkedEncoding: every request has a length. */
import { afterEach, describe, expect, it } from "vitest";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import { MAX_KEPT_BODY_BYTES } from "../../src/proxy/known-length.ts";
import { FakeStream, httpRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Seen {
  readonly framing: (string | undefined)[];
  readonly body: Buffer;
}

async function rig(): Promise<{ harness: Harness; seen: Seen[] }> {
  const seen: Seen[] = [];
  const origin = await cleanup.http((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { "content-length": length, "transfer-encoding": encoding } = request.headers;
      seen.push({ framing: [length, encoding], body: Buffer.concat(chunks) });
      response.end("ok");
    });
  });
  return { harness: cleanup.harness(urlOrigin(origin), { disableChunkedEncoding: true }), seen };
}

function send(harness: Harness, stream: FakeStream, contentLength?: number): void {
  const length = contentLength === undefined ? {} : { contentLength };
  harness.proxy.handle(httpRequest(stream, { method: "POST", ...length }), 0);
}

describe("disableChunkedEncoding", () => {
  it("gives a body its length, larger than any window, and its credit at once", async () => {
    const { harness, seen } = await rig();
    const stream = new FakeStream();
    send(harness, stream);
    const body = Buffer.alloc(MAX_KEPT_BODY_BYTES);
    for (let at = 0; at < body.length; at++) body[at] = (at * 31) % 251;
    for (let at = 0; at < body.length; at += 10_007) stream.give(body.subarray(at, at + 10_007));
    expect(stream.credited).toBe(body.length);
    // Nothing is sent before the end is known.
    expect(seen).toEqual([]);
    stream.giveEnd([new HeaderField("x-trailer", "has no place")]);
    await stream.done();
    expect(seen[0]?.framing).toEqual([String(body.length), undefined]);
    expect(seen[0]?.body.equals(body)).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 200 });
    expect(stream.credited).toBe(stream.given);
  });

  it("gives an empty one the length 0", async () => {
    const { harness, seen } = await rig();
    const stream = new FakeStream();
    send(harness, stream);
    stream.giveEnd();
    await stream.done();
    expect(seen[0]?.framing).toEqual(["0", undefined]);
  });

  it("passes on at once what has a length", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server), { disableChunkedEncoding: true });
    const stream = new FakeStream();
    send(harness, stream, 100);
    stream.give("beginning");
    const connection = await origin.connection();
    await connection.until(({ received }) => received.endsWith("\r\n\r\nbeginning"));
    expect(connection.received).toContain("\r\nContent-Length: 100\r\n");
  });

  it("answers 411 to one that is longer than what is kept", async () => {
    const { harness, seen } = await rig();
    const stream = new FakeStream();
    send(harness, stream);
    const chunk = Buffer.alloc(1024 * 1024);
    for (let at = 0; at <= MAX_KEPT_BODY_BYTES; at += chunk.length) stream.give(chunk);
    expect(stream.head).toMatchObject({ status: 411, source: "origin" });
    stream.give("and more");
    stream.giveEnd();
    expect(stream.credited).toBe(stream.given);
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "bad-request", phase: "request", status: 411 });
    expect(outcome.error?.message).toMatch(/disableChunkedEncoding/);
    expect(seen).toEqual([]);
  });

  it("keeps no more of all requests than its limit, and forgets those that leave", async () => {
    const { harness, seen } = await rig();
    const chunk = Buffer.alloc(MAX_KEPT_BODY_BYTES);
    const open = (): FakeStream => {
      const stream = new FakeStream();
      send(harness, stream);
      stream.give(chunk);
      return stream;
    };
    const streams = Array.from({ length: 16 }, open);
    const tooMany = open();
    expect(tooMany.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "memory-limit", phase: "request", status: 502 });
    for (const stream of streams) stream.cancel();
    expect(await harness.outcome(17)).toMatchObject({ class: "client-abort", phase: "request" });
    const again = open();
    again.giveEnd();
    await again.done();
    expect(again.head?.status).toBe(200);
    expect(seen).toHaveLength(1);
  });

  it("is over with the visitor, and with the proxy, at any time", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server), { disableChunkedEncoding: true });
    const [sent, kept] = [new FakeStream(), new FakeStream()];
    send(harness, sent);
    sent.give("whole");
    sent.giveEnd();
    const connection = await origin.connection();
    await connection.until(({ received }) => received.endsWith("whole"));
    sent.cancel();
    await connection.until(({ closed, ended }) => closed || ended);
    send(harness, kept);
    kept.give("half");
    await harness.proxy.close();
    expect(kept.aborted).toBe(true);
    expect(harness.outcomes.map((outcome) => outcome.class)).toEqual(["client-abort", "shutdown"]);
  });

  it("waits for a slow origin without holding more of the body twice than a window", async () => {
    const origin = await cleanup.raw((connection) => connection.socket.pause());
    const harness = cleanup.harness(urlOrigin(origin.server), { disableChunkedEncoding: true });
    const stream = new FakeStream();
    send(harness, stream);
    stream.give(Buffer.alloc(MAX_KEPT_BODY_BYTES, "z"));
    stream.giveEnd();
    const connection = await origin.connection();
    connection.socket.resume();
    await connection.until(({ received }) => received.length > MAX_KEPT_BODY_BYTES);
    connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    await stream.done();
    expect(stream.head?.status).toBe(204);
  });
});
