/** Floods and resets end in the right GOAWAY with bounded memory; visitors who merely leave cost nothing (limits.ts). */
import { describe, expect, it } from "vitest";
import { HpackDecoder } from "../../../src/protocol/http2/hpack/decoder.ts";
import { ErrorCode } from "../../../src/protocol/http2/types.ts";
import { frame, get, POST, type RawServer, rawServer, Type, uint32 } from "./raw.ts";

/** Sends until the server ends the connection; gives up after `most` rounds. */
function flood(server: RawServer, most: number, next: (i: number) => Buffer): number {
  for (let i = 0; i < most; i++) {
    server.send(next(i));
    if (server.errors.length > 0) return i + 1;
  }
  return most;
}

const post = (id: number): Buffer => frame(Type.HEADERS, 4, id, POST);
const reset = (id: number): Buffer => frame(Type.RST_STREAM, 0, id, uint32(ErrorCode.CANCEL));

describe("floods within one moment", () => {
  const cases: [string, (i: number) => Buffer][] = [
    ["PING", () => frame(Type.PING, 0, 0, "0000000000000000")],
    ["PING answers that nobody asked for", () => frame(Type.PING, 1, 0, "ffffffffffffffff")],
    ["SETTINGS", () => frame(Type.SETTINGS, 0, 0)],
    ["PRIORITY", () => frame(Type.PRIORITY, 0, 1, "0000000010")],
    ["WINDOW_UPDATE", (i) => frame(Type.WINDOW_UPDATE, 0, 0, uint32(1 + (i & 1)))],
    ["frames of unknown types", () => frame(0x7f, 0, 0, "00")],
    ["Rapid Reset (CVE-2023-44487)", (i) => Buffer.concat([get(2 * i + 1), reset(2 * i + 1)])],
    [
      "MadeYouReset by WINDOW_UPDATE of 0 (CVE-2025-8671)",
      (i) => Buffer.concat([post(2 * i + 1), frame(Type.WINDOW_UPDATE, 0, 2 * i + 1, uint32(0))]),
    ],
    [
      "MadeYouReset by overflowing a window",
      (i) => Buffer.concat([post(2 * i + 1), frame(Type.WINDOW_UPDATE, 0, 2 * i + 1, uint32(0x7fffffff))]),
    ],
    [
      "MadeYouReset by DATA on a half-closed stream",
      (i) => Buffer.concat([get(2 * i + 1), frame(Type.DATA, 0, 2 * i + 1, "00")]),
    ],
    ["malformed requests", (i) => frame(Type.HEADERS, 5, 2 * i + 1, "82")],
  ];

  it.each(cases)("%s ends in ENHANCE_YOUR_CALM", (_name, next) => {
    const server = rawServer();
    const sent = flood(server, 200_000, next);
    expect(sent).toBeLessThan(200_000);
    expect(server.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(server.connection.openStreams).toBe(0);
    // Whatever comes afterwards is not even looked at.
    expect(server.send(next(0))).toEqual([]);
  });

  it("empty DATA ends in ENHANCE_YOUR_CALM", () => {
    const server = rawServer();
    server.send(post(1));
    expect(flood(server, 20_000, () => frame(Type.DATA, 0, 1))).toBeLessThan(20_000);
    expect(server.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  it("CONTINUATION without end ends in ENHANCE_YOUR_CALM (CVE-2024-27316)", () => {
    for (const payload of [Buffer.alloc(0), Buffer.alloc(16_384, 0x82)]) {
      const server = rawServer();
      server.send(frame(Type.HEADERS, 0, 1, POST));
      expect(flood(server, 1_000, () => frame(Type.CONTINUATION, 0, 1, payload))).toBeLessThan(100);
      expect(server.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    }
  });

  it("a bad PRIORITY is a connection error at once", () => {
    const server = rawServer();
    server.send(frame(Type.PRIORITY, 0, 1, "00"));
    expect(server.goaway).toBe(ErrorCode.FRAME_SIZE_ERROR);
  });

  it("a peer that asks and never reads is refused, then ends, with bounded output", () => {
    const server = rawServer();
    const { connection } = server;
    // Each head is answered with 1 MiB of fields which nobody takes.
    const value = "x".repeat(1024 * 1024);
    let answered = 0;
    let id = 1;
    for (; id < 60_000 && server.errors.length === 0; id += 2) {
      connection.receive(get(id), 0);
      const stream = server.streams[answered];
      if (stream === undefined) continue;
      answered++;
      stream.headers((encoder) => {
        encoder.status(200);
        encoder.field("x-large", value, "name");
      }, true);
    }
    expect(answered).toBeLessThan(20);
    expect(server.errors[0]?.message).toMatch(/ENHANCE_YOUR_CALM/);
    expect(id).toBeLessThan(60_000);
  });

  it.each([
    ["PING", frame(Type.PING, 0, 0, "0102030405060708")],
    ["SETTINGS", frame(Type.SETTINGS, 0, 0)],
  ])("%s whose answers nobody reads end although they come slowly, with bounded output", (_name, bytes) => {
    const server = rawServer();
    let sent = 0;
    for (; sent < 50_000 && server.errors.length === 0; sent++) server.connection.receive(bytes, sent * 1_000);
    expect(sent).toBeLessThan(12_000);
    let left = 0;
    for (let buffer = server.connection.takeOutput(); buffer !== undefined; buffer = server.connection.takeOutput()) {
      left += buffer.length;
    }
    expect(left).toBeLessThan(256 * 1024);
    expect(server.errors[0]?.message).toMatch(/ENHANCE_YOUR_CALM/);
  });

  /** One entry of 4,000 bytes in the table, then references to it. */
  const bomb = (references: number): Buffer =>
    Buffer.concat([
      Buffer.from([0x40, 0x01, 0x78, 0x7f, 0xa1, 0x1e]),
      Buffer.alloc(4_000, 0x61),
      Buffer.alloc(references, 0xbe),
    ]);

  it("an HPACK bomb ends in ENHANCE_YOUR_CALM and is held nowhere", () => {
    const server = rawServer();
    const before = process.memoryUsage().heapUsed;
    server.send(frame(Type.HEADERS, 5, 1, bomb(4_000)));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 * 1024 * 1024);
    expect(server.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(server.heads).toEqual([]);
  });

  it("a head over the announced size is answered with 431, and many of them end in ENHANCE_YOUR_CALM", () => {
    const server = rawServer();
    const frames = server.send(frame(Type.HEADERS, 5, 1, bomb(300)));
    expect(frames.map((one) => one.type)).toEqual([Type.HEADERS]);
    expect(new HpackDecoder(4096)).toSatisfy((decoder: HpackDecoder) => {
      const values: string[] = [];
      decoder.decode(frames[0]?.payload ?? Buffer.alloc(0), (field) => values.push(field.value));
      return values.join() === "431";
    });
    server.send(get(3));
    expect(server.heads).toHaveLength(1);
    expect(flood(server, 100, (i) => frame(Type.HEADERS, 5, 5 + 2 * i, bomb(300)))).toBeLessThan(100);
    expect(server.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });
});

describe("visitors who leave", () => {
  it("cost nothing: 100 cancellations a second for a minute, and 5,000 at once", () => {
    const server = rawServer();
    let id = 1;
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 100; i++, id += 2) {
        server.now = second * 1000 + i * 10;
        server.send(get(id), reset(id));
      }
    }
    const first = id;
    for (; id < first + 10_000; id += 2) server.send(get(id));
    for (let held = first; held < id; held += 2) server.send(reset(held));
    expect(server.errors).toEqual([]);
    expect(server.cancelled).toHaveLength(11_000);
    server.send(get(id));
    expect(server.heads).toHaveLength(11_001);
    expect(server.connection.openStreams).toBe(1);
  });

  it("leave their slot when the work behind them has ended, not before", () => {
    const server = rawServer({ maxConcurrentStreams: 10, release: false });
    for (let id = 1; id < 20; id += 2) server.send(get(id), reset(id));
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 10 });
    const refused = server.send(get(21));
    expect(refused).toMatchObject([{ type: Type.RST_STREAM, streamId: 21, payload: uint32(ErrorCode.REFUSED_STREAM) }]);
    for (const stream of server.cancelled) stream.release();
    server.send(get(23));
    expect(server.heads).toHaveLength(11);
    expect(server.errors).toEqual([]);
  });
});
