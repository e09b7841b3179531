/** What a stream's user may do, and what comes of it. */
import { describe, expect, it } from "vitest";
import { ErrorCode, type Http2Stream } from "../../../src/protocol/http2/types.ts";
import { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import { createPair, get, post, recorder } from "./pair.ts";
import {
  block,
  type Frame,
  frame,
  get as rawGet,
  parseFrames,
  POST,
  type RawServer,
  rawServer,
  Type,
  uint32,
} from "./raw.ts";

const MIB = 1024 * 1024;

function output(server: RawServer): Frame[] {
  const bytes: Buffer[] = [];
  for (let buffer = server.connection.takeOutput(); buffer !== undefined; buffer = server.connection.takeOutput()) {
    bytes.push(Buffer.from(buffer));
    server.connection.recycle(buffer);
  }
  return parseFrames(Buffer.concat(bytes));
}

function only(server: RawServer): Http2Stream {
  const stream = server.streams.at(-1);
  if (stream === undefined) throw new Error("no stream");
  return stream;
}

const ok = (stream: Http2Stream, end = false): void => stream.headers((encoder) => encoder.status(200), end);
const kinds = (frames: Frame[]): string[] => frames.map((one) => `${one.type}:${one.flags}`);

describe("an answer", () => {
  it("leaves as HEADERS and DATA with END_STREAM in one buffer, announced once", () => {
    const server = rawServer();
    server.send(rawGet(1));
    ok(only(server));
    expect(only(server).write(Buffer.from("hello"), true)).toBe(true);
    const buffer = Buffer.from(server.connection.takeOutput() ?? "");
    expect(server.connection.takeOutput()).toBe(undefined);
    expect(kinds(parseFrames(buffer))).toEqual(["1:4", "0:1"]);
    expect(only(server)).toMatchObject({ closed: true, localEnded: true, remoteEnded: true });
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 0 });
  });

  it.each<[string, (stream: Http2Stream) => void, string[]]>([
    ["a head alone", (stream) => ok(stream, true), ["1:5"]],
    ["an empty last chunk", (stream) => (ok(stream), stream.write(Buffer.alloc(0), true)), ["1:4", "0:1"]],
    ["an end without content", (stream) => (ok(stream), stream.end()), ["1:4", "0:1"]],
    ["no trailers", (stream) => (ok(stream), stream.end([])), ["1:4", "0:1"]],
    ["trailers", (stream) => (ok(stream), stream.end([new HeaderField("X-End", "1")])), ["1:4", "1:5"]],
    [
      "trailers that may not be sent",
      (stream) => (
        ok(stream),
        stream.end([
          new HeaderField("Transfer-Encoding", "chunked"),
          new HeaderField(":path", "/"),
          new HeaderField("x a", "1"),
          new HeaderField("x-a", "1\r\n2"),
          new HeaderField("Content-Length", "1"),
        ])
      ),
      ["1:4", "0:1"],
    ],
  ])("may be %s", (_name, answer, expected) => {
    const server = rawServer();
    server.send(rawGet(1));
    answer(only(server));
    expect(kinds(output(server))).toEqual(expected);
    expect(only(server).closed).toBe(true);
  });

  it("ends once: what is written behind the end is ignored", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const stream = only(server);
    ok(stream);
    stream.end();
    expect(stream.write(Buffer.from("late"), true)).toBe(true);
    stream.end([new HeaderField("x-late", "1")]);
    ok(stream, true);
    expect(kinds(output(server))).toEqual(["1:4", "0:1"]);
    expect(stream).toMatchObject({ closed: false, localEnded: true, remoteEnded: false });
  });

  it("needs CONTINUATION where its head is larger than the peer's frames, right behind each other", () => {
    const server = rawServer();
    server.send(rawGet(1));
    only(server).headers((encoder) => {
      encoder.status(200);
      encoder.field("x-large", "v".repeat(40_000), "never");
    }, true);
    const frames = output(server);
    expect(frames.map((one) => [one.type, one.flags, one.payload.length > 16_384])).toEqual([
      [Type.HEADERS, 1, false],
      [Type.CONTINUATION, 0, false],
      [Type.CONTINUATION, 4, false],
    ]);
  });

  it("whose head can't be encoded costs its stream, and leaves the HPACK tables in step", () => {
    const pair = createPair();
    const first = recorder();
    const second = recorder();
    pair.client.request(get("/"), true, first.handler);
    pair.client.request(get("/"), true, second.handler);
    pair.settle();
    expect(() =>
      pair.served[0]?.stream.headers((encoder) => {
        encoder.status(200);
        encoder.field("x-indexed", "value", "index");
        throw new Error("a bug");
      }, false),
    ).toThrow("a bug");
    pair.served[1]?.stream.headers((encoder) => {
      encoder.status(200);
      encoder.field("x-indexed", "value", "index");
    }, true);
    pair.settle();
    expect(first.received.cancel).toEqual({ kind: "peer-reset", code: ErrorCode.INTERNAL_ERROR });
    expect(second.received).toMatchObject({ status: 200, ended: true });
    expect(pair.errors).toEqual({ client: [], server: [] });
  });
});

