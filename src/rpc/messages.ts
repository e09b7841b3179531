/**
 * The messages of a two-party RPC connection (wire § 9.1; data words/pointers, offsets in bytes):
 *
 *     Message 1/1         u16@0 kind │ p0 body
 *     Bootstrap 1/1       u32@0 questionId
 *     Call 3/3            u32@0 questionId, u16@4 methodId, u16@6 sendResultsTo (0 caller), u64@8 interfaceId │ p0 MessageTarget │ p1 Payload
 *     MessageTarget 1/1   u32@0 importedCap, u16@4 which (0 importedCap, 1 promisedAnswer) │ p0 PromisedAnswer
 *     PromisedAnswer 1/1  u32@0 questionId │ p0 transform List(Op)
 *     Op 1/0              u16@0 which (0 noop, 1 getPointerField), u16@2 field
 *     Payload 0/2         p0 content │ p1 capTable List(CapDescriptor)
 *     CapDescriptor 1/1   u16@0 which, u32@4 id
 *     Return 2/1          u32@0 answerId, bit 32 not releaseParamCaps, u16@6 which │ p0 Payload or Exception
 *     Finish 1/0          u32@0 questionId, bit 32 not releaseResultCaps
 *     Release 1/0         u32@0 id, u32@4 referenceCount
 *     Exception 1/1       u16@4 type │ p0 reason Text
 *     Disembargo 1/1      u32@0 id, u16@4 which (0 senderLoopback, 1 receiverLoopback) │ p0 MessageTarget
 *
 * The two release bits are true by default and therefore stored inverted. Here they are read; `message-writing.ts` writes them.
 */
import { overLimit } from "../protocol/capnp/errors.ts";
import type { StructReader } from "../protocol/capnp/reader.ts";
import { MAX_CAPABILITIES, MAX_TRANSFORM_OPS } from "./limits.ts";

export const MESSAGE_UNIMPLEMENTED = 0;
export const MESSAGE_ABORT = 1;
export const MESSAGE_CALL = 2;
export const MESSAGE_RETURN = 3;
export const MESSAGE_FINISH = 4;
export const MESSAGE_RESOLVE = 5;
export const MESSAGE_RELEASE = 6;
export const MESSAGE_BOOTSTRAP = 8;
export const MESSAGE_DISEMBARGO = 13;

export const EXCEPTION_FAILED = 0;
export const EXCEPTION_UNIMPLEMENTED = 3;
const EXCEPTION_TYPES = ["failed", "overloaded", "disconnected", "unimplemented"];

export const CAP_SENDER_HOSTED = 1;
export const CAP_SENDER_PROMISE = 2;
export const CAP_THIRD_PARTY = 5;

export const TARGET_IMPORTED_CAP = 0;
export const TARGET_PROMISED_ANSWER = 1;
export const SEND_TO_CALLER = 0;
export const RETURN_RESULTS = 0;
export const RETURN_EXCEPTION = 1;
export const RETURN_CANCELED = 2;
const OP_NOOP = 0;
const LOOPBACK_SENDER = 0;
export const LOOPBACK_RECEIVER = 1;

/** What a call is made on. `direct` = no transform: the answer itself and not something inside of it. */
export type MessageTarget =
  | { readonly kind: "importedCap"; readonly id: number }
  | { readonly kind: "promisedAnswer"; readonly questionId: number; readonly direct: boolean }
  | { readonly kind: "unknown" };

export interface CapDescriptor {
  readonly which: number;
  readonly id: number;
}

export interface Payload {
  /** Pointer 0 is the content. */
  readonly struct: StructReader;
  readonly capTable: readonly CapDescriptor[];
}

export interface Call {
  readonly questionId: number;
  readonly interfaceId: bigint;
  readonly methodId: number;
  readonly sendResultsToCaller: boolean;
  readonly target: MessageTarget;
  readonly params: Payload;
}

export interface Exception {
  readonly type: string;
  readonly reason: string;
}

export type ReturnOutcome =
  | { readonly kind: "results"; readonly payload: Payload }
  | { readonly kind: "exception"; readonly exception: Exception }
  | { readonly kind: "canceled" }
  | { readonly kind: "unsupported"; readonly which: number };

export interface Return {
  readonly answerId: number;
  readonly outcome: ReturnOutcome;
}

export interface Disembargo {
  readonly id: number;
  readonly senderLoopback: boolean;
  readonly receiverLoopback: boolean;
  readonly target: MessageTarget;
}

function readTarget(struct: StructReader): MessageTarget {
  const which = struct.uint16(4);
  if (which === TARGET_IMPORTED_CAP) return { kind: "importedCap", id: struct.uint32(0) };
  if (which !== TARGET_PROMISED_ANSWER) return { kind: "unknown" };
  const promised = struct.struct(0);
  const transform = promised.list(0);
  if (transform.count > MAX_TRANSFORM_OPS) throw overLimit(`transform of ${transform.count} steps`);
  let direct = true;
  for (let i = 0; i < transform.count; i++) if (transform.at(i).uint16(0) !== OP_NOOP) direct = false;
  return { kind: "promisedAnswer", questionId: promised.uint32(0), direct };
}

function readPayload(struct: StructReader): Payload {
  const list = struct.list(1);
  if (list.count > MAX_CAPABILITIES) throw overLimit(`capTable of ${list.count} capabilities`);
  const capTable: CapDescriptor[] = [];
  for (let i = 0; i < list.count; i++) {
    const descriptor = list.at(i);
    capTable.push({ which: descriptor.uint16(0), id: descriptor.uint32(4) });
  }
  return { struct, capTable };
}

export function readException(struct: StructReader): Exception {
  const type = struct.uint16(4);
  return { type: EXCEPTION_TYPES[type] ?? `type ${type}`, reason: struct.text(0) };
}

export function readCall(struct: StructReader): Call {
  return {
    questionId: struct.uint32(0),
    methodId: struct.uint16(4),
    sendResultsToCaller: struct.uint16(6) === SEND_TO_CALLER,
    interfaceId: struct.uint64(8),
    target: readTarget(struct.struct(0)),
    params: readPayload(struct.struct(1)),
  };
}

export function readReturn(struct: StructReader): Return {
  const which = struct.uint16(6);
  const answerId = struct.uint32(0);
  if (which === RETURN_RESULTS)
    return { answerId, outcome: { kind: "results", payload: readPayload(struct.struct(0)) } };
  if (which === RETURN_EXCEPTION)
    return { answerId, outcome: { kind: "exception", exception: readException(struct.struct(0)) } };
  if (which === RETURN_CANCELED) return { answerId, outcome: { kind: "canceled" } };
  return { answerId, outcome: { kind: "unsupported", which } };
}

export function readFinish(struct: StructReader): { readonly questionId: number; readonly releaseResultCaps: boolean } {
  return { questionId: struct.uint32(0), releaseResultCaps: !struct.bit(32) };
}

export function readRelease(struct: StructReader): { readonly id: number; readonly referenceCount: number } {
  return { id: struct.uint32(0), referenceCount: struct.uint32(4) };
}

export function readDisembargo(struct: StructReader): Disembargo {
  const which = struct.uint16(4);
  return {
    id: struct.uint32(0),
    senderLoopback: which === LOOPBACK_SENDER,
    receiverLoopback: which === LOOPBACK_RECEIVER,
    target: readTarget(struct.struct(0)),
  };
}
