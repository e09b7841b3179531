/** One budget for all connections of a tunnel: what streams hold stays under it, and the silent ones pay. */
import { describe, expect, it } from "vitest";
import { createMemoryBudget } from "../../../src/protocol/memory-budget/budget.ts";
import type { Http2Stream } from "../../../src/protocol/http2/types.ts";
import { createPair, get, type Pair, post, recorder } from "./pair.ts";
import { frame, PREFACE, rawServer, SETTINGS_ACK, POST, Type, uint32 } from "./raw.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Sends as fast as the windows allow. */
function upload(pair: Pair, bytes: number, path = "/stall", chunkSize = 64 * KIB): Http2Stream {
  const chunk = Buffer.alloc(chunkSize, 1);
  let left = bytes;
  const go = (): void => {
    while (left > 0 && stream !== undefined) {
      const part = chunk.subarray(0, Math.min(chunk.length, left));
      left -= part.length;
      if (!stream.write(part, left === 0)) return;
    }
  };
  const stream = pair.client.request(post(path), false, { ...recorder().handler, onWritable: go });
  if (stream === undefined) throw new Error("no stream");
  go();
  return stream;
}

/** Serves /quick, reads /read as it comes, and never reads /stall. */
function serve(stream: Http2Stream, path: string): void {
  if (path === "/stall") return;
  const { handler } = stream;
  stream.handler = {
    ...handler,
    onData: (chunk) => {
      handler.onData(chunk);
      stream.consumed(chunk.length);
    },
    onEnd: (trailers) => {
      handler.onEnd(trailers);
      stream.headers((encoder) => encoder.status(200), true);
    },
  };
  if (path === "/quick") stream.headers((encoder) => encoder.status(200), true);
}

function tunnel(connections: number, limit: number) {
  const budget = createMemoryBudget(limit);
  const pairs = Array.from({ length: connections }, () =>
    createPair({
      server: { budget },
      client: { budget: createMemoryBudget(1024 * MIB) },
      onRequest: ({ stream, received }) => serve(stream, received.head?.path ?? ""),
    }),
  );
  const settle = (): void => {
    for (let round = 0; round < 4; round++) for (const pair of pairs) pair.settle();
  };
  return { budget, pairs, settle };
}

function quick(pair: Pair): boolean {
  const { received, handler } = recorder();
  pair.client.request(get("/quick"), true, handler);
  pair.settle();
  return received.status === 200 && received.ended;
}

describe("300 stalled uploads on four connections", () => {
  it("stay under the cap of 256 MiB, and new requests and uploads still work", () => {
    const { budget, pairs, settle } = tunnel(4, 256 * MIB);
    let peak = 0;
    for (let i = 0; i < 300; i++) {
      const pair = pairs[i % 4] as Pair;
      // What a pair received is not kept: the test would need the memory itself.
      upload(pair, 20 * MIB);
      pair.settle();
      for (const { received } of pair.served) received.chunks.length = 0;
      peak = Math.max(peak, budget.held);
      if (i % 50 === 0) expect(quick(pair)).toBe(true);
    }
    settle();
    expect(peak).toBeLessThan(budget.limit);
    // 128 full windows of 1 MiB, then 64 KiB each; nobody had to be evicted.
    expect(budget.pressed).toBe(true);
    expect(budget.held).toBeLessThan(145 * MIB);
    for (const pair of pairs) {
      expect(pair.served.every(({ received }) => received.cancel === undefined)).toBe(true);
      expect(quick(pair)).toBe(true);
    }
    const [pair] = pairs as [Pair];
    upload(pair, 10_000_000, "/read");
    pair.settle();
    expect(pair.served.at(-1)?.received).toMatchObject({ bytes: 10_000_000, ended: true });
    expect(pairs.flatMap((one) => [...one.errors.client, ...one.errors.server])).toEqual([]);
  });
});

