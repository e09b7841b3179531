/** One stream's state (RFC 9113 § 5.1), and what its user may do. The connection does what concerns more than one stream. */
import type { HeaderField } from "../bytes/header-field.ts";
import type { ContentHolder, Holder } from "../memory-budget/budget.ts";
import type { FieldEncoder, Http2Stream, Http2StreamHandler } from "./types.ts";

/** What a stream needs of its connection. */
export interface StreamOwner {
  sendHeaders(stream: Stream, encode: (encoder: FieldEncoder) => void, end: boolean): void;
  sendData(stream: Stream, chunk: Buffer, last: boolean): boolean;
  sendEnd(stream: Stream, trailers: readonly HeaderField[] | undefined): void;
  consumed(stream: Stream, bytes: number): void;
  stopReading(stream: Stream): void;
  resetByUser(stream: Stream, code: number): void;
  released(stream: Stream): void;
  evicted(stream: Stream): void;
}

/** Nobody listens. What arrives is held until the memory budget has enough of it. */
const UNATTENDED: Http2StreamHandler = { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} };

export class Stream implements Http2Stream, ContentHolder {
  readonly id: number;
  handler: Http2StreamHandler = UNATTENDED;
  closed = false;
  localEnded = false;
  remoteEnded = false;

  readonly #owner: StreamOwner;

  // What follows belongs to the rooms of the connection: sender.ts, receiver.ts, budget.ts, connection.ts.

  readonly openedAt: number;
  /** What we may send (RFC 9113 § 6.9); a change of the peer's settings may make it negative. */
  sendWindow: number;
  /** What the peer may send; negative after we took a larger window back. */
  receiveWindow: number;
  /** Taken by the consumer and not yet credited to the peer. */
  uncredited = 0;
  /** Content that must still come, where a content-length was given (RFC 9113 § 8.1.1); -1 = unknown. */
  contentLeft = -1;
  /** Small chunks among the held bytes count for this many bytes more. */
  chunkOverhead = 0;
  /** No more content is wanted: see Http2Stream.stopReading. */
  discarding = false;

  /** Output that the windows don't allow yet; `queuedFrom` is where the first one begins. */
  queue: Buffer[] | undefined = undefined;
  queuedFrom = 0;
  queuedBytes = 0;
  /** This side ends behind the queue. */
  ending = false;
  trailers: readonly HeaderField[] | undefined = undefined;
  /** A writer waits for onWritable. */
  paused = false;
  /** In the sender's ring of streams that may have a turn. */
  isReady = false;
  nextReady: Stream | undefined = undefined;
  previousReady: Stream | undefined = undefined;

  /** A head has gone out. */
  answered = false;
  /** Client role: the final response head has come. */
  responded = false;
  /** The stream was broken off and its consumer has not said that its work has ended. */
  occupied = false;
  isReleased = false;

  heldBytes = 0;
  olderHolder: Holder | undefined = undefined;
  newerHolder: Holder | undefined = undefined;

  constructor(owner: StreamOwner, id: number, sendWindow: number, receiveWindow: number, now: number) {
    this.#owner = owner;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.openedAt = now;
  }

  consumed(bytes: number): void {
    this.#owner.consumed(this, bytes);
  }

  headers(encode: (encoder: FieldEncoder) => void, end: boolean): void {
    if (!this.closed && !this.localEnded && !this.ending) this.#owner.sendHeaders(this, encode, end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    if (this.closed || this.localEnded || this.ending) return true;
    return this.#owner.sendData(this, chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    if (!this.closed && !this.localEnded && !this.ending) this.#owner.sendEnd(this, trailers);
  }

  stopReading(): void {
    if (!this.closed && !this.discarding) this.#owner.stopReading(this);
  }

  reset(code: number): void {
    if (!this.closed) this.#owner.resetByUser(this, code);
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.#owner.released(this);
  }

  evict(): void {
    this.#owner.evicted(this);
  }
}