describe("back-pressure", () => {
  it("says stop at the window, and go on when it opens", () => {
    const pair = createPair({ client: { initialWindowSize: 100_000 } });
    const client = pair.client.request(get("/"), true, recorder().handler);
    pair.settle();
    const [served] = pair.served;
    if (served === undefined) throw new Error("no stream");
    ok(served.stream);
    expect(served.stream.write(Buffer.alloc(100_000), false)).toBe(true);
    expect(served.stream.write(Buffer.alloc(1), false)).toBe(false);
    pair.settle();
    expect(served.received.writable).toBe(0);
    client?.consumed(50_000);
    pair.settle();
    expect(served.received.writable).toBe(1);
    expect(served.stream.write(Buffer.alloc(49_999), false)).toBe(true);
    expect(served.stream.write(Buffer.alloc(1), false)).toBe(false);
  });

  it("says stop at 1 MiB that the socket has not taken, whatever the windows, and goes on below half of it", () => {
    const server = rawServer();
    server.send(
      frame(Type.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0x7fffffff)])),
      frame(Type.WINDOW_UPDATE, 0, 0, uint32(0x7fff0000)),
      rawGet(1),
    );
    let writable = 0;
    const stream = only(server);
    stream.handler = { ...stream.handler, onWritable: () => writable++ };
    ok(stream);
    let written = 0;
    while (stream.write(Buffer.alloc(50_000), false)) written++;
    expect(written).toBe(20);
    const taken: Buffer[] = [];
    for (let i = 0; i < 16; i++) taken.push(server.connection.takeOutput() ?? Buffer.alloc(0));
    expect(writable).toBe(0);
    for (const buffer of taken.slice(0, 7)) server.connection.recycle(buffer);
    expect(writable).toBe(0);
    server.connection.recycle(taken[7] ?? Buffer.alloc(0));
    server.connection.recycle(taken[8] ?? Buffer.alloc(0));
    expect(writable).toBe(1);
  });

  it("keeps what 1,000 streams write in one turn in the streams, and sends all of it", () => {
    const budget = { client: { initialWindowSize: MIB, connectionWindowSize: 200 * MIB } };
    const pair = createPair(budget);
    const asked = Array.from({ length: 1_000 }, () => {
      const { received, handler } = recorder();
      const stream = pair.client.request(get("/"), true, {
        ...handler,
        onData: (chunk) => {
          received.bytes += chunk.length;
          stream?.consumed(chunk.length);
        },
      });
      return received;
    });
    pair.settle();
    for (const { stream } of pair.served) {
      ok(stream);
      stream.write(Buffer.alloc(64 * 1024), true);
    }
    let pending = 0;
    const held: Buffer[] = [];
    for (let buffer = pair.server.takeOutput(); buffer !== undefined; buffer = pair.server.takeOutput()) {
      pending += buffer.length;
      held.push(buffer);
    }
    expect(pending).toBeLessThan(2 * MIB);
    for (const buffer of held) {
      pair.client.receive(Buffer.from(buffer), 0);
      pair.server.recycle(buffer);
    }
    pair.settle();
    expect(asked.every((received) => received.bytes === 64 * 1024 && received.ended)).toBe(true);
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("takes turns: a large answer does not hold up small ones", () => {
    const server = rawServer();
    server.send(
      rawGet(1),
      rawGet(3),
      rawGet(5),
      frame(Type.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(MIB)])),
    );
    // The connection's window is 65,535 and used up by the first.
    for (const stream of server.streams) ok(stream);
    server.streams[0]?.write(Buffer.alloc(500_000), true);
    server.streams[1]?.write(Buffer.alloc(20_000), true);
    server.streams[2]?.write(Buffer.alloc(10_000), true);
    output(server);
    const order = server
      .send(frame(Type.WINDOW_UPDATE, 0, 0, uint32(100_000)))
      .filter((one) => one.type === Type.DATA)
      .map((one) => [one.streamId, one.payload.length]);
    expect(order).toEqual([
      [1, 16_384],
      [3, 16_384],
      [5, 10_000],
      [1, 16_384],
      [3, 3_616],
      [1, 16_384],
      [1, 16_384],
      [1, 4_464],
    ]);
  });

  it("holds at most 16 buffers in the socket, and joins what comes meanwhile", () => {
    const signals: number[] = [];
    const server = rawServer({ onOutput: () => signals.push(1) });
    server.send(frame(Type.HEADERS, 4, 1, POST));
    ok(only(server));
    const taken: Buffer[] = [];
    for (let i = 0; i < 100; i++) {
      only(server).write(Buffer.from("event"), false);
      const buffer = server.connection.takeOutput();
      if (buffer !== undefined) taken.push(buffer);
    }
    expect(taken).toHaveLength(16);
    const before = signals.length;
    only(server).write(Buffer.from("event"), false);
    expect(signals).toHaveLength(before);
    server.connection.recycle(taken[3] ?? Buffer.alloc(0));
    expect(signals).toHaveLength(before + 1);
    expect(parseFrames(server.connection.takeOutput() ?? Buffer.alloc(0))).toHaveLength(85);
    // Given back twice, or not ours: nothing happens.
    server.connection.recycle(taken[3] ?? Buffer.alloc(0));
    server.connection.recycle(Buffer.alloc(10));
    expect(signals).toHaveLength(before + 1);
  });
});

