/** What a peer may do to an RPC connection: it is answered, or the connection is aborted, and others live on. */
import { describe, expect, it, vi } from "vitest";
import { emptyType } from "../../src/protocol/capnp/struct-type.ts";
import { type StructWriter } from "../../src/protocol/capnp/writer.ts";
import { RpcConnection } from "../../src/rpc/connection.ts";
import { MAX_MESSAGES } from "../../src/rpc/limits.ts";
import {
  abortMessage,
  bootstrapMessage,
  bootstrapReturnMessage,
  canceledMessage,
  finishMessage,
  receiverLoopbackMessage,
  releaseMessage,
  resultsMessage,
  unimplementedMessage,
} from "../../src/rpc/message-writing.ts";
import { type MessageTarget } from "../../src/rpc/messages.ts";
import { unregisterConnection } from "../../src/rpc/methods.ts";
import { message } from "../protocol/capnp/frames.ts";
import { ScriptedChannel } from "./channels.ts";
import {
  aborts,
  answered,
  BOOTSTRAPPED,
  CAPABILITY,
  call,
  connections,
  hex,
  interfaceId,
  methodId,
  rpcMessage,
  serve,
} from "./peer.ts";

describe("messages that make no sense", () => {
  const word = (lo: number, hi: number): string => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(lo >>> 0, 0);
    bytes.writeUInt32LE(hi >>> 0, 4);
    return bytes.toString("hex");
  };
  const ZERO = word(0, 0);
  /** A Call whose target is a promised answer with this transform. */
  const transform = (pointer: string, ...words: string[]): Uint8Array =>
    message(
      word(0, 0x10001),
      word(2, 0),
      word(0, 0x30003),
      word(1, 0),
      ZERO,
      ZERO,
      word(8, 0x10001),
      ZERO,
      ZERO,
      word(0, 1),
      word(0, 0x10001),
      ZERO,
      pointer,
      ...words,
    );
  /** A Return of results whose payload has this capTable. */
  const capTable = (pointer: string, ...words: string[]): Uint8Array =>
    message(
      word(0, 0x10001),
      word(3, 0),
      word(0, 0x10002),
      word(0, 0),
      ZERO,
      word(0, 0x20000),
      ZERO,
      pointer,
      ...words,
    );

  it.each([
    ["a transform of 2^29 - 1 voids", transform(word(1, 0xfffffff8)), "list of another element size"],
    [
      "a transform of 1,000 steps",
      transform(word(1, 0x1f47), word(4000, 1), ...Array.from({ length: 1000 }, () => ZERO)),
      "transform",
    ],
    ["a capTable of 2^29 - 1 voids", capTable(word(1, 0xfffffff8)), "list of another element size"],
    [
      "a capTable of 2,000,000 structs of no bytes",
      capTable(word(1, 7), word(8_000_000, 0)),
      "many times its own size",
    ],
    ["a capTable that is a struct of 65,535 pointers", capTable(word(0, 0xffff0000), ZERO), "struct where a list"],
    [
      "a capTable of 65 capabilities",
      capTable(word(1, 130 * 8 + 7), word(260, 0x10001), ...Array.from({ length: 130 }, () => ZERO)),
      "65 capabilities",
    ],
    ["2^32 segments", Buffer.from("ffffffff", "hex"), "segments"],
    ["a message of 4 GiB", Buffer.from("00000000ffffffff", "hex"), "bytes"],
    ["a root that is a list", message(word(1, 0x42), ZERO), "list where a struct"],
  ])("%s", async (_, bytes, reason) => {
    const before = process.memoryUsage().heapUsed;
    await aborts(serve(), reason, bytes);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20 * 1024 * 1024);
  });

  it("does not disturb another connection", async () => {
    const other = serve();
    await aborts(serve(), "segments", Buffer.from("ffffffff", "hex"));
    expect(await other.exchange(bootstrapMessage(0), call(1))).toStrictEqual([
      hex(bootstrapReturnMessage(0, 0)),
      answered(1),
    ]);
  });

  it("nothing is read behind one", async () => {
    const peer = serve();
    await aborts(peer, "segments", Buffer.concat([Buffer.from("ffffffff", "hex"), bootstrapMessage(0)]));
    peer.channel.deliver(bootstrapMessage(0));
    expect(peer.channel.take()).toStrictEqual([]);
  });
});

