/**
 * What leaves: heads as they come, DATA within the stream's and the connection's window (RFC 9113 § 6.9) and as long as the
 * socket takes it; the rest is copied and queued in its stream. Queued streams take turns, one frame each, so that a large
 * answer does not hold up the small ones.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import type { Budget } from "../memory-budget/budget.ts";
import { flowControlError } from "./errors.ts";
import type { Floods } from "./floods.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { INITIAL_WINDOW, MAX_WINDOW } from "./frames.ts";
import { isSendableTrailer } from "./field-kind.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { LOW_UNFLUSHED, MAX_SENT_DATA, MAX_UNFLUSHED } from "./limits.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

export interface SenderOptions {
  readonly output: Output;
  readonly writer: FrameWriter;
  readonly budget: Budget;
  readonly floods: Floods;
  /** END_STREAM is in the output. */
  readonly onLocalEnd: (stream: Stream) => void;
}

export class Sender {
  readonly encoder = new HpackEncoder();
  /** The connection's send window. */
  #window = INITIAL_WINDOW;
  readonly #output: Output;
  readonly #writer: FrameWriter;
  readonly #budget: Budget;
  readonly #floods: Floods;
  readonly #onLocalEnd: (stream: Stream) => void;
  /** Streams whose turn comes, linked by `nextReady`: with queued DATA that their own window allows, or with a paused writer. */
  #firstReady: Stream | undefined;
  #lastReady: Stream | undefined;
  #draining = false;

  constructor(options: SenderOptions) {
    this.#output = options.output;
    this.#writer = options.writer;
    this.#budget = options.budget;
    this.#floods = options.floods;
    this.#onLocalEnd = options.onLocalEnd;
  }

  /** Throws what `encode` throws, with the stream's block completed so that both HPACK tables stay in step. */
  headers(stream: Stream, encode: (encoder: HpackEncoder) => void, end: boolean): void {
    const { encoder } = this;
    encoder.begin();
    let complete = false;
    try {
      encode(encoder);
      complete = true;
    } finally {
      stream.answered = true;
      this.#writer.headers(stream.id, encoder.finish(), end && complete);
    }
    if (end) this.#onLocalEnd(stream);
  }

