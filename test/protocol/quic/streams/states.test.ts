import { describe, expect, it } from "vitest";
import { FrameType } from "../../../../src/protocol/quic/frames.ts";
import { MAX_STREAM_PIECES } from "../../../../src/protocol/quic/limits.ts";
import { createMemoryBudget } from "../../../../src/protocol/memory-budget/budget.ts";
import { End, KIB, pair, settle } from "./link.ts";

const NOTHING = Buffer.alloc(0);
const bytes = (length: number): Buffer => Buffer.alloc(length, "x");

/** The types of the frames without data that the next packet carries. */
function controls(end: End): number[] {
  return end.packet()?.sent.controls?.map(({ type }) => type) ?? [];
}

describe("streams", () => {
  it("carry bytes and an end, both ways, and are forgotten", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream.write(Buffer.from("hello"), true);
    settle(client, server);
    const [answering] = server.accepted;
    expect([answering?.text, answering?.events]).toEqual(["hello", ["end"]]);
    answering?.stream.write(Buffer.from("wor"), false);
    answering?.stream.write(Buffer.from("ld"), false);
    settle(client, server);
    expect(asked.text).toBe("world");
    expect([client.streams.openStreams, server.streams.openPeerStreams]).toEqual([1, 1]);
    answering?.stream.write(NOTHING, true);
    settle(client, server);
    expect(asked.events).toEqual(["end"]);
    expect([client.streams.openStreams, server.streams.openStreams, server.streams.openPeerStreams]).toEqual([0, 0, 0]);
    expect([client.budget.held, server.budget.held]).toEqual([0, 0]);
  });

  it("an end that is acknowledged before the bytes ahead of it does not stand for them", () => {
    const { client, server } = pair();
    const { stream } = client.open();
    stream.write(Buffer.from("hello"), false);
    const [bytesAlone] = client.packets();
    stream.write(NOTHING, true);
    const [endAlone] = client.packets();
    if (bytesAlone === undefined || endAlone === undefined) throw new Error("no packets");
    server.receive(endAlone.bytes);
    client.streams.onFramesAcked(endAlone.sent);
    client.streams.onFramesLost(bytesAlone.sent);
    expect(client.budget.held).toBe(5);
    settle(client, server);
    const [watcher] = server.accepted;
    expect([watcher?.text, watcher?.events]).toEqual(["hello", ["end"]]);
    watcher?.stream.write(NOTHING, true);
    settle(client, server);
    expect([client.streams.openStreams, client.budget.held]).toEqual([0, 0]);
  });

  it("an empty stream is an end, and writing behind it does nothing", () => {
    const { client, server } = pair();
    const asked = client.open(false);
    expect(asked.stream.write(NOTHING, true)).toBe(true);
    expect(asked.stream.write(bytes(10), false)).toBe(true);
    settle(client, server);
    expect([server.accepted[0]?.events, server.accepted[0]?.bytes]).toEqual([["end"], 0]);
    expect([client.streams.openStreams, server.streams.openStreams]).toEqual([0, 0]);
  });

  it("a stream that opens opens the lower ones, which come in any order and once", () => {
    const server = new End({ role: "server" });
    for (const id of [8, 0, 12, 4]) server.streams.onStream(id, 0, Buffer.from(`${id}`), true);
    expect(server.accepted.map(({ stream }) => stream.id)).toEqual([8, 0, 12, 4]);
    for (const { stream } of server.accepted) stream.write(NOTHING, true);
    for (const packet of server.packets()) server.streams.onFramesAcked(packet.sent);
    expect(server.streams.openStreams).toBe(0);
    server.streams.onStream(4, 0, bytes(3), true);
    server.streams.onResetStream(8, 1, 1);
    expect(server.accepted).toHaveLength(4);
  });

  it("the highest id that is allowed costs no more than itself", () => {
    const server = new End({ role: "server", local: { initialMaxStreamsBidi: Number.MAX_SAFE_INTEGER } });
    const before = process.memoryUsage().heapUsed;
    server.streams.onStream(4 * 2 ** 50, 0, NOTHING, false);
    expect(server.streams.openStreams).toBe(1);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * KIB * KIB);
  });

  it("RESET_STREAM drops what has not gone out, and tells the peer once", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream.write(bytes(100), false);
    settle(client, server);
    asked.stream.write(bytes(100), false);
    asked.stream.reset(7);
    asked.stream.reset(8);
    expect(asked.stream.write(bytes(5), false)).toBe(true);
    const packet = client.packet();
    expect(packet?.sent.controls).toMatchObject([{ type: FrameType.RESET_STREAM, value: 7 }]);
    expect(packet?.sent.stream).toBeUndefined();
    server.receive(packet?.bytes ?? NOTHING);
    server.receive(packet?.bytes ?? NOTHING);
    expect(server.accepted[0]).toMatchObject({ bytes: 100, events: ["reset 7"] });
    expect(client.budget.held).toBe(0);
  });

  it("STOP_SENDING resets the other's side with its code; what arrives meanwhile is dropped", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream.write(bytes(3000), false);
    settle(client, server);
    const [answering] = server.accepted;
    answering?.stream.stopSending(9);
    asked.stream.write(bytes(500), false);
    const late = client.packet();
    server.receive(late?.bytes ?? NOTHING);
    settle(client, server);
    expect(answering).toMatchObject({ bytes: 3000, events: [] });
    expect(asked.events).toEqual(["stop 9"]);
    answering?.stream.write(NOTHING, true);
    settle(client, server);
    expect([client.streams.openStreams, server.streams.openStreams]).toEqual([0, 0]);
  });

  it("lost RESET_STREAM and STOP_SENDING go out again, until acknowledged or needless", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream.write(bytes(1), false);
    settle(client, server);
    asked.stream.reset(1);
    asked.stream.stopSending(2);
    const first = client.packet();
    if (first === undefined) throw new Error("nothing sent");
    client.streams.onFramesLost(first.sent);
    expect(controls(client)).toEqual([FrameType.RESET_STREAM, FrameType.STOP_SENDING]);
    // The peer ended by itself: nobody needs the STOP_SENDING any more.
    server.accepted[0]?.stream.write(NOTHING, true);
    client.receive(server.packet()?.bytes ?? NOTHING);
    client.streams.onFramesLost(first.sent);
    expect(controls(client)).toEqual([FrameType.RESET_STREAM]);
    client.streams.onFramesAcked(first.sent);
    client.streams.onFramesLost(first.sent);
    expect(client.streams.pending()).toBe(false);
    expect(client.streams.openStreams).toBe(0);
  });

  it("a sink may do anything from within: stop, reset, close", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream.write(bytes(5000), true);
    const packets = client.packets();
    const later = packets.pop();
    server.receive(packets[0]?.bytes ?? NOTHING);
    const [answering] = server.accepted;
    if (answering === undefined || later === undefined) throw new Error("no stream");
    // The last packet waits out of order; the chunk that closes the gap ends it all.
    server.receive(later.bytes);
    answering.onData = () => server.streams.close();
    for (const packet of packets.slice(1)) server.receive(packet.bytes);
    expect(answering.events).toEqual(["closed"]);
    expect(server.budget.held).toBe(0);
  });

  it("the end of the connection is told once, to those that were not over", () => {
    const { client, server } = pair();
    const one = client.open();
    const over = client.open();
    over.stream.write(NOTHING, true);
    settle(client, server);
    server.accepted.find(({ stream }) => stream.id === over.stream.id)?.stream.write(NOTHING, true);
    settle(client, server);
    one.stream.write(bytes(10), false);
    const thrower = client.open();
    thrower.onClosed = () => {
      throw new Error("from a sink");
    };
    const last = client.open();
    expect(() => client.streams.close()).toThrow("from a sink");
    client.streams.close();
    expect([one.events, over.events, last.events]).toEqual([["closed"], ["end"], ["closed"]]);
    expect(client.budget.held).toBe(0);
    expect(one.stream.write(bytes(1), true)).toBe(true);
    expect(client.streams.pending()).toBe(false);
  });
});

