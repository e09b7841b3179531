/**
 * What leaves (RFC 9113 § 6.9): DATA within the stream's and the connection's window, the rest queued. Queued streams take turns, one frame
 * each, so that a large answer does not hold up the small ones.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import type { Budget } from "./budget.ts";
import { Flag, FrameType } from "./frames.ts";
import type { HpackEncoder } from "./hpack/encoder.ts";
import { OUTPUT_HIGH_WATER, OUTPUT_LOW_WATER } from "./limits.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

const EMPTY = Buffer.alloc(0);

export class Sender {
  /** The connection's send window. */
  window = 65_535;
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  maxFrameSize = 16_384;
  readonly #output: Output;
  readonly #encoder: HpackEncoder;
  readonly #budget: Budget;
  readonly #onLocalEnd: (stream: Stream) => void;
  /** Streams with queued output that their own window allows, in the order of their turns. */
  readonly #ready = new Set<Stream>();
  /** Streams whose writer waits only for the socket. */
  readonly #waiting = new Set<Stream>();

  constructor(output: Output, encoder: HpackEncoder, budget: Budget, onLocalEnd: (stream: Stream) => void) {
    this.#output = output;
    this.#encoder = encoder;
    this.#budget = budget;
    this.#onLocalEnd = onLocalEnd;
  }

  headers(stream: Stream, encode: (encoder: HpackEncoder) => void, end: boolean): void {
    this.#encoder.begin();
    encode(this.#encoder);
    const block = this.#encoder.finish();
    let at = Math.min(block.length, this.maxFrameSize);
    const endStream = end ? Flag.END_STREAM : 0;
    const endHeaders = at === block.length ? Flag.END_HEADERS : 0;
    this.#output.frameHeader(at, FrameType.HEADERS, endStream | endHeaders, stream.id);
    this.#output.append(block, 0, at);
    while (at < block.length) {
      const next = Math.min(block.length, at + this.maxFrameSize);
      this.#output.frameHeader(
        next - at,
        FrameType.CONTINUATION,
        next === block.length ? Flag.END_HEADERS : 0,
        stream.id,
      );
      this.#output.append(block, at, next);
      at = next;
    }
    if (end) this.#onLocalEnd(stream);
  }

  data(stream: Stream, chunk: Buffer, last: boolean): boolean {
    let at = 0;
    if (stream.queue === undefined) {
      while (at < chunk.length) {
        const allowed = Math.min(chunk.length - at, stream.sendWindow, this.window, this.maxFrameSize);
        if (allowed <= 0) break;
        this.#frame(stream, chunk, at, at + allowed, last && at + allowed === chunk.length);
        at += allowed;
      }
      if (at === chunk.length) {
        if (last && chunk.length === 0) this.#frame(stream, EMPTY, 0, 0, true);
        if (this.#output.outstanding < OUTPUT_HIGH_WATER) return true;
        if (!last) this.#wait(stream);
        return false;
      }
      stream.queue = [];
      stream.queuedFrom = 0;
    }
    // The caller's memory is reused after this call.
    const rest = Buffer.from(chunk.subarray(at));
    if (rest.length > 0) {
      stream.queue.push(rest);
      stream.queuedBytes += rest.length;
      this.#budget.hold(stream, rest.length);
    }
    stream.endQueued = last;
    stream.paused = true;
    if (!stream.closed && stream.sendWindow > 0) this.#ready.add(stream);
    return false;
  }

  end(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    if (stream.queue === undefined) {
      this.#finish(stream, trailers);
      return;
    }
    stream.endQueued = true;
    stream.trailers = trailers;
  }

  /** The stream's or the connection's window has grown. */
  opened(stream: Stream | undefined): void {
    if (stream?.queue !== undefined && stream.sendWindow > 0) this.#ready.add(stream);
    this.drain();
  }

  /** The stream is gone: nothing queued leaves any more. */
  forget(stream: Stream): void {
    this.#ready.delete(stream);
    this.#waiting.delete(stream);
    stream.queue = undefined;
    stream.queuedBytes = 0;
    stream.paused = false;
  }

  /** Sends what may be sent, and lets writers go on. */
  drain(): void {
    for (const stream of this.#ready) {
      if (this.window <= 0 || this.#output.outstanding >= OUTPUT_HIGH_WATER) return;
      this.#ready.delete(stream);
      this.#turn(stream);
      // Sets iterate what is added during the iteration: the next turn of this stream comes behind the others'.
      if (stream.queue !== undefined && stream.sendWindow > 0) this.#ready.add(stream);
    }
    if (this.#waiting.size === 0 || this.#output.outstanding >= OUTPUT_LOW_WATER) return;
    const writable = [...this.#waiting];
    this.#waiting.clear();
    for (const stream of writable) this.#resume(stream);
  }

  /** One frame of a stream's queue. */
  #turn(stream: Stream): void {
    const { queue } = stream;
    const first = queue?.[0];
    if (queue === undefined || first === undefined) return;
    const end = Math.min(first.length, stream.queuedFrom + Math.min(stream.sendWindow, this.window, this.maxFrameSize));
    const sent = end - stream.queuedFrom;
    stream.queuedBytes -= sent;
    this.#budget.give(stream, sent);
    const last = stream.endQueued && stream.trailers === undefined && stream.queuedBytes === 0;
    const from = stream.queuedFrom;
    if (end === first.length) {
      queue.shift();
      stream.queuedFrom = 0;
    } else {
      stream.queuedFrom = end;
    }
    this.#frame(stream, first, from, end, last);
    if (queue.length > 0) return;
    stream.queue = undefined;
    if (stream.endQueued) {
      if (!last) this.#finish(stream, stream.trailers);
    } else if (this.#output.outstanding < OUTPUT_HIGH_WATER) this.#resume(stream);
    else this.#wait(stream);
  }

  #wait(stream: Stream): void {
    stream.paused = true;
    this.#waiting.add(stream);
  }

  #resume(stream: Stream): void {
    if (!stream.paused || stream.closed || stream.queue !== undefined) return;
    stream.paused = false;
    stream.handler.onWritable();
  }

  #frame(stream: Stream, bytes: Buffer, from: number, to: number, end: boolean): void {
    const length = to - from;
    stream.sendWindow -= length;
    this.window -= length;
    this.#output.frameHeader(length, FrameType.DATA, end ? Flag.END_STREAM : 0, stream.id);
    if (length > 0) this.#output.append(bytes, from, to);
    if (end) this.#onLocalEnd(stream);
  }

  #finish(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    if (trailers === undefined || trailers.length === 0) {
      this.#frame(stream, EMPTY, 0, 0, true);
      return;
    }
    this.headers(
      stream,
      (encoder) => {
        for (const field of trailers) encoder.field(field.name.toLowerCase(), field.value, "name");
      },
      true,
    );
  }
}