describe("at the cap", () => {
  it("the stream that was silent longest is reset, on whatever connection it is", () => {
    const { budget, pairs, settle } = tunnel(2, 2 * MIB);
    const [one, two] = pairs as [Pair, Pair];
    upload(one, 20 * MIB);
    settle();
    upload(two, 20 * MIB);
    settle();
    // The first takes a little: now the second is the silent one.
    one.served[0]?.stream.consumed(1);
    for (let i = 0; budget.held <= budget.limit - 64 * KIB && i < 100; i++) {
      upload(one, 20 * MIB);
      settle();
    }
    expect(two.served[0]?.received.cancel).toBe(undefined);
    upload(one, 20 * MIB);
    settle();
    expect(two.served[0]?.received.cancel).toEqual({ kind: "memory-limit" });
    expect(one.served.every(({ received }) => received.cancel === undefined)).toBe(true);
    expect(budget.held).toBeLessThanOrEqual(budget.limit);
    expect(quick(two)).toBe(true);
  });

  it("1-byte frames count for what they cost their consumer", () => {
    const server = rawServer({ budget: createMemoryBudget(8 * MIB) });
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const tiny = Buffer.concat(Array.from({ length: 5_000 }, () => frame(Type.DATA, 0, 1, "00")));
    let sent = 0;
    while (server.cancelled.length === 0 && sent < 1_000_000) {
      server.send(tiny);
      sent += 5_000;
    }
    expect(sent).toBeLessThan(100_000);
    expect(server.errors).toEqual([]);
  });

  it("1-byte frames that are taken at once cost nothing", () => {
    const budget = createMemoryBudget(MIB);
    const server = rawServer({ budget });
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const [stream] = server.streams;
    if (stream === undefined) throw new Error("no stream");
    stream.handler = { ...stream.handler, onData: (chunk) => stream.consumed(chunk.length) };
    for (let i = 0; i < 200_000; i++) server.send(frame(Type.DATA, 0, 1, "00"));
    expect({ held: budget.held, errors: server.errors, closed: stream.closed }).toEqual({
      held: 0,
      errors: [],
      closed: false,
    });
  });

  it("answers that nobody takes count too", () => {
    const budget = createMemoryBudget(4 * MIB);
    const server = rawServer({ budget });
    const chunk = Buffer.alloc(64 * KIB);
    for (let id = 1; id < 400; id += 2) {
      server.send(frame(Type.HEADERS, 5, id, Buffer.from("828487410161", "hex")));
      const stream = server.streams.at(-1);
      stream?.headers((encoder) => encoder.status(200), false);
      stream?.write(chunk, false);
    }
    expect(budget.held).toBeLessThanOrEqual(budget.limit);
    // The first one had the whole window of the connection, 65,535 bytes; the next ones waited longest.
    expect(server.cancelled.length).toBeGreaterThan(100);
    expect(server.cancelled[0]?.id).toBe(1);
  });
});

/** Slices at the ends of reads count a little more than their bytes. */
function expectAbout(held: number, bytes: number): void {
  expect(held).toBeGreaterThanOrEqual(bytes);
  expect(held).toBeLessThan(bytes + 8 * KIB);
}

