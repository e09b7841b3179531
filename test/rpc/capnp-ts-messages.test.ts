/** capnp-ts as a second opinion: its classes of rpc.capnp on our messages, and our reading of its. */
import { Message, Struct } from "capnp-ts";
import {
  Call_SendResultsTo_Which,
  CapDescriptor_Which,
  Disembargo_Context_Which,
  Exception_Type,
  Message as RpcMessage,
  Message_Which,
  MessageTarget_Which,
  Return_Which,
} from "capnp-ts/src/std/rpc.capnp.js";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRoot } from "../../src/protocol/capnp/reader.ts";
import * as ours from "../../src/rpc/message-writing.ts";
import {
  type MessageTarget,
  readCall,
  readDisembargo,
  readException,
  readFinish,
  readRelease,
  readReturn,
} from "../../src/rpc/messages.ts";
import { capnpTs } from "../protocol/capnp/capnp-ts-oracle.ts";
import { frameOf } from "../protocol/capnp/frames.ts";
import { samples, text, uint16 } from "../protocol/capnp/values.ts";

const runs = { seed: 20261122, numRuns: 1000 };
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const target = fc.oneof(
  uint32.map((id): MessageTarget => ({ kind: "importedCap", id })),
  uint32.map((questionId): MessageTarget => ({ kind: "promisedAnswer", questionId, direct: true })),
);

function theirs(bytes: Uint8Array): RpcMessage {
  return new Message(bytes, false).getRoot(RpcMessage);
}

/** The body of a message that capnp-ts writes, as our reader sees it. */
function body(fill: (message: RpcMessage) => void) {
  const message = new Message();
  fill(message.initRoot(RpcMessage));
  return readRoot(frameOf(new Uint8Array(message.toArrayBuffer()))).struct(0);
}

function theirTarget(message: ReturnType<RpcMessage["getCall"]>["target"]): MessageTarget {
  if (message.which() === MessageTarget_Which.IMPORTED_CAP) return { kind: "importedCap", id: message.importedCap };
  const { questionId, transform } = message.promisedAnswer;
  return { kind: "promisedAnswer", questionId, direct: transform.getLength() === 0 };
}