describe("stopReading", () => {
  it("ends the peer's side with NO_ERROR once ours has ended, behind all that was queued", () => {
    const pair = createPair({ client: { initialWindowSize: 1_000 } });
    const { received, handler } = recorder();
    const stream = pair.client.request(post("/"), false, {
      ...handler,
      onData: (chunk) => {
        handler.onData(chunk);
        stream?.consumed(chunk.length);
      },
    });
    stream?.write(Buffer.alloc(100), false);
    pair.settle();
    const served = pair.served[0];
    if (served === undefined) throw new Error("no stream");
    ok(served.stream);
    served.stream.write(Buffer.alloc(5_000), true);
    served.stream.stopReading();
    // Dropped, and credited: the peer may go on for as long as it likes.
    for (let i = 0; i < 40; i++) stream?.write(Buffer.alloc(60_000), false);
    pair.settle();
    expect(served.received).toMatchObject({ bytes: 100, ended: false, cancel: undefined });
    expect(served.stream.closed).toBe(true);
    expect(received).toMatchObject({ bytes: 5_000, ended: true });
    expect(stream?.closed).toBe(true);
    expect(pair.server).toMatchObject({ openStreams: 0, activeStreams: 0 });
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("after the end of our side resets at once; after the peer's it does nothing", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 4, 1, POST));
    ok(only(server), true);
    only(server).stopReading();
    expect(output(server).at(-1)).toMatchObject({ type: Type.RST_STREAM, payload: uint32(ErrorCode.NO_ERROR) });
    server.send(rawGet(3));
    only(server).stopReading();
    ok(only(server), true);
    expect(kinds(output(server))).toEqual(["1:5"]);
  });
});