describe("the windows", () => {
  it("give back what a stream holds when it is broken off and its consumer lets go", () => {
    const { budget, pairs, settle } = tunnel(1, 8 * MIB);
    const [pair] = pairs as [Pair];
    const client = upload(pair, 20 * MIB);
    settle();
    const { held } = budget;
    expectAbout(held, MIB);
    client.reset(8);
    settle();
    const served = pair.served[0]?.stream;
    // Not before: its consumer may still have the bytes.
    expect({ held: budget.held, active: pair.server.activeStreams }).toEqual({ held, active: 1 });
    served?.consumed(100_000);
    expectAbout(budget.held, MIB - 100_000);
    served?.release();
    expect({ held: budget.held, active: pair.server.activeStreams }).toEqual({ held: 0, active: 0 });
    served?.consumed(MIB);
    expect(budget.held).toBe(0);
  });

  it("settle what a consumer takes after the stream has ended in peace", () => {
    const { budget, pairs, settle } = tunnel(1, 8 * MIB);
    const [pair] = pairs as [Pair];
    upload(pair, 500_000);
    settle();
    const served = pair.served[0];
    served?.stream.headers((encoder) => encoder.status(200), true);
    settle();
    expect(served?.stream.closed).toBe(true);
    expectAbout(budget.held, 500_000);
    expect(pair.server.activeStreams).toBe(0);
    served?.stream.consumed(500_000);
    expect(budget.held).toBe(0);
  });

  it("don't let a consumer give back more than it got", () => {
    const { budget, pairs, settle } = tunnel(1, 8 * MIB);
    const [pair] = pairs as [Pair];
    upload(pair, 20 * MIB);
    settle();
    pair.served[0]?.stream.consumed(100 * MIB);
    settle();
    expect(pair.served[0]?.received.bytes).toBe(2 * MIB);
    expectAbout(budget.held, MIB);
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("shrink for open streams too when memory gets short, and are not overdrawn by what was under way", () => {
    const budget = createMemoryBudget(2 * MIB);
    const server = rawServer({ budget });
    server.send(...[1, 3, 5].map((id) => frame(Type.HEADERS, 4, id, POST)));
    const full = (id: number, bytes: number): Buffer => frame(Type.DATA, 0, id, Buffer.alloc(bytes));
    const frames = server.send(full(1, MIB), full(3, 100));
    // Half of the budget and a little more: the window shrinks to 64 KiB.
    expect(frames.filter((one) => one.type === Type.SETTINGS)).toMatchObject([
      { payload: Buffer.concat([Buffer.from([0, 4]), uint32(64 * KIB)]) },
    ]);
    // The peer acknowledges, but one of its threads had this ready.
    server.send(SETTINGS_ACK, full(5, 200_000));
    expect(server.cancelled).toEqual([]);
    expect(server.errors).toEqual([]);
    // The consumer takes all: the small window opens again, no wider than it is now.
    server.streams[2]?.consumed(200_000);
    const [update] = server.send(frame(Type.PING, 1, 0, "ffffffffffffffff")).filter((one) => one.streamId === 5);
    expect(update).toMatchObject({ type: Type.WINDOW_UPDATE, payload: uint32(200_000) });
  });

  it("change once at a time, and end where the budget is", () => {
    const budget = createMemoryBudget(2 * MIB);
    const server = rawServer({ budget });
    const windows = (frames: { type: number; payload: Buffer }[]): number[] =>
      frames
        .filter((one) => one.type === Type.SETTINGS && one.payload.length === 6)
        .map((one) => one.payload.readUInt32BE(2));
    server.send(frame(Type.HEADERS, 4, 1, POST), frame(Type.HEADERS, 4, 3, POST));
    const first = server.send(frame(Type.DATA, 0, 1, Buffer.alloc(MIB)), frame(Type.DATA, 0, 3, Buffer.alloc(10)));
    server.streams[0]?.consumed(MIB);
    const second = server.send(frame(Type.DATA, 0, 3, Buffer.alloc(10)));
    // Free again, but the first change is still without an answer.
    expect([windows(first), windows(second)]).toEqual([[64 * KIB], []]);
    expect(windows(server.send(SETTINGS_ACK))).toEqual([MIB]);
    expect(windows(server.send(SETTINGS_ACK))).toEqual([]);
  });

  it("are small from the beginning on a connection that comes while memory is short", () => {
    const budget = createMemoryBudget(2 * MIB);
    const first = rawServer({ budget });
    first.send(frame(Type.HEADERS, 4, 1, POST), frame(Type.HEADERS, 4, 3, POST));
    first.send(frame(Type.DATA, 0, 1, Buffer.alloc(MIB)), frame(Type.DATA, 0, 3, Buffer.alloc(10)));
    const second = rawServer({ budget, handshake: false });
    const [settings] = second.send(PREFACE);
    expect(settings?.payload.toString("hex")).toContain("000400010000");
  });

  it("shrink, and give back at once what a consumer had taken of the larger window", () => {
    const budget = createMemoryBudget(2 * MIB);
    const server = rawServer({ budget });
    server.send(...[1, 3, 5].map((id) => frame(Type.HEADERS, 4, id, POST)));
    server.send(frame(Type.DATA, 0, 5, Buffer.alloc(400_000)));
    // Less than half of 1 MiB: not worth a frame yet.
    server.streams[2]?.consumed(400_000);
    const before = server.send(frame(Type.DATA, 0, 1, Buffer.alloc(MIB)), frame(Type.DATA, 0, 3, Buffer.alloc(100)));
    const after = server.send(SETTINGS_ACK);
    const updates = [...before, ...after].filter((one) => one.type === Type.WINDOW_UPDATE && one.streamId === 5);
    // Of 64 KiB, 400,000 held back would have been more than all.
    expect(updates).toMatchObject([{ payload: uint32(400_000) }]);
  });

  it("tell a stream that is evicted by its own DATA nothing but that", () => {
    const server = rawServer({ budget: createMemoryBudget(1_000) });
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const [stream] = server.streams;
    let bytes = 0;
    if (stream !== undefined) stream.handler = { ...stream.handler, onData: (chunk) => (bytes += chunk.length) };
    server.send(frame(Type.DATA, 0, 1, Buffer.alloc(2_000)));
    expect({ bytes, cancelled: server.cancelled.length, errors: server.errors }).toEqual({
      bytes: 0,
      cancelled: 1,
      errors: [],
    });
  });

  it("hold no queued output of a stream that is gone, whoever still works for it", () => {
    const budget = createMemoryBudget(8 * MIB);
    const server = rawServer({ budget, release: false });
    server.send(frame(Type.HEADERS, 5, 1, Buffer.from("828487410161", "hex")));
    server.streams[0]?.headers((encoder) => encoder.status(200), false);
    server.streams[0]?.write(Buffer.alloc(200_000), true);
    expect(budget.held).toBe(200_000 - 65_535);
    server.send(frame(Type.RST_STREAM, 0, 1, uint32(8)));
    expect({ held: budget.held, active: server.connection.activeStreams }).toEqual({ held: 0, active: 1 });
  });
});
