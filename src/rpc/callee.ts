/** The answering half of an RPC connection: one capability that is handed out on bootstrap, and the calls made on it. */
import { messageOf, RpcError } from "./errors.ts";
import { MAX_ANSWERS, MAX_REMOTE_TEXT } from "./limits.ts";
import {
  bootstrapReturnMessage,
  canceledMessage,
  exceptionMessage,
  receiverLoopbackMessage,
  resultsMessage,
  unimplementedMessage,
} from "./message-writing.ts";
import {
  CAP_THIRD_PARTY,
  type Call,
  type Disembargo,
  EXCEPTION_FAILED,
  EXCEPTION_UNIMPLEMENTED,
  MESSAGE_CALL,
  MESSAGE_DISEMBARGO,
  type MessageTarget,
} from "./messages.ts";
import type { Method } from "./methods.ts";
import type { StructReader } from "../protocol/capnp/reader.ts";

/** Writes the Return of a call that went well. */
type WriteReturn = (answerId: number, releaseParamCaps: boolean) => Uint8Array;

/** A method and what it does. `invoke` reads the params before it first yields. */
export interface Implementation {
  readonly interfaceId: bigint;
  readonly methodId: number;
  invoke(params: StructReader, signal: AbortSignal): Promise<WriteReturn>;
}

export function implement<P, R>(
  method: Method<P, R>,
  handler: (params: P, signal: AbortSignal) => R | Promise<R>,
): Implementation {
  return {
    interfaceId: method.interfaceId,
    methodId: method.methodId,
    async invoke(params, signal) {
      const results = await handler(method.params.read(params), signal);
      return (answerId, releaseParamCaps) => resultsMessage(answerId, releaseParamCaps, method.results, results);
    },
  };
}

/** An answer lives from its question to the Finish. `controller` is that of a call that runs. */
type Answer =
  | { readonly kind: "capability" }
  | { readonly kind: "running"; readonly controller: AbortController; readonly releaseParamCaps: boolean }
  | { readonly kind: "returned" };

/** The id of the one capability that we export. */
const EXPORT_ID = 0;

export class Callee {
  readonly #send: (frame: Uint8Array) => void;
  readonly #implementations: readonly Implementation[];
  readonly #answers = new Map<number, Answer>();
  /** References to our capability that the peer holds. */
  #references = 0;
  /** Handlers that have not settled, finished early or not. */
  #running = 0;

  constructor(send: (frame: Uint8Array) => void, implementations: readonly Implementation[]) {
    this.#send = send;
    this.#implementations = implementations;
  }

  onBootstrap(questionId: number): void {
    this.#admit(questionId);
    if (this.#implementations.length === 0) {
      this.#answers.set(questionId, { kind: "returned" });
      this.#send(exceptionMessage(questionId, false, EXCEPTION_FAILED, "no capability is offered here"));
      return;
    }
    this.#references++;
    this.#answers.set(questionId, { kind: "capability" });
    this.#send(bootstrapReturnMessage(questionId, EXPORT_ID));
  }

  onCall(call: Call): void {
    const { questionId, params } = call;
    if (!call.sendResultsToCaller || params.capTable.some(({ which }) => which === CAP_THIRD_PARTY)) {
      this.#send(unimplementedMessage(MESSAGE_CALL));
      return;
    }
    this.#admit(questionId);
    // We keep none of the capabilities that came with the call.
    const releaseParamCaps = params.capTable.length > 0;
    const refuse = (type: number, reason: string): void => {
      this.#answers.set(questionId, { kind: "returned" });
      this.#send(exceptionMessage(questionId, releaseParamCaps, type, reason));
    };
    if (!this.#isOurs(call.target)) {
      refuse(EXCEPTION_FAILED, "target not found");
      return;
    }
    const { interfaceId, methodId } = call;
    const implementation = this.#implementations.find((i) => i.interfaceId === interfaceId && i.methodId === methodId);
    if (implementation === undefined) {
      refuse(
        EXCEPTION_UNIMPLEMENTED,
        `method ${methodId} of interface 0x${interfaceId.toString(16)} is not implemented`,
      );
      return;
    }
    this.#run(questionId, implementation, params.struct.struct(0), releaseParamCaps);
  }

  onFinish({ questionId, releaseResultCaps }: { questionId: number; releaseResultCaps: boolean }): void {
    const answer = this.#answers.get(questionId);
    if (answer === undefined) return;
    this.#answers.delete(questionId);
    if (answer.kind === "capability" && releaseResultCaps) this.#dereference(1);
    if (answer.kind !== "running") return;
    this.#send(canceledMessage(questionId, answer.releaseParamCaps));
    answer.controller.abort(new RpcError("cancelled", "the caller gave up"));
  }

  onRelease({ id, referenceCount }: { id: number; referenceCount: number }): void {
    if (id === EXPORT_ID) this.#dereference(referenceCount);
  }

  onDisembargo(disembargo: Disembargo): void {
    if (disembargo.senderLoopback && this.#isOurs(disembargo.target))
      this.#send(receiverLoopbackMessage(disembargo.id, disembargo.target));
    else if (disembargo.senderLoopback || disembargo.receiverLoopback)
      throw new RpcError("malformed", "disembargo of what is no promise of this connection");
    else this.#send(unimplementedMessage(MESSAGE_DISEMBARGO));
  }

  /** The connection is gone: handlers are told by their signal. */
  end(reason: Error): void {
    const answers = [...this.#answers.values()];
    this.#answers.clear();
    this.#references = 0;
    for (const answer of answers) if (answer.kind === "running") answer.controller.abort(reason);
  }

  #admit(questionId: number): void {
    if (this.#answers.has(questionId))
      throw new RpcError("malformed", `question ${questionId} asked again before it was finished`);
    if (this.#answers.size >= MAX_ANSWERS || this.#running >= MAX_ANSWERS)
      throw new RpcError("limit", `more than ${MAX_ANSWERS} questions at once`);
  }

  /** The capability may be named by its id, or as the answer to a bootstrap that is not finished. */
  #isOurs(target: MessageTarget): boolean {
    if (target.kind === "importedCap") return target.id === EXPORT_ID && this.#references > 0;
    if (target.kind === "unknown") return false;
    return target.direct && this.#answers.get(target.questionId)?.kind === "capability";
  }

  /** Releasing more than there is leaves none: harmless, and cloudflared takes it too. */
  #dereference(count: number): void {
    this.#references = Math.max(0, this.#references - count);
  }

  #run(questionId: number, implementation: Implementation, params: StructReader, releaseParamCaps: boolean): void {
    const answer: Answer = { kind: "running", controller: new AbortController(), releaseParamCaps };
    this.#answers.set(questionId, answer);
    this.#running++;
    // An early Finish, or the end of the connection, has taken the answer out of the table: nothing is sent then.
    const settle = (write: () => Uint8Array): void => {
      this.#running--;
      if (this.#answers.get(questionId) !== answer) return;
      this.#answers.set(questionId, { kind: "returned" });
      this.#send(write());
    };
    const fail = (error: unknown): Uint8Array =>
      exceptionMessage(questionId, releaseParamCaps, EXCEPTION_FAILED, messageOf(error).slice(0, MAX_REMOTE_TEXT));
    implementation.invoke(params, answer.controller.signal).then(
      (writeReturn) =>
        settle(() => {
          try {
            return writeReturn(questionId, releaseParamCaps);
          } catch (error) {
            return fail(error);
          }
        }),
      (error: unknown) => settle(() => fail(error)),
    );
  }
}
