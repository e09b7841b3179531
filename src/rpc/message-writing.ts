/** The messages of `messages.ts`, written: each as one whole frame, with the objects in cloudflared's order. */
import { encodeMessage, type StructWriter, type StructWriting } from "../protocol/capnp/writer.ts";
import {
  CAP_SENDER_HOSTED,
  EXCEPTION_FAILED,
  LOOPBACK_RECEIVER,
  MESSAGE_ABORT,
  MESSAGE_BOOTSTRAP,
  MESSAGE_CALL,
  MESSAGE_DISEMBARGO,
  MESSAGE_FINISH,
  MESSAGE_RELEASE,
  MESSAGE_RETURN,
  MESSAGE_UNIMPLEMENTED,
  type MessageTarget,
  RETURN_CANCELED,
  RETURN_EXCEPTION,
  RETURN_RESULTS,
  SEND_TO_CALLER,
  TARGET_IMPORTED_CAP,
  TARGET_PROMISED_ANSWER,
} from "./messages.ts";

function message(kind: number, body: (message: StructWriter) => void): Uint8Array {
  return encodeMessage(
    {
      dataWords: 1,
      pointers: 1,
      write(struct) {
        struct.uint16(0, kind);
        body(struct);
      },
    },
    undefined,
  );
}

function writeTarget(struct: StructWriter, index: number, target: MessageTarget): void {
  const body = struct.init(index, 1, 1);
  if (target.kind === "importedCap") {
    body.uint32(0, target.id);
    body.uint16(4, TARGET_IMPORTED_CAP);
  } else if (target.kind === "promisedAnswer") {
    body.uint16(4, TARGET_PROMISED_ANSWER);
    const promised = body.init(0, 1, 1);
    promised.uint32(0, target.questionId);
    promised.emptyArray(0, 1, 0);
  }
}

/** A payload without capabilities. Its capTable is an empty list and not null, as cloudflared writes it. */
function writePayload<T>(struct: StructWriter, index: number, type: StructWriting<T>, value: T): void {
  const payload = struct.init(index, 0, 2);
  payload.struct(0, type, value);
  payload.emptyArray(1, 1, 1);
}

function writeException(struct: StructWriter, type: number, reason: string): void {
  const exception = struct.init(0, 1, 1);
  exception.uint16(4, type);
  exception.text(0, reason);
}

function returned(answerId: number, which: number, releaseParamCaps: boolean, body: (struct: StructWriter) => void) {
  return message(MESSAGE_RETURN, (struct) => {
    const answer = struct.init(0, 2, 1);
    answer.uint32(0, answerId);
    answer.bit(32, !releaseParamCaps);
    answer.uint16(6, which);
    body(answer);
  });
}

export function bootstrapMessage(questionId: number): Uint8Array {
  return message(MESSAGE_BOOTSTRAP, (struct) => struct.init(0, 1, 1).uint32(0, questionId));
}

export function callMessage<P>(
  call: { questionId: number; interfaceId: bigint; methodId: number; target: MessageTarget },
  type: StructWriting<P>,
  params: P,
): Uint8Array {
  return message(MESSAGE_CALL, (struct) => {
    const body = struct.init(0, 3, 3);
    body.uint32(0, call.questionId);
    body.uint16(4, call.methodId);
    body.uint16(6, SEND_TO_CALLER);
    body.uint64(8, call.interfaceId);
    writeTarget(body, 0, call.target);
    writePayload(body, 1, type, params);
  });
}

const senderHosted: StructWriting<number> = {
  dataWords: 1,
  pointers: 1,
  write(struct, id) {
    struct.uint16(0, CAP_SENDER_HOSTED);
    struct.uint32(4, id);
  },
};

export function bootstrapReturnMessage(answerId: number, exportId: number): Uint8Array {
  return returned(answerId, RETURN_RESULTS, false, (answer) => {
    const payload = answer.init(0, 0, 2);
    payload.capability(0, 0);
    payload.array(1, senderHosted, [exportId]);
  });
}

export function resultsMessage<R>(
  answerId: number,
  releaseParamCaps: boolean,
  type: StructWriting<R>,
  results: R,
): Uint8Array {
  return returned(answerId, RETURN_RESULTS, releaseParamCaps, (answer) => writePayload(answer, 0, type, results));
}

export function exceptionMessage(
  answerId: number,
  releaseParamCaps: boolean,
  type: number,
  reason: string,
): Uint8Array {
  return returned(answerId, RETURN_EXCEPTION, releaseParamCaps, (answer) => writeException(answer, type, reason));
}

export function canceledMessage(answerId: number, releaseParamCaps: boolean): Uint8Array {
  return returned(answerId, RETURN_CANCELED, releaseParamCaps, () => undefined);
}

export function finishMessage(questionId: number, releaseResultCaps: boolean): Uint8Array {
  return message(MESSAGE_FINISH, (struct) => {
    const body = struct.init(0, 1, 0);
    body.uint32(0, questionId);
    body.bit(32, !releaseResultCaps);
  });
}

export function releaseMessage(id: number, referenceCount: number): Uint8Array {
  return message(MESSAGE_RELEASE, (struct) => {
    const body = struct.init(0, 1, 0);
    body.uint32(0, id);
    body.uint32(4, referenceCount);
  });
}

export function abortMessage(reason: string): Uint8Array {
  return message(MESSAGE_ABORT, (struct) => writeException(struct, EXCEPTION_FAILED, reason));
}

/** Names the kind that was not understood and nothing else of it: what the peer wrote is not copied back. */
export function unimplementedMessage(kind: number): Uint8Array {
  return message(MESSAGE_UNIMPLEMENTED, (struct) => struct.init(0, 1, 1).uint16(0, kind));
}

export function receiverLoopbackMessage(id: number, target: MessageTarget): Uint8Array {
  return message(MESSAGE_DISEMBARGO, (struct) => {
    const body = struct.init(0, 1, 1);
    body.uint32(0, id);
    body.uint16(4, LOOPBACK_RECEIVER);
    writeTarget(body, 0, target);
  });
}
