/**
 * Cuts received bytes into frames (RFC 9113 § 4.1), however they were chunked. DATA payload is passed on in slices as it
 * arrives; other frames are collected, and copied only when a chunk ends inside them. Checks what a frame alone can break:
 * its size, and that a header block is not interrupted (§ 6.10). Throws Http2ConnectionError.
 */
import { frameSizeError, protocolError } from "./errors.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, readUint32 } from "./frames.ts";
import { MAX_FRAME_SIZE, MAX_SETTINGS_ENTRIES } from "./limits.ts";

export interface FrameHandler {
  /** A DATA frame begins; `length` is what flow control counts, padding included. */
  dataBegins(streamId: number, length: number): void;
  /** Padding of that frame, its length byte included. */
  dataPadding(bytes: number): void;
  dataChunk(chunk: Buffer): void;
  /** That frame is complete. */
  dataEnds(endStream: boolean): void;
  /** Any other frame; its payload is `bytes` from `start` to `end`, valid during the call. Of unknown types and of GOAWAY's debug data nothing is kept. */
  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
}

/** How much of a frame's payload is kept; the rest is skipped. */
function kept(type: number, length: number): number {
  switch (type) {
    case FrameType.HEADERS:
    case FrameType.CONTINUATION:
      return length;
    case FrameType.PRIORITY:
      // One byte more than is right is enough to see that it is wrong.
      return Math.min(length, 6);
    case FrameType.SETTINGS:
      // One entry over the limit is enough to see that it is over.
      return Math.min(length, 6 * (MAX_SETTINGS_ENTRIES + 1));
    case FrameType.RST_STREAM:
    case FrameType.PING:
    case FrameType.GOAWAY:
    case FrameType.WINDOW_UPDATE:
      return Math.min(length, 8);
    default:
      return 0;
  }
}

function checkSize(type: number, flags: number, length: number): void {
  let right = true;
  switch (type) {
    case FrameType.RST_STREAM:
    case FrameType.WINDOW_UPDATE:
      right = length === 4;
      break;
    case FrameType.PING:
      right = length === 8;
      break;
    case FrameType.GOAWAY:
      right = length >= 8;
      break;
    case FrameType.SETTINGS:
      right = (flags & Flag.ACK) === 0 ? length % 6 === 0 : length === 0;
      break;
    default:
  }
  if (!right) throw frameSizeError(`a frame of type ${type} has ${length} bytes of payload`);
}

const State = { header: 0, padLength: 1, data: 2, padding: 3, payload: 4, skip: 5 } as const;

export class FrameReader {
  readonly #handler: FrameHandler;
  #state: number = State.header;
  #stopped = false;
  readonly #headerBytes = Buffer.alloc(FRAME_HEADER_SIZE);
  /** Bytes of a header that came in pieces. */
  #headerHave = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Bytes of the current state that are still to come. */
  #left = 0;
  /** Behind the kept payload, or behind the data. */
  #trailing = 0;
  /** A payload that came in pieces. */
  #partial: Buffer | undefined;
  #partialLength = 0;
  /** The stream whose header block is open, or 0. */
  #blockStream = 0;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Nothing more is read, not even the rest of the chunk at hand. */
  stop(): void {
    this.#stopped = true;
  }

