import { describe, expect, it } from "vitest";
import { FrameType } from "../../../../src/protocol/quic/frames.ts";
import { CROWDED_STREAM_UNSENT, MAX_STREAM_UNSENT } from "../../../../src/protocol/quic/limits.ts";
import { createMemoryBudget } from "../../../../src/protocol/memory-budget/budget.ts";
import { type End, KIB, pair, random, settle, settleLossy, Watcher } from "./link.ts";

const MIB = KIB * KIB;
const bytes = (length: number): Buffer => Buffer.alloc(length, "x");

/** Bytes that tell their place: a repetition, a swap or a hole shows. */
const CONTENT = Buffer.from(Array.from({ length: 251 * 16 }, (_, i) => i % 251));

function content(offset: number, length: number): Buffer {
  const from = offset % 251;
  return CONTENT.subarray(from, Math.min(from + length, CONTENT.length));
}

/** Writes as long as the stream takes it. */
function pump(watcher: Watcher, total: number): void {
  let left = total;
  const go = (): void => {
    while (left > 0) {
      const part = content(total - left, left);
      left -= part.length;
      if (!watcher.stream.write(part, left === 0)) return;
    }
  };
  watcher.onWritable = go;
  go();
}

function frames(end: End, type: number): number[] {
  const values: number[] = [];
  for (const { sent } of end.packets()) {
    for (const control of sent.controls ?? []) if (control.type === type) values.push(control.value);
  }
  return values;
}

