/** One stream's state (RFC 9113 § 5.1), and what its user may do. The connection does the work that concerns more than one stream. */
import type { HeaderField } from "../bytes/header-field.ts";
import type { Holder } from "./budget.ts";
import type { FieldEncoder, Http2Stream, Http2StreamHandler, StreamCancel } from "./types.ts";

/** What a stream needs of its connection. */
export interface StreamOwner {
  sendHeaders(stream: Stream, encode: (encoder: FieldEncoder) => void, end: boolean): void;
  sendData(stream: Stream, chunk: Buffer, last: boolean): boolean;
  sendEnd(stream: Stream, trailers: readonly HeaderField[] | undefined): void;
  sendReset(stream: Stream, code: number): void;
  credit(stream: Stream, bytes: number): void;
  stopReading(stream: Stream): void;
  released(stream: Stream): void;
}

/** Nobody listens: before a handler is set, and after the end. */
const UNATTENDED: Http2StreamHandler = { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} };

export class Stream implements Http2Stream, Holder {
  readonly id: number;
  handler: Http2StreamHandler = UNATTENDED;
  closed = false;
  localEnded = false;
  remoteEnded = false;

  readonly #owner: StreamOwner;

  // The rest belongs to the connection.

  /** What we may send (RFC 9113 § 6.9); a change of the peer's settings may make it negative. */
  sendWindow: number;
  /** What the peer may send. */
  receiveWindow: number;
  /** Taken by the consumer and not yet credited to the peer. */
  uncredited = 0;
  /** Content that must still come, where a content-length was given (RFC 9113 § 8.1.1); -1 = unknown. */
  contentLeft = -1;
  /** Output that the windows don't allow yet; `queuedFrom` is where the first one begins. */
  queue: Buffer[] | undefined;
  queuedFrom = 0;
  queuedBytes = 0;
  /** This side ends behind the queue. */
  endQueued = false;
  trailers: readonly HeaderField[] | undefined;
  /** A writer waits for onWritable. */
  paused = false;
  /** No more content is wanted: see Http2Stream.stopReading. */
  discarding = false;
  /** The consumer's work has ended: the slot is free. */
  isReleased = false;
  /** Client role: a final response head has come. */
  responded = false;

  constructor(owner: StreamOwner, id: number, sendWindow: number, receiveWindow: number) {
    this.#owner = owner;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  consumed(bytes: number): void {
    this.#owner.credit(this, bytes);
  }

  headers(encode: (encoder: FieldEncoder) => void, end: boolean): void {
    if (!this.closed && !this.localEnded && !this.endQueued) this.#owner.sendHeaders(this, encode, end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (this.closed || this.localEnded || this.endQueued) return true;
    return this.#owner.sendData(this, chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    if (!this.closed && !this.localEnded && !this.endQueued) this.#owner.sendEnd(this, trailers);
  }

  stopReading(): void {
    if (!this.closed && !this.discarding) this.#owner.stopReading(this);
  }

  reset(code: number): void {
    if (!this.closed) this.#owner.sendReset(this, code);
    this.release();
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.#owner.released(this);
  }

  evict(): void {
    this.handlerCancel({ kind: "memory-limit" });
  }

  /** Set by the connection: how a cancel reaches the handler. */
  handlerCancel: (cancel: StreamCancel) => void = () => {};
}
