/** One stream, and what its user may do. What concerns more than one stream is its owner's. */
import type { ContentHolder } from "../../memory-budget/budget.ts";
import type { ReceiveSide } from "./receive-side.ts";
import type { SendSide } from "./send-side.ts";
import type { QuicStream, QuicStreamSink } from "./types.ts";

/** What a stream needs of its connection. */
export interface StreamOwner {
  write(stream: Stream, chunk: Buffer, fin: boolean): boolean;
  consumed(stream: Stream, bytes: number): void;
  widen(stream: Stream, window: number): void;
  reset(stream: Stream, errorCode: number): void;
  stopSending(stream: Stream, errorCode: number): void;
  evicted(stream: Stream): void;
}

/** Nobody listens. What arrives is held until the memory budget has enough of it. */
const UNATTENDED: QuicStreamSink = {
  onData() {},
  onEnd() {},
  onReset() {},
  onStopSending() {},
  onWritable() {},
  onEvicted() {},
};

export class Stream implements QuicStream, ContentHolder {
  readonly id: number;
  sink: QuicStreamSink = UNATTENDED;
  readonly #owner: StreamOwner;

  // What follows belongs to the rooms of the connection: receiver.ts, sender.ts, control.ts, streams.ts, the budget.

  /** Undefined on the sending end of a one-way stream. */
  readonly receiving: ReceiveSide | undefined;
  /** Undefined on the receiving end of a one-way stream. */
  readonly sending: SendSide | undefined;
  /** Control frames that it wants sent: bits of `Want`. */
  wanted = 0;
  /** Queues that it stands in: bits of the queues. */
  queued = 0;

  heldBytes = 0;
  queuedBytes = 0;
  chunkOverhead = 0;
  olderHolder: ContentHolder | undefined = undefined;
  newerHolder: ContentHolder | undefined = undefined;

  constructor(owner: StreamOwner, id: number, receiving: ReceiveSide | undefined, sending: SendSide | undefined) {
    this.#owner = owner;
    this.id = id;
    this.receiving = receiving;
    this.sending = sending;
  }

  get bidirectional(): boolean {
    return (this.id & 2) === 0;
  }

  /** Both sides are over. */
  get closed(): boolean {
    const { receiving, sending } = this;
    return (
      (receiving === undefined || receiving.state === "done") && (sending === undefined || sending.state === "done")
    );
  }

  write(chunk: Buffer, fin: boolean): boolean {
    return this.#owner.write(this, chunk, fin);
  }

  consumed(bytes: number): void {
    this.#owner.consumed(this, bytes);
  }

  widen(window: number): void {
    this.#owner.widen(this, window);
  }

  reset(errorCode: number): void {
    this.#owner.reset(this, errorCode);
  }

  stopSending(errorCode: number): void {
    this.#owner.stopSending(this, errorCode);
  }

  evict(): void {
    this.#owner.evicted(this);
  }
}
