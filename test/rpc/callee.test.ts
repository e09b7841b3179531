import { describe, expect, it } from "vitest";
import { emptyType } from "../../src/protocol/capnp/struct-type.ts";
import { type StructWriter } from "../../src/protocol/capnp/writer.ts";
import { RpcConnection } from "../../src/rpc/connection.ts";
import {
  bootstrapMessage,
  bootstrapReturnMessage,
  callMessage,
  canceledMessage,
  exceptionMessage,
  finishMessage,
  releaseMessage,
} from "../../src/rpc/message-writing.ts";
import { type MessageTarget } from "../../src/rpc/messages.ts";
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

describe("questions of the peer", () => {
  it("64 that run are answered, the 65th ends the connection and stops them all", async () => {
    let stopped = 0;
    const peer = serve(
      (signal) =>
        new Promise(() => {
          signal.addEventListener("abort", () => stopped++);
        }),
    );
    const calls = Array.from({ length: 63 }, (_, i) => call(i + 1));
    expect(await peer.exchange(bootstrapMessage(0), ...calls)).toStrictEqual([hex(bootstrapReturnMessage(0, 0))]);
    await aborts(peer, "more than 64 questions", call(64));
    expect(stopped).toBe(63);
  });

  it("any number is answered, when they are finished", async () => {
    const peer = serve();
    await peer.exchange(bootstrapMessage(0));
    for (let i = 0; i < 200; i++)
      expect(await peer.exchange(finishMessage(1, false), call(1))).toStrictEqual([answered(1)]);
  });

  it("calls that are finished early still count while their handlers run", async () => {
    const peer = serve(() => new Promise(() => undefined));
    await peer.exchange(bootstrapMessage(0));
    for (let i = 0; i < 64; i++)
      expect(await peer.exchange(call(1), finishMessage(1, true))).toStrictEqual([hex(canceledMessage(1, false))]);
    await aborts(peer, "more than 64 questions", call(1));
  });

  it("65 bootstraps that are never finished end the connection; finished ones don't", async () => {
    const polite = serve();
    for (let i = 0; i < 100; i++) await polite.exchange(bootstrapMessage(i), finishMessage(i, true));
    expect(polite.channel.ended).toBe(false);
    await aborts(serve(), "more than 64 questions", ...Array.from({ length: 65 }, (_, i) => bootstrapMessage(i)));
  });

  it("an id asked again before its Finish ends the connection, after it it is free", async () => {
    const peer = serve();
    await peer.exchange(bootstrapMessage(0), call(1), finishMessage(1, false));
    expect(await peer.exchange(call(1))).toStrictEqual([answered(1)]);
    await aborts(peer, "question 1 asked again", call(1));
  });

  it("an early Finish cancels the handler and is answered at once, and only once", async () => {
    let cancelled: unknown;
    let done: (() => void) | undefined;
    const peer = serve(
      (signal) =>
        new Promise((resolve) => {
          done = resolve;
          signal.addEventListener("abort", () => {
            cancelled = signal.reason;
          });
        }),
    );
    await peer.exchange(bootstrapMessage(0), call(1));
    expect(await peer.exchange(finishMessage(1, true))).toStrictEqual([hex(canceledMessage(1, false))]);
    expect(cancelled).toMatchObject({ code: "ERR_UNDERPASS_RPC_CANCELLED" });
    done?.();
    expect(await peer.exchange()).toStrictEqual([]);
    expect(await peer.exchange(finishMessage(1, true))).toStrictEqual([]);
  });
});

describe("targets", () => {
  const notFound = (id: number): string => hex(exceptionMessage(id, false, 0, "target not found"));

  it.each<[string, MessageTarget]>([
    ["a capability that we never exported", { kind: "importedCap", id: 7 }],
    ["ours, before any bootstrap", CAPABILITY],
    ["the answer to an unknown question", { kind: "promisedAnswer", questionId: 9, direct: true }],
    ["the answer to the call itself", { kind: "promisedAnswer", questionId: 1, direct: true }],
  ])("%s: an exception", async (_, target) => {
    expect(await serve().exchange(call(1, target))).toStrictEqual([notFound(1)]);
  });

  it("something inside of the bootstrap's answer: an exception; after steps that do nothing: ours", async () => {
    const withOp = (which: number): Uint8Array =>
      rpcMessage(2, (struct) => {
        const body = struct.init(0, 3, 3);
        body.uint32(0, 1);
        body.uint16(4, methodId);
        body.uint64(8, interfaceId);
        const target = body.init(0, 1, 1);
        target.uint16(4, 1);
        const op = { dataWords: 1, pointers: 0, write: (writer: StructWriter) => writer.uint16(0, which) };
        target.init(0, 1, 1).array(0, op, [undefined, undefined]);
      });
    expect(await serve().exchange(bootstrapMessage(0), withOp(1))).toContain(notFound(1));
    expect(await serve().exchange(bootstrapMessage(0), withOp(0))).toContain(answered(1));
  });

  it("of a kind that is not known: an exception", async () => {
    const unknown = rpcMessage(2, (struct) => {
      const body = struct.init(0, 3, 3);
      body.uint32(0, 1);
      body.init(0, 1, 1).uint16(4, 9);
    });
    expect(await serve().exchange(unknown)).toStrictEqual([notFound(1)]);
  });

  it("a method or an interface that is not there: an exception of its own type, and not silence", async () => {
    const unimplemented = callMessage(
      { questionId: 1, interfaceId, methodId: 9, target: BOOTSTRAPPED },
      emptyType,
      undefined,
    );
    const elsewhere = callMessage(
      { questionId: 2, interfaceId: 5n, methodId: 0, target: BOOTSTRAPPED },
      emptyType,
      undefined,
    );
    expect((await serve().exchange(bootstrapMessage(0), unimplemented, elsewhere)).slice(1)).toStrictEqual([
      hex(exceptionMessage(1, false, 3, "method 9 of interface 0xf71695ec7fe85497 is not implemented")),
      hex(exceptionMessage(2, false, 3, "method 0 of interface 0x5 is not implemented")),
    ]);
  });

  it("nothing is offered by a connection that serves nothing", async () => {
    const channel = new ScriptedChannel();
    connections.push(new RpcConnection(channel, []));
    channel.deliver(bootstrapMessage(0));
    expect(channel.take()).toStrictEqual([hex(exceptionMessage(0, false, 0, "no capability is offered here"))]);
  });

  it("ours lives until its last reference is released, and comes back with the next bootstrap", async () => {
    const peer = serve();
    await peer.exchange(bootstrapMessage(0), finishMessage(0, false), bootstrapMessage(0), finishMessage(0, false));
    expect(await peer.exchange(releaseMessage(0, 1), call(1, CAPABILITY))).toStrictEqual([answered(1)]);
    expect(await peer.exchange(releaseMessage(0, 1), call(2, CAPABILITY))).toStrictEqual([notFound(2)]);
    expect(await peer.exchange(bootstrapMessage(0), call(3, CAPABILITY))).toContain(answered(3));
    // A Finish that releases the result's capabilities counts as a Release.
    expect(await peer.exchange(finishMessage(0, true), call(4, CAPABILITY))).toStrictEqual([notFound(4)]);
  });
});