describe("flow control of streams", () => {
  it("follows the consumer: a paused one holds its window and no more, then all comes", () => {
    const { client, server } = pair();
    server.pauseNew = true;
    const upload = client.open();
    pump(upload, 3 * MIB);
    settle(client, server);
    const [sink] = server.accepted;
    expect(sink?.bytes).toBe(64 * KIB);
    expect(server.budget.held).toBe(64 * KIB);
    // What has not been asked for waits at its source: not the whole file in our memory.
    expect(client.budget.held).toBeLessThanOrEqual(64 * KIB);
    if (sink !== undefined) sink.paused = false;
    sink?.stream.consumed(64 * KIB);
    settle(client, server);
    expect(sink).toMatchObject({ bytes: 3 * MIB, events: ["end"] });
    expect([server.budget.held, client.budget.held]).toEqual([0, 0]);
  });

  it("a consumer can't give back more than it got", () => {
    const { client, server } = pair();
    server.pauseNew = true;
    pump(client.open(), MIB);
    settle(client, server);
    const [sink] = server.accepted;
    sink?.stream.consumed(10 * MIB);
    expect(server.budget.held).toBe(0);
    settle(client, server);
    expect(sink?.bytes).toBe(64 * KIB + MIB - 64 * KIB);
    sink?.stream.consumed(-5);
    expect(server.budget.held).toBe(MIB - 64 * KIB);
  });

  it("the window grows once something is taken, and then only for who needs it, up to its limit", () => {
    const grow = (stepMs: number): number[] => {
      const { client, server } = pair({
        server: { local: { initialMaxData: 64 * MIB }, maxStreamWindow: 4 * MIB },
        client: { peer: { initialMaxData: 64 * MIB } },
      });
      const limits: number[] = [];
      const upload = client.open();
      upload.stream.write(bytes(1), false);
      settle(client, server);
      const id = upload.stream.id;
      let offset = 1;
      for (let i = 0; i < 200; i++) {
        server.clock.now += stepMs;
        server.streams.onStream(id, offset, bytes(32 * KIB), false);
        offset += 32 * KIB;
        for (const limit of frames(server, FrameType.MAX_STREAM_DATA)) limits.push(limit - offset);
      }
      return limits;
    };
    // 32 KiB a millisecond, and a round trip of 10 ms: more than 1 MiB comes in four of them.
    const fast = grow(1);
    expect(fast[0]).toBe(MIB);
    expect(Math.max(...fast)).toBe(2 * MIB);
    expect(Math.max(...grow(0.1))).toBe(4 * MIB);
    expect(Math.max(...grow(50))).toBe(MIB);
  });

  it("small requests cost no MAX_ frame", () => {
    const { client, server } = pair();
    for (let i = 0; i < 20; i++) client.open().stream.write(bytes(200), i % 2 === 0);
    for (const { bytes: packet } of client.packets()) server.receive(packet);
    expect(server.packets()).toEqual([]);
  });

  it("stalled uploads don't stop the others, on a connection whose window they would have used up", () => {
    const { client, server } = pair();
    server.pauseNew = true;
    for (let i = 0; i < 40; i++) pump(client.open(), MIB);
    settle(client, server);
    expect(server.accepted.map((sink) => sink.bytes)).toEqual(Array.from({ length: 40 }, () => 64 * KIB));
    server.pauseNew = false;
    pump(client.open(), 2 * MIB);
    settle(client, server);
    expect(server.accepted.at(-1)).toMatchObject({ bytes: 2 * MIB, events: ["end"] });
  });

  it("memory stays below the cap: from half of it on windows are small, at it the longest stalled is reset", () => {
    const budget = createMemoryBudget(8 * MIB);
    const { client, server } = pair({
      server: { budget, local: { initialMaxStreamsBidi: 1000 } },
      client: { budget: createMemoryBudget(1024 * MIB) },
    });
    const sinks = (): Watcher[] => server.accepted;
    // Four that took something have large windows; they fill half of the cap.
    for (let i = 0; i < 5; i++) pump(client.open(), 3 * MIB);
    for (let i = 0; i < 40; i++) {
      for (const packet of client.packets()) {
        server.receive(packet.bytes);
        client.streams.onFramesAcked(packet.sent);
        for (const sink of sinks()) sink.paused = sink.bytes > 200 * KIB;
        expect(budget.held).toBeLessThanOrEqual(budget.limit);
      }
      for (const packet of server.packets()) client.receive(packet.bytes);
    }
    expect(budget.held).toBeGreaterThan(4 * MIB);
    expect(sinks().map((sink) => sink.events)).toEqual([[], [], [], [], []]);
    server.pauseNew = true;
    for (let i = 0; i < 60; i++) pump(client.open(), MIB);
    settle(client, server);
    expect(budget.held).toBeLessThanOrEqual(budget.limit);
    const evicted = sinks().map((sink, i) => (sink.events.includes("evicted") ? i : -1));
    // The oldest silence first, and no more than needed.
    expect(evicted.filter((i) => i >= 0)).toEqual(evicted.filter((i) => i >= 0).map((_, i) => i));
    expect(evicted.filter((i) => i >= 0).length).toBeLessThanOrEqual(3);
    expect(
      sinks()
        .slice(10)
        .every((sink) => sink.bytes === 64 * KIB),
    ).toBe(true);
  });

  it("a writer is paused early when many have much to say", () => {
    const { client } = pair({ client: { peer: { initialMaxStreamDataBidiRemote: 64 * MIB } } });
    const first = client.open();
    let taken = 0;
    do taken += KIB;
    while (first.stream.write(bytes(KIB), false));
    expect(taken).toBe(MAX_STREAM_UNSENT);
    for (let i = 0; i < 20; i++) client.open().stream.write(bytes(MAX_STREAM_UNSENT), false);
    const late = client.open();
    taken = 0;
    do taken += KIB;
    while (late.stream.write(bytes(KIB), false));
    expect(taken).toBe(CROWDED_STREAM_UNSENT);
  });

  it("tells of a limit that holds it up, once each", () => {
    const { client } = pair({ client: { peer: { initialMaxData: 100 * KIB, initialMaxStreamsBidi: 2 } } });
    const [a, b] = [client.open(), client.open()];
    pump(a, 80 * KIB);
    pump(b, 80 * KIB);
    expect(client.streams.open(true)).toBeUndefined();
    expect(client.streams.open(true)).toBeUndefined();
    const told = client.packets().flatMap(({ sent }) => sent.controls ?? []);
    expect(told.map(({ type, value }) => [type, value])).toEqual([
      [FrameType.STREAMS_BLOCKED_BIDI, 2],
      [FrameType.DATA_BLOCKED, 100 * KIB],
    ]);
    client.streams.onMaxData(90 * KIB);
    expect(client.packets()).toEqual([]);
    client.streams.onMaxData(MIB);
    expect(frames(client, FrameType.STREAM_DATA_BLOCKED)).toEqual([64 * KIB, 64 * KIB]);
    client.streams.onMaxStreamData(a.stream.id, 70 * KIB);
    expect(frames(client, FrameType.STREAM_DATA_BLOCKED)).toEqual([70 * KIB]);
    expect(client.available).toBe(0);
    client.streams.onMaxStreams(true, 3);
    expect(client.available).toBe(1);
    expect(client.streams.open(true)?.id).toBe(8);
  });

  it("streams that are over make room for others", () => {
    const { client, server } = pair({ server: { local: { initialMaxStreamsBidi: 8 } } });
    for (let i = 0; i < 500; i++) {
      const asked = client.open();
      asked.stream.write(bytes(10), true);
      settle(client, server);
      server.accepted.at(-1)?.stream.write(bytes(10), true);
      settle(client, server);
    }
    expect(server.accepted).toHaveLength(500);
    expect(client.streams.openStreams).toBe(0);
  });

  it("streams take turns: a small answer does not wait behind a large one", () => {
    const { client, server } = pair({
      client: { peer: { initialMaxStreamDataBidiRemote: 64 * MIB, initialMaxData: 64 * MIB } },
    });
    pump(client.open(), 200 * KIB);
    client.open().stream.write(bytes(2000), true);
    for (let i = 0; i < 5; i++) server.receive(client.packet()?.bytes ?? bytes(0));
    expect(server.accepted[1]?.events).toEqual(["end"]);
    expect(server.accepted[0]?.bytes).toBeGreaterThan(0);
  });

  it.each([0, 0.02, 0.1, 0.3])("all arrives, and memory is free again, with loss of %d both ways", (loss) => {
    for (let seed = 1; seed <= 12; seed++) {
      const next = random(seed);
      const { client, server } = pair({
        server: { local: { initialMaxData: 100 * KIB, initialMaxStreamsBidi: 4 } },
        client: { peer: { initialMaxData: 100 * KIB, initialMaxStreamsBidi: 4 } },
      });
      const sizes = Array.from({ length: 8 }, () => Math.floor(next() ** 3 * 300 * KIB));
      const asked: Watcher[] = [];
      const open = (): void => {
        while (asked.length < sizes.length) {
          const stream = client.streams.open(true);
          if (stream === undefined) return;
          const watcher = new Watcher(stream);
          asked.push(watcher);
          pump(watcher, sizes[asked.length - 1] as number);
          if (sizes[asked.length - 1] === 0) stream.write(bytes(0), true);
        }
      };
      open();
      const answered = new Set<Watcher>();
      settleLossy(client, server, next, loss, () => {
        open();
        for (const sink of server.accepted) {
          if (answered.has(sink) || sink.events.length === 0) continue;
          answered.add(sink);
          sink.stream.write(bytes(500), true);
        }
      });
      expect(server.accepted.map((sink) => sink.bytes).sort((a, b) => a - b)).toEqual([...sizes].sort((a, b) => a - b));
      for (const sink of server.accepted) {
        const got = Buffer.concat(sink.chunks);
        expect(got.every((byte, i) => byte === i % 251)).toBe(true);
      }
      expect(asked.map((watcher) => [watcher.bytes, watcher.events])).toEqual(asked.map(() => [500, ["end"]]));
      expect([client.streams.openStreams, server.streams.openStreams, client.budget.held, server.budget.held]).toEqual([
        0, 0, 0, 0,
      ]);
    }
  });
});