describe("reset and cancel", () => {
  it("reset drops what is queued, tells nobody, and frees the slot", () => {
    const server = rawServer({ release: false });
    server.send(rawGet(1));
    const stream = only(server);
    ok(stream);
    stream.write(Buffer.alloc(200_000), true);
    stream.reset(ErrorCode.INTERNAL_ERROR);
    expect(output(server).at(-1)).toMatchObject({ type: Type.RST_STREAM, payload: uint32(ErrorCode.INTERNAL_ERROR) });
    expect(server.cancelled).toEqual([]);
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 0 });
    expect(server.send(frame(Type.WINDOW_UPDATE, 0, 0, uint32(500_000)))).toEqual([]);
  });

  it("a peer's reset tells the code, and keeps the slot until the release", () => {
    const server = rawServer({ release: false });
    server.send(rawGet(1), frame(Type.RST_STREAM, 0, 1, uint32(ErrorCode.CANCEL)));
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 1 });
    only(server).release();
    only(server).release();
    expect(server.connection.activeStreams).toBe(0);
  });

  it("a handler that resets its stream in the middle of a frame gets no more of it", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 4, 1, POST));
    let chunks = 0;
    const stream = only(server);
    stream.handler = {
      ...stream.handler,
      onData: () => {
        chunks++;
        stream.reset(ErrorCode.CANCEL);
      },
      onEnd: () => chunks++,
    };
    const data = frame(Type.DATA, 1, 1, Buffer.alloc(1_000));
    for (let at = 0; at < data.length; at += 100) server.send(data.subarray(at, at + 100));
    expect(chunks).toBe(1);
    expect(server.errors).toEqual([]);
  });

  it("a handler that throws costs the connection, never the process", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const bug = new Error("secret");
    only(server).handler = {
      ...only(server).handler,
      onData: () => {
        throw bug;
      },
    };
    server.send(frame(Type.DATA, 0, 1, "00"));
    expect(server.goaway).toBe(ErrorCode.INTERNAL_ERROR);
    expect(server.errors[0]?.cause).toBe(bug);
    expect(server.errors[0]?.message).not.toContain("secret");
  });
});

describe("the other direction", () => {
  it("is open for reading while ours has ended, and the other way round", () => {
    const pair = createPair();
    const { received, handler } = recorder();
    const stream = pair.client.request(post("/"), false, handler);
    pair.settle();
    const served = pair.served[0];
    if (served === undefined) throw new Error("no stream");
    ok(served.stream);
    served.stream.end();
    pair.settle();
    expect(received.ended).toBe(true);
    stream?.write(Buffer.from("still here"), false);
    stream?.end([new HeaderField("x-end", "1")]);
    pair.settle();
    expect(served.received).toMatchObject({ bytes: 10, ended: true, trailers: [["x-end", "1"]] });
    expect([stream?.closed, served.stream.closed]).toEqual([true, true]);
  });

  it("takes request trailers behind content that is padded", () => {
    const server = rawServer();
    const ends: string[][] = [];
    server.send(frame(Type.HEADERS, 4, 1, POST));
    only(server).handler = {
      ...only(server).handler,
      onEnd: (trailers) => ends.push(trailers.map((field) => `${field.name}=${field.value}`)),
    };
    server.send(
      frame(Type.DATA, 8, 1, Buffer.concat([Buffer.from([200]), Buffer.from("abc"), Buffer.alloc(200)])),
      frame(Type.DATA, 8, 1, Buffer.concat([Buffer.from([9]), Buffer.alloc(9)])),
      frame(Type.HEADERS, 5, 1, block(["x-sum", "abc"])),
    );
    expect(ends).toEqual([["x-sum=abc"]]);
  });

  it("gets its window back for padding, although nobody consumes it", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 4, 1, POST));
    const padded = frame(Type.DATA, 8, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]));
    let credited = 0;
    for (let i = 0; i < 5_000; i++) {
      for (const one of server.send(padded)) {
        if (one.type === Type.WINDOW_UPDATE && one.streamId === 1) credited += one.payload.readUInt32BE(0);
      }
    }
    expect(credited).toBeGreaterThan(500_000);
    expect(server.errors).toEqual([]);
  });
});
