/**
 * The frames about streams that carry no data: what is wanted is remembered, not the frame, so that each goes out with the newest
 * value, and a lost one is sent again only if it still matters (RFC 9000 § 13.3).
 */
import type { FrameWriter } from "../frame-writer.ts";
import { FrameType } from "../frames.ts";
import type { SentControlFrame, SentFrames } from "./sent-frames.ts";
import type { Stream } from "./stream.ts";
import { StreamQueue } from "./stream-queue.ts";

/** Bits of Stream.wanted. */
export const Want = { MAX_STREAM_DATA: 1, STOP_SENDING: 2, RESET_STREAM: 4, STREAM_DATA_BLOCKED: 8 } as const;

/** The frames that concern all streams, and what each would tell now. */
export interface ConnectionLimits {
  /** The newest value of MAX_DATA, MAX_STREAMS or a BLOCKED frame; undefined = a BLOCKED one is out of date. */
  valueOf(type: number): number | undefined;
}

const CONNECTION_TYPES = [
  FrameType.MAX_DATA,
  FrameType.MAX_STREAMS_BIDI,
  FrameType.MAX_STREAMS_UNI,
  FrameType.DATA_BLOCKED,
  FrameType.STREAMS_BLOCKED_BIDI,
  FrameType.STREAMS_BLOCKED_UNI,
] as const;

function writeLimit(writer: FrameWriter, type: number, value: number): boolean {
  switch (type) {
    case FrameType.MAX_DATA:
      return writer.maxData(value);
    case FrameType.DATA_BLOCKED:
      return writer.dataBlocked(value);
    case FrameType.MAX_STREAMS_BIDI:
    case FrameType.MAX_STREAMS_UNI:
      return writer.maxStreams(type === FrameType.MAX_STREAMS_BIDI, value);
    default:
      return writer.streamsBlocked(type === FrameType.STREAMS_BLOCKED_BIDI, value);
  }
}

export class Control {
  readonly #limits: ConnectionLimits;
  readonly #streams = new StreamQueue(1);
  /** Bits by the frame's type. */
  #wanted = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get pending(): boolean {
    return this.#wanted !== 0 || this.#streams.first !== undefined;
  }

  wantLimit(type: number): void {
    this.#wanted |= 1 << type;
  }

  want(stream: Stream, what: number): void {
    stream.wanted |= what;
    this.#streams.push(stream);
  }

  /** False when the packet is full. */
  write(writer: FrameWriter, sent: SentFrames): boolean {
    if (this.#wanted !== 0 && !this.#writeLimits(writer, sent)) return false;
    for (;;) {
      const stream = this.#streams.first;
      if (stream === undefined) return true;
      if (!this.#writeStream(stream, writer, sent)) return false;
      this.#streams.shift();
    }
  }

  onLost(frame: SentControlFrame): void {
    const { type, stream, value } = frame;
    if (stream === undefined) {
      if (this.#limits.valueOf(type) === value) this.wantLimit(type);
      return;
    }
    const { receiving, sending } = stream;
    switch (type) {
      case FrameType.MAX_STREAM_DATA:
        if (receiving?.state === "receiving" && receiving.limit === value) this.want(stream, Want.MAX_STREAM_DATA);
        break;
      case FrameType.STOP_SENDING:
        if (receiving?.state === "discarding") this.want(stream, Want.STOP_SENDING);
        break;
      case FrameType.RESET_STREAM:
        if (sending?.state === "reset") this.want(stream, Want.RESET_STREAM);
        break;
      case FrameType.STREAM_DATA_BLOCKED:
        if (sending?.blockedAt === value) this.want(stream, Want.STREAM_DATA_BLOCKED);
        break;
    }
  }

  #writeLimits(writer: FrameWriter, sent: SentFrames): boolean {
    for (const type of CONNECTION_TYPES) {
      const bit = 1 << type;
      if ((this.#wanted & bit) === 0) continue;
      const value = this.#limits.valueOf(type);
      if (value !== undefined) {
        if (!writeLimit(writer, type, value)) return false;
        (sent.controls ??= []).push({ type, stream: undefined, value });
      }
      this.#wanted &= ~bit;
    }
    return true;
  }

  #writeStream(stream: Stream, writer: FrameWriter, sent: SentFrames): boolean {
    const { id, receiving, sending } = stream;
    if ((stream.wanted & Want.RESET_STREAM) !== 0 && sending?.state === "reset") {
      if (!writer.resetStream(id, sending.resetCode, sending.finalSize)) return false;
      (sent.controls ??= []).push({ type: FrameType.RESET_STREAM, stream, value: sending.resetCode });
    }
    stream.wanted &= ~Want.RESET_STREAM;
    if ((stream.wanted & Want.STOP_SENDING) !== 0 && receiving?.state === "discarding") {
      if (!writer.stopSending(id, receiving.stopCode)) return false;
      (sent.controls ??= []).push({ type: FrameType.STOP_SENDING, stream, value: receiving.stopCode });
    }
    stream.wanted &= ~Want.STOP_SENDING;
    if ((stream.wanted & Want.MAX_STREAM_DATA) !== 0 && receiving?.state === "receiving") {
      if (!writer.maxStreamData(id, receiving.limit)) return false;
      (sent.controls ??= []).push({ type: FrameType.MAX_STREAM_DATA, stream, value: receiving.limit });
    }
    stream.wanted &= ~Want.MAX_STREAM_DATA;
    if ((stream.wanted & Want.STREAM_DATA_BLOCKED) !== 0 && sending !== undefined && sending.blockedAt >= 0) {
      if (!writer.streamDataBlocked(id, sending.blockedAt)) return false;
      (sent.controls ??= []).push({ type: FrameType.STREAM_DATA_BLOCKED, stream, value: sending.blockedAt });
    }
    stream.wanted = 0;
    return true;
  }
}
