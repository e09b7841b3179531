/** All streams of a connection: how they begin, what their users ask of them, and the many ways in which they end (RFC 9113 § 5.1). */
import type { HeaderField } from "../bytes/header-field.ts";
import type { Budget } from "../memory-budget/budget.ts";
import type { Floods } from "./floods.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Output } from "./output.ts";
import { Receiver } from "./receiver.ts";
import { ResetStreams } from "./reset-streams.ts";
import { Sender } from "./sender.ts";
import type { PeerSettings } from "./settings.ts";
import { Stream, type StreamOwner } from "./stream.ts";
import {
  type ClientFieldEncoder,
  ErrorCode,
  type FieldEncoder,
  type Http2Options,
  type StreamCancel,
} from "./types.ts";

export interface StreamsContext {
  readonly options: Http2Options;
  readonly output: Output;
  readonly writer: FrameWriter;
  readonly budget: Budget;
  readonly floods: Floods;
  readonly peer: PeerSettings;
}

export class Streams implements StreamOwner {
  /** Those that have not ended on both sides. */
  readonly open = new Map<number, Stream>();
  readonly resets = new ResetStreams();
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly #writer: FrameWriter;
  readonly #budget: Budget;
  readonly #floods: Floods;
  readonly #peer: PeerSettings;
  /** Broken-off streams whose consumers still work: they keep their slots (CVE-2025-8671). */
  #occupied = 0;

  constructor(context: StreamsContext) {
    const { options, writer, budget, floods } = context;
    this.#writer = writer;
    this.#budget = budget;
    this.#floods = floods;
    this.#peer = context.peer;
    this.sender = new Sender({ ...context, onLocalEnd: (stream) => this.#onLocalEnd(stream) });
    this.receiver = new Receiver(options, writer, budget, this.open);
  }

  /** Streams whose consumers work, cancelled ones included. */
  get active(): number {
    return this.open.size + this.#occupied;
  }

  begin(streamId: number): Stream {
    const { initialWindow } = this.receiver;
    const stream = new Stream(this, streamId, this.#peer.initialWindowSize, initialWindow, this.#floods.now);
    this.open.set(streamId, stream);
    return stream;
  }

  /** END_STREAM came. */
  remoteEnded(stream: Stream, trailers: readonly HeaderField[]): void {
    if (stream.contentLeft > 0) {
      this.error(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.remoteEnded = true;
    if (stream.localEnded) this.#close(stream);
    if (!stream.discarding) stream.handler.onEnd(trailers);
  }

  /** The peer broke the protocol on one stream (RFC 9113 § 5.4.2). */
  error(stream: Stream, code: number): void {
    this.#floods.streamError();
    this.#breakOff(stream, code);
    this.#cancel(stream, { kind: "protocol-error", code });
  }

  /** RST_STREAM for a stream that nobody has been told of. */
  refuse(streamId: number, endStream: boolean, code: number): void {
    this.#writer.reset(streamId, code);
    if (!endStream) this.resets.add(streamId);
  }

  /** The peer broke a stream off. */
  peerReset(stream: Stream, code: number): void {
    this.#close(stream);
    this.#cancel(stream, { kind: "peer-reset", code });
  }

  /** The connection is gone. */
  end(): void {
    let failure: { error: unknown } | undefined;
    for (const stream of this.open.values()) {
      this.#close(stream);
      try {
        this.#cancel(stream, { kind: "connection-closed" });
      } catch (error) {
        // The others must hear of it all the same.
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  // --- StreamOwner ---

  sendHeaders(stream: Stream, encode: (encoder: FieldEncoder) => void, end: boolean): void {
    this.sendRequest(stream, encode, end);
  }

  /** Throws what `encode` throws; the stream is reset then. */
  sendRequest(stream: Stream, encode: (encoder: ClientFieldEncoder) => void, end: boolean): void {
    let sent = false;
    try {
      this.sender.headers(stream, encode, end);
      sent = true;
    } finally {
      if (!sent) stream.reset(ErrorCode.INTERNAL_ERROR);
    }
  }

  sendData(stream: Stream, chunk: Buffer, last: boolean): boolean {
    return this.sender.data(stream, chunk, last);
  }

  sendEnd(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    this.sender.end(stream, trailers);
  }

  consumed(stream: Stream, bytes: number): void {
    this.receiver.consumed(stream, bytes);
  }

  stopReading(stream: Stream): void {
    stream.discarding = true;
    if (stream.localEnded) this.#breakOff(stream, ErrorCode.NO_ERROR);
  }

  resetByUser(stream: Stream, code: number): void {
    this.#breakOff(stream, code);
    stream.release();
  }

  released(stream: Stream): void {
    if (stream.closed) this.#budget.release(stream);
    if (!stream.occupied) return;
    stream.occupied = false;
    this.#occupied--;
  }

  evicted(stream: Stream): void {
    // Of one that has ended, nobody is left who could be told.
    if (stream.closed) return;
    this.#breakOff(stream, ErrorCode.ENHANCE_YOUR_CALM);
    this.#cancel(stream, { kind: "memory-limit" });
  }

  #onLocalEnd(stream: Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#close(stream);
    else if (stream.discarding) this.#breakOff(stream, ErrorCode.NO_ERROR);
  }

  #close(stream: Stream): void {
    stream.closed = true;
    this.open.delete(stream.id);
    this.sender.forget(stream);
    // What a consumer has not taken when a stream ends in peace it still holds, and gives back by `consumed`.
    if (stream.discarding || stream.isReleased) this.#budget.release(stream);
  }

  #breakOff(stream: Stream, code: number): void {
    this.#writer.reset(stream.id, code);
    stream.localEnded = true;
    if (!stream.remoteEnded) this.resets.add(stream.id);
    this.#close(stream);
  }

  #cancel(stream: Stream, cancel: StreamCancel): void {
    if (!stream.isReleased) {
      stream.occupied = true;
      this.#occupied++;
    }
    stream.handler.onCancel(cancel);
  }
}
