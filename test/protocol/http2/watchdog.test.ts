/** Times, in virtual time: what must come, and when. */
import { describe, expect, it } from "vitest";
import { ErrorCode, type Http2Connection } from "../../../src/protocol/http2/types.ts";
import { createPair, get, recorder } from "./pair.ts";
import { frame, parseFrames, PREFACE, rawServer, SETTINGS_ACK, Type } from "./raw.ts";

/** Lets time pass as a timer would, up to `until`; returns when the connection ended. */
function pass(connection: Http2Connection, ended: () => boolean, until: number): number | undefined {
  for (;;) {
    const { deadline } = connection;
    if (deadline === undefined || deadline > until) return undefined;
    connection.tick(deadline);
    if (ended()) return deadline;
  }
}

function sent(connection: Http2Connection): string[] {
  const frames: string[] = [];
  for (let buffer = connection.takeOutput(); buffer !== undefined; buffer = connection.takeOutput()) {
    for (const one of parseFrames(buffer)) frames.push(`${one.type}${one.flags === 0 ? "" : "!"}`);
    connection.recycle(buffer);
  }
  return frames;
}

describe("the beginning", () => {
  it("sends SETTINGS at once, with the values that the edge knows", () => {
    const server = rawServer({ handshake: false });
    // Nothing has come from the peer.
    const frames = parseFrames(Buffer.from(server.connection.takeOutput() ?? ""));
    expect(frames.map((one) => one.type)).toEqual([Type.SETTINGS, Type.WINDOW_UPDATE]);
    const settings = frames[0]?.payload ?? Buffer.alloc(0);
    expect(
      Array.from({ length: settings.length / 6 }, (_, i) => [
        settings.readUInt16BE(6 * i),
        settings.readUInt32BE(6 * i + 2),
      ]),
    ).toEqual([
      [5, 1_048_576],
      [3, 4_294_967_295],
      [6, 1_048_896],
      [1, 4_096],
      [4, 1_048_576],
      [9, 1],
    ]);
    expect(frames[1]?.payload.readUInt32BE(0)).toBe(4 * 1024 * 1024 - 65_535);
  });

  it("waits 10 s for the preface", () => {
    const server = rawServer({ handshake: false });
    server.send(PREFACE.subarray(0, 23));
    expect(pass(server.connection, () => server.errors.length > 0, 60_000)).toBe(10_000);
    expect(server.errors[0]?.message).toBe("PROTOCOL_ERROR: the preface did not come in time");
  });

  it("waits 2 s more for SETTINGS", () => {
    const server = rawServer({ handshake: false });
    server.now = 9_000;
    server.send(PREFACE.subarray(0, 24));
    expect(pass(server.connection, () => server.errors.length > 0, 60_000)).toBe(11_000);
  });

  it("waits 20 s for the acknowledgement of ours", () => {
    const server = rawServer({ handshake: false });
    server.now = 500;
    server.send(PREFACE);
    expect(pass(server.connection, () => server.errors.length > 0, 60_000)).toBe(20_500);
    expect(server.errors[0]?.message).toMatch(/^SETTINGS_TIMEOUT/);
  });

  it("then waits for nothing", () => {
    const server = rawServer();
    expect(server.connection.deadline).toBe(undefined);
  });
});

