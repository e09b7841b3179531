/** Flow control by the design's rule: windows of streams follow their consumers, the connection's follows arrival, one budget bounds it all. */
import { describe, expect, it } from "vitest";
import { createMemoryBudget } from "../../../src/protocol/memory-budget/budget.ts";
import type { Http2Stream } from "../../../src/protocol/http2/types.ts";
import { createPair, get, type Pair, post, recorder } from "./pair.ts";

const MiB = 1024 * 1024;

/** Sends `bytes` on a stream as fast as the windows allow, for as long as the pair is settled. */
function upload(pair: Pair, bytes: number, path = "/stall"): { stream: Http2Stream; sent: () => number } {
  const chunk = Buffer.alloc(64 * 1024, 1);
  let left = bytes;
  const { handler } = recorder();
  const go = (): void => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(chunk.length, left));
      left -= part.length;
      if (stream?.write(part, left === 0) !== true) return;
    }
  };
  const stream = pair.client.request(post(path, bytes), false, { ...handler, onWritable: go });
  if (stream === undefined) throw new Error("no stream");
  go();
  return { stream, sent: () => bytes - left };
}

describe("stalled streams", () => {
  it("let a ninth upload of 10 MB and 100 GETs through while eight stay unread", () => {
    const pair = createPair({
      onRequest: ({ stream, received }) => {
        if (received.head?.path === "/stall") return;
        const { handler } = stream;
        stream.handler = {
          ...handler,
          onData: (chunk) => {
            handler.onData(chunk);
            stream.consumed(chunk.length);
          },
          onEnd: (trailers) => {
            handler.onEnd(trailers);
            answer();
          },
        };
        const answer = (): void => {
          stream.headers((encoder) => encoder.status(200), false);
          stream.write(Buffer.from("done"), true);
        };
        if (stream.remoteEnded) answer();
      },
    });
    for (let i = 0; i < 8; i++) upload(pair, 20 * MiB);
    pair.settle();
    expect(pair.served.map((entry) => entry.received.bytes)).toEqual(Array.from({ length: 8 }, () => MiB));
    upload(pair, 10_000_000, "/read");
    pair.settle();
    expect(pair.served[8]?.received).toMatchObject({ bytes: 10_000_000, ended: true });
    const answers = Array.from({ length: 100 }, () => {
      const { received, handler } = recorder();
      pair.client.request(get("/quick"), true, handler);
      return received;
    });
    pair.settle();
    for (const received of answers) expect(received).toMatchObject({ status: 200, bytes: 4, ended: true });
    expect(pair.served.slice(0, 8).map((entry) => entry.received.bytes)).toEqual(Array.from({ length: 8 }, () => MiB));
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("hold no more than the budget, shrink new windows from half of it on, and cost the most silent one its stream", () => {
    const budget = createMemoryBudget(32 * MiB);
    const pair = createPair({ server: { budget } });
    for (let i = 0; i < 200; i++) {
      upload(pair, 20 * MiB);
      pair.settle();
      expect(budget.held).toBeLessThanOrEqual(budget.limit);
    }
    const bytes = pair.served.map((entry) => entry.received.bytes);
    expect(bytes[0]).toBe(MiB);
    expect(bytes.at(-1)).toBe(64 * 1024);
    // 17 streams with full windows, 183 with 64 KiB: below the cap.
    expect(pair.served.filter((entry) => entry.received.cancel !== undefined)).toHaveLength(0);
    for (let i = 0; i < 200; i++) upload(pair, 20 * MiB);
    pair.settle();
    expect(budget.held).toBeLessThanOrEqual(budget.limit);
    const evicted = pair.served.filter((entry) => entry.received.cancel?.kind === "memory-limit");
    expect(evicted.length).toBeGreaterThan(0);
    // Oldest first, and the rest lives on.
    expect(evicted).toEqual(pair.served.slice(0, evicted.length));
    const { received, handler } = recorder();
    pair.client.request(get("/"), true, handler);
    pair.settle();
    const last = pair.served.at(-1)?.stream;
    last?.headers((encoder) => encoder.status(204), true);
    pair.settle();
    expect(received).toMatchObject({ status: 204, ended: true });
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("get their windows back when memory is free again", () => {
    const budget = createMemoryBudget(4 * MiB);
    const pair = createPair({ server: { budget } });
    const uploads = Array.from({ length: 3 }, () => upload(pair, 3 * MiB));
    pair.settle();
    expect(budget.pressed).toBe(true);
    for (let round = 0; round < 200 && uploads.some((one) => one.sent() < 3 * MiB); round++) {
      for (const { stream, received } of pair.served) {
        stream.consumed(received.bytes);
        received.bytes = 0;
      }
      pair.settle();
    }
    for (const { stream, received } of pair.served) {
      stream.consumed(received.bytes);
      expect(received.ended).toBe(true);
    }
    expect({ held: budget.held, pressed: budget.pressed }).toEqual({ held: 0, pressed: false });
    pair.settle();
    upload(pair, 3 * MiB);
    pair.settle();
    expect(pair.served.at(-1)?.received.bytes).toBe(MiB);
    expect(pair.errors).toEqual({ client: [], server: [] });
  });
});

describe("answers", () => {
  it("wait for the peer's windows, take turns, and keep their bytes in order", () => {
    const pair = createPair({ client: { initialWindowSize: 100_000, connectionWindowSize: 150_000 } });
    const answers = ["/a", "/b", "/c"].map((path) => {
      const { received, handler } = recorder();
      const stream = pair.client.request(get(path), true, handler);
      return { received, stream };
    });
    pair.settle();
    const body = Buffer.from(Array.from({ length: 400_000 }, (_, i) => i % 251));
    for (const { stream } of pair.served) {
      stream.headers((encoder) => encoder.status(200), false);
      expect(stream.write(body, false)).toBe(false);
      stream.end();
    }
    pair.settle();
    let taken = 0;
    for (let round = 0; round < 1000 && answers.some(({ received }) => !received.ended); round++) {
      for (const { stream, received } of answers) {
        const ready = received.bytes - (read.get(received) ?? 0);
        read.set(received, received.bytes);
        taken += ready;
        stream?.consumed(ready);
      }
      pair.settle();
    }
    expect(taken).toBeGreaterThan(0);
    for (const { received } of answers) expect(Buffer.concat(received.chunks).equals(body)).toBe(true);
    expect(pair.errors).toEqual({ client: [], server: [] });
  });
  const read = new Map<object, number>();

  it("end with trailers behind what is queued", () => {
    const pair = createPair({ client: { initialWindowSize: 10 } });
    const { received, handler } = recorder();
    const stream = pair.client.request(get("/"), true, handler);
    pair.settle();
    const served = pair.served[0]?.stream;
    served?.headers((encoder) => encoder.status(200), false);
    served?.write(Buffer.from("twenty bytes of body"), false);
    served?.end([{ name: "Grpc-Status", value: "0", kind: 0, line: undefined, pair: undefined }]);
    for (let i = 0; i < 5; i++) {
      pair.settle();
      stream?.consumed(10);
    }
    expect(received).toMatchObject({ bytes: 20, ended: true, trailers: [["grpc-status", "0"]] });
  });
});