  receive(bytes: Buffer, from: number): void {
    const end = bytes.length;
    let at = from;
    while (at < end && !this.#stopped) {
      switch (this.#state) {
        case State.header:
          if (this.#headerHave === 0 && end - at >= FRAME_HEADER_SIZE) {
            this.#begin(bytes, at);
            at += FRAME_HEADER_SIZE;
          } else {
            this.#headerBytes[this.#headerHave++] = bytes[at++] as number;
            if (this.#headerHave < FRAME_HEADER_SIZE) continue;
            this.#headerHave = 0;
            this.#begin(this.#headerBytes, 0);
          }
          break;
        case State.padLength:
          this.#padLength(bytes[at++] as number);
          break;
        case State.data: {
          const length = Math.min(this.#left, end - at);
          this.#left -= length;
          this.#handler.dataChunk(length === end && at === 0 ? bytes : bytes.subarray(at, at + length));
          at += length;
          if (this.#left === 0) this.#dataEnded();
          break;
        }
        case State.payload:
          at = this.#payload(bytes, at);
          break;
        default: {
          const length = Math.min(this.#left, end - at);
          this.#left -= length;
          at += length;
          if (this.#left === 0) {
            if (this.#state === State.padding) this.#handler.dataEnds((this.#flags & Flag.END_STREAM) !== 0);
            this.#state = State.header;
          }
        }
      }
    }
  }

  #begin(bytes: Buffer, at: number): void {
    const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const streamId = readUint32(bytes, at + 5) & 0x7fffffff;
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    if (length > MAX_FRAME_SIZE) throw frameSizeError(`a frame of ${length} bytes; ${MAX_FRAME_SIZE} were announced`);
    if (this.#blockStream !== 0) {
      if (type !== FrameType.CONTINUATION || streamId !== this.#blockStream) {
        throw protocolError("a header block was interrupted by another frame");
      }
    } else if (type === FrameType.CONTINUATION) {
      throw protocolError("CONTINUATION without an open header block");
    }
    if (type === FrameType.DATA) {
      this.#beginData(length);
      return;
    }
    checkSize(type, flags, length);
    if (type === FrameType.HEADERS || type === FrameType.CONTINUATION) {
      this.#blockStream = (flags & Flag.END_HEADERS) === 0 ? streamId : 0;
    }
    this.#left = kept(type, length);
    this.#trailing = length - this.#left;
    this.#state = State.payload;
    if (this.#left === 0) this.#complete(bytes, at, at);
  }

  #beginData(length: number): void {
    this.#handler.dataBegins(this.#streamId, length);
    this.#left = length;
    this.#trailing = 0;
    if ((this.#flags & Flag.PADDED) === 0) {
      this.#state = State.data;
      if (length === 0) this.#dataEnded();
    } else if (length === 0) {
      throw frameSizeError("a padded DATA frame without its pad length");
    } else {
      this.#state = State.padLength;
    }
  }

  #padLength(padding: number): void {
    this.#left -= 1;
    if (padding > this.#left) throw protocolError("the padding of a DATA frame is longer than its payload");
    this.#handler.dataPadding(1 + padding);
    this.#left -= padding;
    this.#trailing = padding;
    this.#state = State.data;
    if (this.#left === 0) this.#dataEnded();
  }

  #dataEnded(): void {
    if (this.#trailing > 0) {
      this.#left = this.#trailing;
      this.#state = State.padding;
      return;
    }
    this.#state = State.header;
    this.#handler.dataEnds((this.#flags & Flag.END_STREAM) !== 0);
  }

  #payload(bytes: Buffer, at: number): number {
    const available = bytes.length - at;
    if (this.#partialLength === 0 && available >= this.#left) {
      const end = at + this.#left;
      this.#complete(bytes, at, end);
      return end;
    }
    const length = Math.min(this.#left, available);
    const partial = this.#roomFor(length);
    bytes.copy(partial, this.#partialLength, at, at + length);
    this.#partialLength += length;
    this.#left -= length;
    if (this.#left === 0) {
      const end = this.#partialLength;
      this.#partialLength = 0;
      this.#complete(partial, 0, end);
      // Frames are mostly small; a large block's memory is not kept for the next one.
      if (partial.length > 16_384) this.#partial = undefined;
    }
    return at + length;
  }

  /** Grows with what has arrived, never with what a length field promises. */
  #roomFor(length: number): Buffer {
    const needed = this.#partialLength + length;
    const partial = this.#partial;
    if (partial !== undefined && partial.length >= needed) return partial;
    const larger = Buffer.allocUnsafeSlow(Math.max(256, 2 * needed));
    partial?.copy(larger, 0, 0, this.#partialLength);
    this.#partial = larger;
    return larger;
  }

  #complete(bytes: Buffer, start: number, end: number): void {
    this.#left = this.#trailing;
    this.#state = this.#trailing > 0 ? State.skip : State.header;
    this.#handler.frame(this.#type, this.#flags, this.#streamId, bytes, start, end);
  }
}