describe("a PING watchdog", () => {
  const watched = { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 };

  it("asks after silence, and ends a connection that does not answer", () => {
    const server = rawServer(watched);
    sent(server.connection);
    server.connection.tick(10_000);
    expect(sent(server.connection)).toEqual([String(Type.PING)]);
    expect(pass(server.connection, () => server.errors.length > 0, 60_000)).toBe(15_000);
    expect(server.errors[0]?.message).toBe("a PING was not answered within 5000 ms");
    expect(sent(server.connection)).toEqual([String(Type.GOAWAY)]);
  });

  it("asks again and again as long as it is answered", () => {
    const pair = createPair({ server: watched });
    for (pair.now = 0; pair.now < 100_000; pair.now += 100) {
      pair.server.tick(pair.now);
      pair.settle();
    }
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("does not ask where frames come", () => {
    const server = rawServer(watched);
    sent(server.connection);
    for (server.now = 0; server.now < 60_000; server.now += 9_000) {
      server.connection.tick(server.now);
      expect(server.send(SETTINGS_ACK)).toEqual([]);
    }
  });

  it("waits on while bytes move, as the PING may stand behind them, but not for ever", () => {
    const server = rawServer(watched);
    sent(server.connection);
    server.connection.tick(10_000);
    let ended = 0;
    while (server.errors.length === 0 && ended < 600_000) {
      ended = server.connection.deadline ?? 0;
      server.now = ended - 1;
      server.send(frame(Type.WINDOW_UPDATE, 0, 0, "00000001"));
      server.connection.tick(ended);
    }
    expect(ended).toBe(40_000);
  });

  it("judges nobody right after the process stood still", () => {
    const pair = createPair({ server: watched });
    pair.server.tick(10_000);
    // The answer is in the socket, but an hour has passed before anybody looks.
    pair.server.tick(3_600_000);
    expect(pair.errors.server).toEqual([]);
    pair.now = 3_600_500;
    pair.settle();
    expect(pass(pair.server, () => pair.errors.server.length > 0, 3_610_000)).toBe(undefined);
  });

  it("but does so a second later", () => {
    const server = rawServer(watched);
    server.connection.tick(10_000);
    server.connection.tick(3_600_000);
    expect(pass(server.connection, () => server.errors.length > 0, 3_700_000)).toBe(3_601_000);
  });

  it("tells round trips of PINGs that the user asked for", () => {
    const trips: number[] = [];
    const pair = createPair({ server: watched, onPong: (milliseconds) => trips.push(milliseconds) });
    pair.server.ping(100);
    pair.server.ping(130);
    pair.now = 142;
    pair.settle();
    expect(trips).toEqual([42, 12]);
  });

  it("holds at most 16 of those", () => {
    const server = rawServer();
    sent(server.connection);
    for (let i = 0; i < 100; i++) server.connection.ping(0);
    expect(sent(server.connection)).toHaveLength(16);
  });
});

describe("the end", () => {
  it("GOAWAY refuses new streams and lets open ones go on", () => {
    const pair = createPair();
    const first = recorder();
    pair.client.request(get("/"), true, first.handler);
    pair.settle();
    const late = recorder();
    pair.server.goaway(ErrorCode.NO_ERROR);
    // Under way before the client knew.
    pair.client.request(get("/"), true, late.handler);
    pair.settle();
    expect(late.received.cancel).toEqual({ kind: "peer-reset", code: ErrorCode.REFUSED_STREAM });
    expect(pair.client.availableStreams).toBe(0);
    pair.served[0]?.stream.headers((encoder) => encoder.status(200), false);
    pair.served[0]?.stream.write(Buffer.from("abc"), true);
    pair.settle();
    expect(first.received).toMatchObject({ status: 200, bytes: 3, ended: true });
    expect(pair.served).toHaveLength(1);
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("a notice before it still takes what is on its way", () => {
    const pair = createPair();
    pair.server.noticeGoaway();
    const { received, handler } = recorder();
    pair.client.request(get("/"), true, handler);
    pair.settle();
    expect(pair.client.availableStreams).toBe(0);
    pair.served[0]?.stream.headers((encoder) => encoder.status(204), true);
    pair.server.goaway(ErrorCode.NO_ERROR);
    pair.settle();
    expect(received).toMatchObject({ status: 204, ended: true });
    expect(pair.errors).toEqual({ client: [], server: [] });
  });

  it("an edge's GOAWAY is answered with ours", () => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 5, 3, "828487410161"));
    const frames = server.send(frame(Type.GOAWAY, 0, 0, "0000000000000000"));
    expect(frames).toMatchObject([{ type: Type.GOAWAY, payload: Buffer.from("0000000300000000", "hex") }]);
    expect(server.connection.openStreams).toBe(1);
    expect(server.errors).toEqual([]);
  });

  it("a closed socket cancels every stream, once, and nothing is heard any more", () => {
    const server = rawServer({ release: false });
    for (let id = 1; id < 20; id += 2) server.send(frame(Type.HEADERS, 4, id, "838487410161"));
    server.connection.socketClosed();
    server.connection.socketClosed();
    server.connection.receive(frame(Type.DATA, 0, 1, "00"), 5);
    expect(server.cancelled).toHaveLength(10);
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 10, deadline: undefined });
    for (const stream of server.cancelled) {
      stream.headers((encoder) => encoder.status(200), false);
      expect(stream.write(Buffer.from("late"), true)).toBe(true);
      stream.end();
      stream.reset(ErrorCode.CANCEL);
      stream.release();
    }
    expect(sent(server.connection)).toEqual([]);
    expect(server.connection.activeStreams).toBe(0);
    expect(server.errors).toEqual([]);
  });
});