describe("what a peer must not do with streams", () => {
  const receive = (): End => {
    const server = new End({ role: "server", local: { initialMaxStreamsBidi: 10, initialMaxStreamsUni: 0 } });
    server.streams.onStream(0, 0, bytes(100), false);
    return server;
  };
  it.each<[string, (end: End) => void, RegExp]>([
    [
      "one byte above the stream's window",
      (end) => end.streams.onStream(0, 64 * KIB, bytes(1), false),
      /FLOW_CONTROL_ERROR/,
    ],
    ["a reset above the stream's window", (end) => end.streams.onResetStream(0, 0, 64 * KIB + 1), /FLOW_CONTROL_ERROR/],
    ["more streams than allowed", (end) => end.streams.onStream(40, 0, bytes(1), false), /STREAM_LIMIT_ERROR/],
    [
      "a one-way stream where none is allowed",
      (end) => end.streams.onStream(2, 0, bytes(1), false),
      /STREAM_LIMIT_ERROR/,
    ],
    [
      "STREAM on a stream that we have not opened",
      (end) => end.streams.onStream(1, 0, bytes(1), false),
      /STREAM_STATE_ERROR/,
    ],
    ["STREAM on our one-way stream", (end) => end.streams.onStream(3, 0, bytes(1), false), /STREAM_STATE_ERROR/],
    ["RESET_STREAM on our one-way stream", (end) => end.streams.onResetStream(3, 0, 0), /STREAM_STATE_ERROR/],
    ["STREAM_DATA_BLOCKED on our one-way stream", (end) => end.streams.onStreamDataBlocked(3, 0), /STREAM_STATE_ERROR/],
    ["MAX_STREAM_DATA on its own one-way stream", (end) => end.streams.onMaxStreamData(2, 9), /STREAM_STATE_ERROR/],
    ["STOP_SENDING on its own one-way stream", (end) => end.streams.onStopSending(2, 9), /STREAM_STATE_ERROR/],
    [
      "MAX_STREAM_DATA on a stream that we have not opened",
      (end) => end.streams.onMaxStreamData(1, 9),
      /STREAM_STATE_ERROR/,
    ],
    [
      "STOP_SENDING on a stream that we have not opened",
      (end) => end.streams.onStopSending(1, 9),
      /STREAM_STATE_ERROR/,
    ],
    ["an end before what was sent", (end) => end.streams.onStream(0, 0, bytes(50), true), /FINAL_SIZE_ERROR/],
    ["a reset before what was sent", (end) => end.streams.onResetStream(0, 0, 99), /FINAL_SIZE_ERROR/],
    [
      "data behind the end",
      (end) => {
        end.streams.onStream(0, 200, NOTHING, true);
        end.streams.onStream(0, 200, bytes(1), false);
      },
      /FINAL_SIZE_ERROR/,
    ],
    [
      "an end that moves",
      (end) => {
        end.streams.onStream(0, 200, NOTHING, true);
        end.streams.onResetStream(0, 0, 201);
      },
      /FINAL_SIZE_ERROR/,
    ],
    [
      "an end that moves back",
      (end) => {
        end.streams.onStream(0, 200, NOTHING, true);
        end.streams.onStream(0, 150, NOTHING, true);
      },
      /FINAL_SIZE_ERROR/,
    ],
  ])("%s", (_, act, error) => {
    expect(() => act(receive())).toThrow(error);
  });

  it("more than the connection's window, on streams that are all within theirs", () => {
    const server = new End({ role: "server", local: { initialMaxData: 128 * KIB } });
    server.streams.onStream(0, 64 * KIB - 1, bytes(1), false);
    server.streams.onStream(4, 64 * KIB - 1, bytes(1), false);
    // What has arrived is credited at once, gaps included; the peer just has not heard of it.
    expect(controls(server)).toEqual([FrameType.MAX_DATA]);
    const strict = new End({ role: "server", local: { initialMaxData: 1000, initialMaxStreamDataBidiRemote: 10_000 } });
    expect(() => strict.streams.onStream(0, 1000, bytes(1), false)).toThrow(/FLOW_CONTROL_ERROR/);
  });

  it("a flood of gaps ends the stream, not the connection", () => {
    const server = new End({ role: "server" });
    for (let i = 0; i <= MAX_STREAM_PIECES; i++) server.streams.onStream(0, 2 * i + 1, bytes(1), false);
    expect(server.accepted[0]?.events).toEqual(["evicted"]);
    expect(server.budget.held).toBe(0);
    expect(controls(server)).toEqual([FrameType.RESET_STREAM, FrameType.STOP_SENDING]);
  });

  it("1-byte frames count for more than a byte", () => {
    const server = new End({ role: "server", budget: createMemoryBudget(100 * KIB) });
    server.pauseNew = true;
    for (let i = 0; i < 2000 && server.accepted[0]?.events.length !== 1; i++) {
      server.streams.onStream(0, i, bytes(1), false);
    }
    expect(server.accepted[0]?.events).toEqual(["evicted"]);
    expect(server.accepted[0]?.bytes).toBeLessThan(1000);
  });
});
