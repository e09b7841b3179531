/** The calling half of an RPC connection: questions, and the capabilities that their answers brought. */
import { messageOf, RpcError, remoteText } from "./errors.ts";
import { MAX_QUESTIONS, MAX_TIMER_MS } from "./limits.ts";
import { bootstrapMessage, callMessage, finishMessage, releaseMessage } from "./message-writing.ts";
import {
  CAP_SENDER_HOSTED,
  CAP_SENDER_PROMISE,
  type CapDescriptor,
  type MessageTarget,
  type Payload,
  type Return,
} from "./messages.ts";
import type { Method } from "./methods.ts";

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A question's id stays taken until its Return, also when nobody waits for it any more. */
type Question =
  | { readonly kind: "bootstrap" }
  | {
      readonly kind: "call";
      /** Reads the results, before the frame is gone. */
      readonly results: (payload: Payload) => void;
      readonly fail: (error: RpcError) => void;
    }
  | { readonly kind: "cancelled" };

type Bootstrap =
  | { readonly kind: "unasked" }
  | { readonly kind: "asked"; readonly questionId: number }
  | { readonly kind: "imported"; readonly id: number }
  | { readonly kind: "failed"; readonly error: RpcError };

export class Caller {
  readonly #send: (frame: Uint8Array) => void;
  readonly #questions = new Map<number, Question>();
  /** Ids that are free again; the last freed is the first reused, as cloudflared does it. */
  readonly #freeIds: number[] = [];
  #nextId = 0;
  #bootstrap: Bootstrap = { kind: "unasked" };
  /** How often the peer sent us each of its capabilities: so often it is to be released. */
  readonly #imports = new Map<number, number>();
  #ended: RpcError | undefined;

  constructor(send: (frame: Uint8Array) => void) {
    this.#send = send;
  }

  /** Asks for the peer's main capability. Calls need not wait for it: they are made on the answer to come. */
  bootstrap(): void {
    if (this.#bootstrap.kind !== "unasked" || this.#ended !== undefined) return;
    const questionId = this.#ask({ kind: "bootstrap" });
    this.#bootstrap = { kind: "asked", questionId };
    this.#send(bootstrapMessage(questionId));
  }

  call<P, R>(method: Method<P, R>, params: P, options: CallOptions): Promise<R> {
    return new Promise((resolve, reject) => {
      const { signal } = options;
      this.bootstrap();
      const refusal = this.#refusal(method.name, signal);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      const settle = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const fail = (error: RpcError): void => {
        settle();
        reject(error);
      };
      const questionId = this.#ask({
        kind: "call",
        fail,
        results(payload) {
          try {
            const results = method.results.read(payload.struct.struct(0));
            settle();
            resolve(results);
          } catch (error) {
            fail(new RpcError("malformed", `the answer to ${method.name} is malformed: ${messageOf(error)}`));
          }
        },
      });
      const onAbort = (): void => this.#cancel(questionId, fail, cancelled(method.name, signal));
      let frame: Uint8Array;
      try {
        const { interfaceId, methodId } = method;
        frame = callMessage({ questionId, interfaceId, methodId, target: this.#target() }, method.params, params);
      } catch (error) {
        this.#free(questionId);
        fail(new RpcError("argument", `${method.name} can't be sent: ${messageOf(error)}`, { cause: error }));
        return;
      }
      timer = setTimeout(
        () => this.#cancel(questionId, fail, timedOut(method.name, options.timeoutMs)),
        Math.min(options.timeoutMs, MAX_TIMER_MS),
      );
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#send(frame);
    });
  }

  /** False for an id that no question has: the peer broke the protocol. */
  onReturn({ answerId, outcome }: Return): boolean {
    const question = this.#questions.get(answerId);
    if (question === undefined) return false;
    this.#free(answerId);
    // Its Finish was sent when it was cancelled.
    if (question.kind === "cancelled") return true;
    if (question.kind === "bootstrap") {
      this.#onBootstrapped(answerId, outcome);
      return true;
    }
    // No method of ours takes capabilities out of results; keeping none releases those that came unasked.
    const keep = outcome.kind === "results" && outcome.payload.capTable.length === 0;
    this.#send(finishMessage(answerId, !keep));
    if (outcome.kind === "results") question.results(outcome.payload);
    else question.fail(failure(outcome));
    return true;
  }