  data(stream: Stream, chunk: Buffer, last: boolean): boolean {
    let at = 0;
    if (stream.queue === undefined) {
      at = this.#direct(stream, chunk, last);
      if (at === chunk.length && (!last || stream.localEnded)) {
        if (last || this.#output.unflushed < MAX_UNFLUSHED) return true;
        stream.paused = true;
        this.#makeReady(stream);
        return false;
      }
      stream.queue = [];
      stream.queuedFrom = 0;
    }
    stream.ending = last;
    stream.paused = true;
    if (at < chunk.length) {
      // The caller's memory is used again after this call.
      const rest = Buffer.from(at === 0 ? chunk : chunk.subarray(at));
      stream.queue.push(rest);
      stream.queuedBytes += rest.length;
      if (stream.sendWindow > 0) this.#makeReady(stream);
      this.#budget.hold(stream, rest.length);
    }
    return false;
  }

  end(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    if (stream.queue === undefined) {
      this.#finish(stream, trailers);
      return;
    }
    stream.ending = true;
    stream.trailers = trailers;
  }

  /** WINDOW_UPDATE for the connection. */
  widen(increment: number): void {
    this.#window += increment;
    if (this.#window > MAX_WINDOW) throw flowControlError("a WINDOW_UPDATE overflows the connection's window");
  }

  /** WINDOW_UPDATE for a stream, or a change of SETTINGS_INITIAL_WINDOW_SIZE. False when the window overflows. */
  widenStream(stream: Stream, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > MAX_WINDOW) return false;
    if (stream.queue !== undefined && stream.sendWindow > 0) this.#makeReady(stream);
    return true;
  }

  /** The stream is gone: nothing queued leaves any more. */
  forget(stream: Stream): void {
    this.#unlink(stream);
    stream.queue = undefined;
    stream.paused = false;
    if (stream.queuedBytes === 0) return;
    const { queuedBytes } = stream;
    stream.queuedBytes = 0;
    this.#budget.give(stream, queuedBytes);
  }

  /** The socket took output, or windows opened: sends what may be sent and lets writers go on. */
  drain(): void {
    // A writer that goes on may come back here.
    if (this.#draining || this.#firstReady === undefined) return;
    this.#draining = true;
    try {
      for (;;) {
        const stream = this.#firstReady;
        if (stream === undefined || this.#output.unflushed >= MAX_UNFLUSHED) return;
        // Whoever has nothing queued could do no more than queue something.
        if (this.#window <= 0) return;
        this.#unlink(stream);
        if (stream.queue === undefined) this.#resume(stream);
        else this.#turn(stream);
      }
    } finally {
      this.#draining = false;
    }
  }

  get wantsDrain(): boolean {
    return this.#firstReady !== undefined && this.#output.unflushed < LOW_UNFLUSHED;
  }

  /** Sends as much of `chunk` as windows and socket allow; returns how much. */
  #direct(stream: Stream, chunk: Buffer, last: boolean): number {
    const { length } = chunk;
    if (length === 0) {
      if (last) this.#finish(stream, undefined);
      return 0;
    }
    let at = 0;
    while (at < length && this.#output.unflushed < MAX_UNFLUSHED) {
      const allowed = this.#allowed(stream, length - at);
      if (allowed <= 0) break;
      this.#frame(stream, chunk, at, at + allowed, last && at + allowed === length);
      at += allowed;
    }
    return at;
  }

  #allowed(stream: Stream, wanted: number): number {
    return Math.min(wanted, stream.sendWindow, this.#window, this.#writer.maxFrameSize, MAX_SENT_DATA);
  }

  /** One frame of a stream's queue. */
  #turn(stream: Stream): void {
    const { queue, queuedFrom } = stream;
    const first = queue?.[0];
    if (queue === undefined || first === undefined) return;
    const allowed = this.#allowed(stream, first.length - queuedFrom);
    if (allowed <= 0) return;
    const end = queuedFrom + allowed;
    stream.queuedBytes -= allowed;
    if (end === first.length) {
      queue.shift();
      stream.queuedFrom = 0;
    } else {
      stream.queuedFrom = end;
    }
    const isLast = stream.ending && stream.trailers === undefined && stream.queuedBytes === 0;
    this.#budget.give(stream, allowed);
    this.#frame(stream, first, queuedFrom, end, isLast);
    if (isLast) {
      stream.queue = undefined;
    } else if (queue.length > 0) {
      if (stream.sendWindow > 0) this.#makeReady(stream);
    } else {
      stream.queue = undefined;
      if (stream.ending) this.#finish(stream, stream.trailers);
      else this.#resume(stream);
    }
  }

  #resume(stream: Stream): void {
    if (!stream.paused || stream.closed) return;
    stream.paused = false;
    stream.handler.onWritable();
  }

  #frame(stream: Stream, bytes: Buffer, from: number, to: number, end: boolean): void {
    stream.sendWindow -= to - from;
    this.#window -= to - from;
    this.#writer.data(stream.id, bytes, from, to, end);
    this.#floods.dataSent(to - from);
    if (end) this.#onLocalEnd(stream);
  }

  #finish(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    const sendable = trailers?.filter(isSendableTrailer) ?? [];
    if (sendable.length === 0) {
      this.#writer.emptyData(stream.id);
      this.#onLocalEnd(stream);
      return;
    }
    this.headers(
      stream,
      (encoder) => {
        for (const field of sendable) encoder.field(field.name.toLowerCase(), field.value, "name");
      },
      true,
    );
  }

  #makeReady(stream: Stream): void {
    if (stream.isReady) return;
    stream.isReady = true;
    stream.previousReady = this.#lastReady;
    if (this.#lastReady === undefined) this.#firstReady = stream;
    else this.#lastReady.nextReady = stream;
    this.#lastReady = stream;
  }

  #unlink(stream: Stream): void {
    if (!stream.isReady) return;
    const { previousReady, nextReady } = stream;
    if (previousReady === undefined) this.#firstReady = nextReady;
    else previousReady.nextReady = nextReady;
    if (nextReady === undefined) this.#lastReady = previousReady;
    else nextReady.previousReady = previousReady;
    stream.previousReady = undefined;
    stream.nextReady = undefined;
    stream.isReady = false;
  }
}