describe("rpc.capnp as capnp-ts has it, 1,000 values each", () => {
  it("Bootstrap, Finish, Release", () => {
    fc.assert(
      fc.property(uint32, uint32, fc.boolean(), (id, count, release) => {
        expect(theirs(ours.bootstrapMessage(id)).bootstrap.questionId).toBe(id);
        const { finish } = theirs(ours.finishMessage(id, release));
        expect([finish.questionId, finish.releaseResultCaps]).toStrictEqual([id, release]);
        const released = theirs(ours.releaseMessage(id, count)).release;
        expect([released.id, released.referenceCount]).toStrictEqual([id, count]);

        const finished = body((message) => {
          const written = message.initFinish();
          written.questionId = id;
          written.releaseResultCaps = release;
        });
        expect(readFinish(finished)).toStrictEqual({ questionId: id, releaseResultCaps: release });
        const back = body((message) => {
          const written = message.initRelease();
          written.id = id;
          written.referenceCount = count;
        });
        expect(readRelease(back)).toStrictEqual({ id, referenceCount: count });
        expect(body((message) => void (message.initBootstrap().questionId = id)).uint32(0)).toBe(id);
      }),
      runs,
    );
  });

  it("Call", () => {
    const { type, values } = samples.updateLocalConfigurationParams;
    fc.assert(
      fc.property(uint32, uint64, uint16, target, values, (questionId, interfaceId, methodId, on, params) => {
        const { call } = theirs(ours.callMessage({ questionId, interfaceId, methodId, target: on }, type, params));
        expect([call.questionId, call.interfaceId, call.methodId]).toStrictEqual([questionId, interfaceId, methodId]);
        expect(call.sendResultsTo.which()).toBe(Call_SendResultsTo_Which.CALLER);
        expect(theirTarget(call.target)).toStrictEqual(on);
        expect(call.params.capTable.getLength()).toBe(0);
        const content = Struct.getStruct(0, capnpTs.updateLocalConfigurationParams.type, call.params);
        expect(capnpTs.updateLocalConfigurationParams.read(content)).toEqual(params);

        const read = body((message) => {
          const written = message.initCall();
          written.questionId = questionId;
          written.interfaceId = interfaceId;
          written.methodId = methodId;
          const place = written.initTarget();
          if (on.kind === "importedCap") place.importedCap = on.id;
          else if (on.kind === "promisedAnswer") {
            const promised = place.initPromisedAnswer();
            promised.questionId = on.questionId;
            promised.initTransform(0);
          }
          const payload = written.initParams();
          const oracle = capnpTs.updateLocalConfigurationParams;
          oracle.write(Struct.initStructAt(0, oracle.type, payload), params);
          const descriptor = payload.initCapTable(1).get(0);
          descriptor.senderHosted = questionId;
        });
        const { params: payload, ...rest } = readCall(read);
        expect(rest).toStrictEqual({ questionId, interfaceId, methodId, sendResultsToCaller: true, target: on });
        expect(payload.capTable).toStrictEqual([{ which: CapDescriptor_Which.SENDER_HOSTED, id: questionId }]);
        expect(type.read(payload.struct.struct(0))).toEqual(params);
      }),
      runs,
    );
  });

  it("Return", () => {
    const { type, values } = samples.registerConnectionResults;
    fc.assert(
      fc.property(uint32, fc.boolean(), values, text, uint32, (answerId, release, results, reason, id) => {
        const oracle = capnpTs.registerConnectionResults;
        const returned = theirs(ours.resultsMessage(answerId, release, type, results)).return;
        expect([returned.answerId, returned.releaseParamCaps]).toStrictEqual([answerId, release]);
        expect(oracle.read(Struct.getStruct(0, oracle.type, returned.results))).toEqual(results);

        const failed = theirs(ours.exceptionMessage(answerId, release, 3, reason)).return;
        expect([failed.answerId, failed.releaseParamCaps, failed.which()]).toStrictEqual([
          answerId,
          release,
          Return_Which.EXCEPTION,
        ]);
        expect([failed.exception.type, failed.exception.reason]).toStrictEqual([3, reason]);
        expect(theirs(ours.canceledMessage(answerId, release)).return.which()).toBe(Return_Which.CANCELED);

        const { capTable } = theirs(ours.bootstrapReturnMessage(answerId, id)).return.results;
        expect([capTable.getLength(), capTable.get(0).senderHosted]).toStrictEqual([1, id]);

        const read = readReturn(
          body((message) => {
            const written = message.initReturn();
            written.answerId = answerId;
            oracle.write(Struct.initStructAt(0, oracle.type, written.initResults()), results);
          }),
        );
        expect(read.answerId).toBe(answerId);
        if (read.outcome.kind !== "results") throw new Error(read.outcome.kind);
        expect(type.read(read.outcome.payload.struct.struct(0))).toEqual(results);
        const refused = readReturn(
          body((message) => {
            const exception = message.initReturn().initException();
            exception.reason = reason;
            exception.type = Exception_Type.OVERLOADED;
          }),
        );
        expect(refused.outcome).toStrictEqual({ kind: "exception", exception: { type: "overloaded", reason } });
      }),
      runs,
    );
  });

  it("Abort, Unimplemented, Disembargo", () => {
    fc.assert(
      fc.property(text, uint32, target, (reason, id, on) => {
        expect(theirs(ours.abortMessage(reason)).abort.reason).toBe(reason);
        expect(theirs(ours.unimplementedMessage(10)).unimplemented.which()).toBe(Message_Which.PROVIDE);
        const { disembargo } = theirs(ours.receiverLoopbackMessage(id, on));
        expect(disembargo.context.which()).toBe(Disembargo_Context_Which.RECEIVER_LOOPBACK);
        expect(disembargo.context.receiverLoopback).toBe(id);
        expect(theirTarget(disembargo.target)).toStrictEqual(on);

        expect(readException(body((message) => void (message.initAbort().reason = reason)))).toStrictEqual({
          type: "failed",
          reason,
        });
        const loopback = body((message) => {
          const written = message.initDisembargo();
          written.initTarget().importedCap = id;
          written.initContext().senderLoopback = id;
        });
        expect(readDisembargo(loopback)).toStrictEqual({
          id,
          senderLoopback: true,
          receiverLoopback: false,
          target: { kind: "importedCap", id },
        });
      }),
      runs,
    );
  });
});