describe("messages out of turn", () => {
  it("a Return for a question that was not asked ends the connection", async () => {
    await aborts(serve(), "Return for question 7", canceledMessage(7, false));
  });

  it("Finish and Release of what is not there, or too much of it, change nothing", async () => {
    const peer = serve();
    expect(
      await peer.exchange(finishMessage(9, true), releaseMessage(9, 1), releaseMessage(0, 0xffffffff)),
    ).toStrictEqual([]);
    expect(await peer.exchange(bootstrapMessage(0), call(1, CAPABILITY))).toContain(answered(1));
  });

  it.each([2, 3, 4, 5, 77])("a Return of kind %i fails the call, and lives on", async (which) => {
    const channel = new ScriptedChannel();
    const connection = new RpcConnection(channel, []);
    connections.push(connection);
    const failed = expect(connection.call(unregisterConnection, undefined, { timeoutMs: 5000 })).rejects.toThrow(
      which === 2 ? "the peer cancelled the call" : `a Return of kind ${which}`,
    );
    channel.take();
    channel.deliver(
      rpcMessage(3, (struct) => {
        const answer = struct.init(0, 2, 1);
        answer.uint32(0, 1);
        answer.uint16(6, which);
      }),
    );
    await failed;
    expect(channel.take()).toStrictEqual([hex(finishMessage(1, true))]);
    expect(channel.ended).toBe(false);
  });

  it("gives back capabilities that come unasked with results", async () => {
    const channel = new ScriptedChannel();
    const connection = new RpcConnection(channel, []);
    connections.push(connection);
    const call = connection.call(unregisterConnection, undefined, { timeoutMs: 5000 });
    channel.take();
    const capability = { dataWords: 1, pointers: 1, write: (struct: StructWriter) => struct.uint16(0, 1) };
    channel.deliver(
      rpcMessage(3, (struct) => {
        const answer = struct.init(0, 2, 1);
        answer.uint32(0, 1);
        const payload = answer.init(0, 0, 2);
        payload.struct(0, emptyType, undefined);
        payload.array(1, capability, [undefined]);
      }),
    );
    await call;
    expect(channel.take()).toStrictEqual([hex(finishMessage(1, true))]);
  });

  it("gives back capabilities that come with a call", async () => {
    const withCap = rpcMessage(2, (struct) => {
      const body = struct.init(0, 3, 3);
      body.uint32(0, 1);
      body.uint16(4, methodId);
      body.uint64(8, interfaceId);
      body.init(0, 1, 1).uint16(4, 1);
      const capability = { dataWords: 1, pointers: 1, write: (writer: StructWriter) => writer.uint16(0, 1) };
      body.init(1, 0, 2).array(1, capability, [undefined]);
    });
    expect(await serve().exchange(bootstrapMessage(0), withCap)).toContain(
      hex(resultsMessage(1, true, emptyType, undefined)),
    );
  });

  it.each([
    [
      "capabilities of a third party",
      (body: StructWriter) => {
        const capability = { dataWords: 1, pointers: 1, write: (writer: StructWriter) => writer.uint16(0, 5) };
        body.init(1, 0, 2).array(1, capability, [undefined]);
      },
    ],
    ["results that are to go elsewhere", (body: StructWriter) => body.uint16(6, 1)],
  ])("a Call with %s is not implemented", async (_, extra) => {
    const odd = rpcMessage(2, (struct) => extra(struct.init(0, 3, 3)));
    const peer = serve();
    expect(await peer.exchange(odd)).toStrictEqual([hex(unimplementedMessage(2))]);
    expect(await peer.exchange(bootstrapMessage(0))).toStrictEqual([hex(bootstrapReturnMessage(0, 0))]);
  });

  it.each([200, 7, 9, 10, 11, 12])("message kind %i is named back and nothing of it is copied", async (kind) => {
    const large = rpcMessage(kind, (struct) => struct.text(0, "x".repeat(1_000_000)));
    expect(await serve().exchange(large)).toStrictEqual([hex(unimplementedMessage(kind))]);
  });

  it("Resolve, and Unimplemented however deep, are passed over", async () => {
    const nested = rpcMessage(0, (struct) => {
      let inner = struct;
      for (let i = 0; i < 10_000; i++) inner = inner.init(0, 1, 1);
    });
    const resolve = rpcMessage(5, (struct) => struct.init(0, 1, 1));
    const peer = serve();
    expect(await peer.exchange(nested, resolve, unimplementedMessage(2))).toStrictEqual([]);
    expect(peer.channel.ended).toBe(false);
  });

  it("a disembargo of our capability loops back, any other ends the connection", async () => {
    const loopback = (id: number, target: MessageTarget): Uint8Array => {
      // A receiverLoopback with its kind put back to senderLoopback.
      const bytes = Buffer.from(receiverLoopbackMessage(id, target));
      bytes.writeUInt16LE(0, 36);
      return bytes;
    };
    const peer = serve();
    expect(await peer.exchange(bootstrapMessage(0), loopback(5, BOOTSTRAPPED), loopback(6, CAPABILITY))).toStrictEqual([
      hex(bootstrapReturnMessage(0, 0)),
      hex(receiverLoopbackMessage(5, BOOTSTRAPPED)),
      hex(receiverLoopbackMessage(6, CAPABILITY)),
    ]);
    await aborts(peer, "disembargo", loopback(7, { kind: "importedCap", id: 3 }));
    await aborts(serve(), "disembargo", receiverLoopbackMessage(1, CAPABILITY));
    const provide = rpcMessage(13, (struct) => struct.init(0, 1, 1).uint16(4, 3));
    expect(await serve().exchange(provide)).toStrictEqual([hex(unimplementedMessage(13))]);
  });

  it("an Abort with a reason of 1 MiB ends the connection, and is cut short", async () => {
    const peer = serve();
    expect(await peer.exchange(abortMessage("x".repeat(1024 * 1024)))).toStrictEqual([]);
    const error = await peer.connection.ended;
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_RPC_ABORTED" });
    expect(error?.message.length).toBeLessThan(1100);
    expect(peer.channel.ended).toBe(true);
  });

  it("what it throws is cut short before it is sent", async () => {
    const peer = serve(() => {
      throw new Error("x".repeat(1024 * 1024));
    });
    const [, answer] = await peer.exchange(bootstrapMessage(0), call(1));
    expect(answer?.length).toBeLessThan(3000);
  });

  it("a flood of messages ends the connection before their answers pile up", async () => {
    const peer = serve();
    const flood = Buffer.concat(Array.from({ length: MAX_MESSAGES + 1 }, () => rpcMessage(200, () => undefined)));
    await aborts(peer, "more than 10000 messages", flood);
  });

  it("nothing behind an Abort in the same chunk is acted upon", async () => {
    const handler = vi.fn();
    const peer = serve(handler);
    expect(await peer.exchange(Buffer.concat([bootstrapMessage(0), abortMessage("bye"), call(1)]))).toHaveLength(1);
    expect(handler).not.toHaveBeenCalled();
  });

  it("bytes after the end are passed over", async () => {
    const peer = serve();
    peer.connection.close("done");
    peer.channel.take();
    peer.channel.deliver(bootstrapMessage(0));
    peer.channel.onEnd(new Error("late"));
    expect(peer.channel.take()).toStrictEqual([]);
    expect(await peer.connection.ended).toBeUndefined();
  });

  it("a channel that can't even be ended does no harm", async () => {
    const peer = serve();
    vi.spyOn(peer.channel, "end").mockImplementation(() => {
      throw new Error("gone");
    });
    peer.connection.close();
    expect(await peer.connection.ended).toBeUndefined();
  });
});