  /** Gives back what the peer counts as ours. */
  release(): void {
    for (const [id, references] of this.#imports) this.#send(releaseMessage(id, references));
  }

  /** The connection is gone: every call fails, now and later. */
  end(error: RpcError): void {
    this.#ended ??= error;
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    for (const question of questions) if (question.kind === "call") question.fail(this.#ended);
  }

  #refusal(method: string, signal: AbortSignal | undefined): RpcError | undefined {
    if (this.#ended !== undefined) return this.#ended;
    if (signal?.aborted === true) return cancelled(method, signal);
    if (this.#bootstrap.kind === "failed") return this.#bootstrap.error;
    if (this.#questions.size >= MAX_QUESTIONS)
      return new RpcError("limit", `${method} not sent: ${MAX_QUESTIONS} calls have no answer yet`);
    return undefined;
  }

  #target(): MessageTarget {
    if (this.#bootstrap.kind === "imported") return { kind: "importedCap", id: this.#bootstrap.id };
    const questionId = this.#bootstrap.kind === "asked" ? this.#bootstrap.questionId : 0;
    return { kind: "promisedAnswer", questionId, direct: true };
  }

  #ask(question: Question): number {
    const id = this.#freeIds.pop() ?? this.#nextId++;
    this.#questions.set(id, question);
    return id;
  }

  #free(id: number): void {
    this.#questions.delete(id);
    this.#freeIds.push(id);
  }

  #cancel(questionId: number, fail: (error: RpcError) => void, error: RpcError): void {
    this.#questions.set(questionId, { kind: "cancelled" });
    fail(error);
    this.#send(finishMessage(questionId, true));
  }

  #onBootstrapped(questionId: number, outcome: Return["outcome"]): void {
    this.#bootstrap = this.#import(outcome);
    this.#send(finishMessage(questionId, this.#bootstrap.kind !== "imported"));
    if (this.#bootstrap.kind !== "failed") return;
    for (const [id, question] of this.#questions)
      if (question.kind === "call") this.#cancel(id, question.fail, this.#bootstrap.error);
  }

  #import(outcome: Return["outcome"]): Bootstrap {
    if (outcome.kind !== "results") return { kind: "failed", error: failure(outcome) };
    const { struct, capTable } = outcome.payload;
    const index = struct.capability(0);
    const main = index === undefined ? undefined : capTable[index];
    if (main === undefined || !isHostedByPeer(main))
      return {
        kind: "failed",
        error: new RpcError("malformed", "the peer's answer to bootstrap holds no capability of its own"),
      };
    for (const capability of capTable) {
      if (!isHostedByPeer(capability)) continue;
      this.#imports.set(capability.id, (this.#imports.get(capability.id) ?? 0) + 1);
    }
    return { kind: "imported", id: main.id };
  }
}

function isHostedByPeer({ which }: CapDescriptor): boolean {
  return which === CAP_SENDER_HOSTED || which === CAP_SENDER_PROMISE;
}

function failure(outcome: Exclude<Return["outcome"], { kind: "results" }>): RpcError {
  if (outcome.kind === "canceled") return new RpcError("exception", "the peer cancelled the call");
  if (outcome.kind === "unsupported")
    return new RpcError("malformed", `the peer answered with a Return of kind ${outcome.which}, expected results`);
  const { type, reason } = outcome.exception;
  return new RpcError("exception", `the peer answered with an exception (${type}): ${remoteText(reason)}`);
}

function timedOut(method: string, timeoutMs: number): RpcError {
  return new RpcError("timeout", `${method} had no answer within ${timeoutMs} ms`);
}

function cancelled(method: string, signal: AbortSignal | undefined): RpcError {
  return new RpcError("cancelled", `${method} was cancelled`, { cause: signal?.reason });
}
