/**
 * A two-party RPC connection on a byte channel, both roles at once (wire § 9.1, § 9.5). It answers what it can, refuses what it
 * can't, and ends on the first message that makes no sense; nothing that the peer sends throws out of it.
 */
import { FrameSplitter } from "../protocol/capnp/frame.ts";
import { MAX_RPC_MESSAGE_BYTES } from "../protocol/capnp/limits.ts";
import { type StructReader, readRoot } from "../protocol/capnp/reader.ts";
import type { ByteChannel } from "../types.ts";
import { Callee, type Implementation } from "./callee.ts";
import { Caller, type CallOptions } from "./caller.ts";
import { messageOf, RpcError, remoteText } from "./errors.ts";
import { MAX_MESSAGES, MESSAGE_TIMEOUT_MS } from "./limits.ts";
import { abortMessage, unimplementedMessage } from "./message-writing.ts";
import {
  MESSAGE_ABORT,
  MESSAGE_BOOTSTRAP,
  MESSAGE_CALL,
  MESSAGE_DISEMBARGO,
  MESSAGE_FINISH,
  MESSAGE_RELEASE,
  MESSAGE_RESOLVE,
  MESSAGE_RETURN,
  MESSAGE_UNIMPLEMENTED,
  readCall,
  readDisembargo,
  readException,
  readFinish,
  readRelease,
  readReturn,
} from "./messages.ts";
import type { Method } from "./methods.ts";

/** The reason with which both sides end a connection that nothing is wrong with. */
const SHUTDOWN = "rpc: shutdown";

export class RpcConnection {
  /**
   * Resolves once when the connection is gone; never rejects. Undefined when either side ended it in order: by `close`, by the
   * reason "rpc: shutdown", or by the end of the stream between two messages.
   */
  readonly ended: Promise<RpcError | undefined>;
  readonly #channel: ByteChannel;
  readonly #splitter = new FrameSplitter(MAX_RPC_MESSAGE_BYTES);
  readonly #caller: Caller;
  readonly #callee: Callee;
  /** One that only calls is a connector's control stream: ending it tells the edge that the connector is leaving. */
  readonly #serves: boolean;
  #channelEnded = false;
  #messages = 0;
  #partialTimer: ReturnType<typeof setTimeout> | undefined;
  #resolveEnded: ((error: RpcError | undefined) => void) | undefined;

  constructor(channel: ByteChannel, implementations: readonly Implementation[]) {
    this.#channel = channel;
    this.#serves = implementations.length > 0;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    const send = (frame: Uint8Array): void => this.#send(frame);
    this.#caller = new Caller(send);
    this.#callee = new Callee(send, implementations);
    channel.onData = (chunk) => this.#onData(chunk);
    channel.onEnd = (error) => this.#onEnd(error);
  }

  bootstrap(): void {
    this.#caller.bootstrap();
  }

  /** Rejects with RpcError. */
  call<P, R>(method: Method<P, R>, params: P, options: CallOptions): Promise<R> {
    return this.#caller.call(method, params, options);
  }

  /** Releases what the peer lent us, says why, and ends our side of the stream. Idempotent. */
  close(reason: string = SHUTDOWN): void {
    if (!this.#isEnded) {
      this.#caller.release();
      this.#send(abortMessage(reason));
      this.#finish(undefined);
    }
    this.#endChannel();
  }

  get #isEnded(): boolean {
    return this.#resolveEnded === undefined;
  }

  #onData(chunk: Uint8Array): void {
    let at = 0;
    try {
      while (at < chunk.length && !this.#isEnded) {
        const { end, frame } = this.#splitter.next(chunk, at);
        at = end;
        if (frame === undefined) continue;
        clearTimeout(this.#partialTimer);
        this.#partialTimer = undefined;
        this.#dispatch(readRoot(frame));
      }
    } catch (error) {
      this.#abort(error);
      return;
    }
    this.#watchPartial();
  }

  #dispatch(message: StructReader): void {
    if (++this.#messages > MAX_MESSAGES) throw new RpcError("limit", `more than ${MAX_MESSAGES} messages`);
    const kind = message.uint16(0);
    switch (kind) {
      case MESSAGE_BOOTSTRAP:
        return this.#callee.onBootstrap(message.struct(0).uint32(0));
      case MESSAGE_CALL:
        return this.#callee.onCall(readCall(message.struct(0)));
      case MESSAGE_RETURN: {
        const answer = readReturn(message.struct(0));
        if (!this.#caller.onReturn(answer))
          throw new RpcError("malformed", `Return for question ${answer.answerId}, which was not asked`);
        return;
      }
      case MESSAGE_FINISH:
        return this.#callee.onFinish(readFinish(message.struct(0)));
      case MESSAGE_RELEASE:
        return this.#callee.onRelease(readRelease(message.struct(0)));
      case MESSAGE_DISEMBARGO:
        return this.#callee.onDisembargo(readDisembargo(message.struct(0)));
      case MESSAGE_ABORT:
        return this.#onAbort(readException(message.struct(0)).reason);
      // We hand out and follow no promises, and ask for nothing that a peer may lack.
      case MESSAGE_RESOLVE:
      case MESSAGE_UNIMPLEMENTED:
        return;
      default:
        this.#send(unimplementedMessage(kind));
    }
  }

  #onAbort(reason: string): void {
    if (reason === SHUTDOWN) this.#onPeerGone(undefined);
    else this.#onPeerGone(new RpcError("aborted", `the peer ended the RPC connection: ${remoteText(reason)}`));
  }

  #onEnd(error: Error | undefined): void {
    if (error !== undefined)
      this.#onPeerGone(new RpcError("closed", `the RPC stream broke: ${error.message}`, { cause: error }));
    else if (this.#splitter.partial) this.#onPeerGone(new RpcError("closed", "the RPC stream ended within a message"));
    else this.#onPeerGone(undefined);
  }

  #onPeerGone(error: RpcError | undefined): void {
    this.#finish(error);
    if (this.#serves) this.#endChannel();
  }

  /** The peer broke the protocol: it is told so, and the connection is over. */
  #abort(error: unknown): void {
    const reason = messageOf(error);
    this.#send(abortMessage(reason));
    const fault = error instanceof RpcError ? error.fault : "malformed";
    this.#finish(new RpcError(fault, `the peer broke the RPC protocol: ${reason}`, { cause: error }));
    this.#endChannel();
  }

  #send(frame: Uint8Array): void {
    if (this.#isEnded) return;
    try {
      this.#channel.write(frame);
    } catch (error) {
      this.#finish(new RpcError("closed", `the RPC stream broke: ${messageOf(error)}`, { cause: error }));
      this.#endChannel();
    }
  }

  #finish(error: RpcError | undefined): void {
    const resolve = this.#resolveEnded;
    if (resolve === undefined) return;
    this.#resolveEnded = undefined;
    clearTimeout(this.#partialTimer);
    const reason = error ?? new RpcError("closed", "the RPC connection has ended");
    this.#caller.end(reason);
    this.#callee.end(reason);
    resolve(error);
  }

  #endChannel(): void {
    if (this.#channelEnded) return;
    this.#channelEnded = true;
    try {
      this.#channel.end();
    } catch {
      // It is gone already.
    }
  }

  #watchPartial(): void {
    if (this.#isEnded || !this.#splitter.partial || this.#partialTimer !== undefined) return;
    this.#partialTimer = setTimeout(
      () => this.#abort(new RpcError("timeout", `message incomplete after ${MESSAGE_TIMEOUT_MS} ms`)),
      MESSAGE_TIMEOUT_MS,
    );
    this.#partialTimer.unref();
  }
}
