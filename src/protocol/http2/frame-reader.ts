/**
 * Splits received bytes into frames (RFC 9113 § 4.1). DATA is passed on in slices as it arrives; of all other frames only a
 * partial one is copied and held.
 *
 *   +-----------------------------------------------+
 *   | length (24) | type (8) | flags (8) | R | id (31) |
 *   +-----------------------------------------------+
 *   DATA, HEADERS with PADDED: pad length (8), content, padding
 */
import { Http2ConnectionError } from "./errors.ts";
import { Flag, FrameType } from "./frames.ts";
import { ErrorCode } from "./types.ts";

export interface FrameSink {
  /** A frame's header, before any of its payload. Checks what the header alone can break; throws Http2ConnectionError. */
  begin(type: number, flags: number, streamId: number, length: number): void;
  /** Bytes of a DATA frame's content; the view is valid only during the call. `rest` = content bytes still to come. */
  data(chunk: Buffer): void;
  /** The DATA frame is complete. `padding` = bytes that were not content. */
  dataEnd(flags: number, padding: number): void;
  /** Any other frame, whole. */
  frame(type: number, flags: number, streamId: number, payload: Buffer): void;
}

const HEADER_BYTES = 9;
const EMPTY = Buffer.alloc(0);

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #header = Buffer.allocUnsafeSlow(HEADER_BYTES);
  #headerLength = 0;
  #inPayload = false;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Payload bytes of the current frame that have not arrived. */
  #left = 0;
  /** DATA: content bytes that have not arrived, -1 until the pad length is known. */
  #content = 0;
  #padding = 0;
  /** Another frame: what has arrived of its payload. */
  #partial: Buffer | undefined;
  #partialLength = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  read(bytes: Buffer, from: number): void {
    let at = from;
    while (at < bytes.length || (this.#inPayload && this.#left === 0)) {
      if (!this.#inPayload) {
        at = this.#readHeader(bytes, at);
        if (!this.#inPayload) return;
      }
      at = this.#type === FrameType.DATA ? this.#readData(bytes, at) : this.#readOther(bytes, at);
    }
  }

  #readHeader(bytes: Buffer, from: number): number {
    let header = bytes;
    let at = from;
    let end = from + HEADER_BYTES;
    if (this.#headerLength > 0 || bytes.length - from < HEADER_BYTES) {
      const taken = Math.min(HEADER_BYTES - this.#headerLength, bytes.length - from);
      bytes.copy(this.#header, this.#headerLength, from, from + taken);
      this.#headerLength += taken;
      end = from + taken;
      if (this.#headerLength < HEADER_BYTES) return end;
      this.#headerLength = 0;
      header = this.#header;
      at = 0;
    }
    const length = ((header[at] as number) << 16) | ((header[at + 1] as number) << 8) | (header[at + 2] as number);
    this.#type = header[at + 3] as number;
    this.#flags = header[at + 4] as number;
    this.#streamId =
      (((header[at + 5] as number) & 0x7f) << 24) |
      ((header[at + 6] as number) << 16) |
      ((header[at + 7] as number) << 8) |
      (header[at + 8] as number);
    this.#sink.begin(this.#type, this.#flags, this.#streamId, length);
    this.#left = length;
    this.#padding = 0;
    this.#content = this.#type === FrameType.DATA && (this.#flags & Flag.PADDED) !== 0 ? -1 : length;
    this.#inPayload = true;
    return end;
  }

  #readData(bytes: Buffer, from: number): number {
    let at = from;
    if (this.#content < 0) {
      if (this.#left === 0) throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a padded DATA frame is empty");
      if (at === bytes.length) return at;
      const padLength = bytes[at++] as number;
      this.#left--;
      if (padLength > this.#left) throw paddingError("DATA");
      this.#padding = padLength + 1;
      this.#content = this.#left - padLength;
    }
    const content = Math.min(this.#content, bytes.length - at);
    if (content > 0) {
      this.#content -= content;
      this.#left -= content;
      this.#sink.data(bytes.subarray(at, at + content));
      at += content;
    }
    if (this.#content === 0) {
      const padding = Math.min(this.#left, bytes.length - at);
      this.#left -= padding;
      at += padding;
    }
    if (this.#left === 0) {
      this.#inPayload = false;
      this.#sink.dataEnd(this.#flags, this.#padding);
    }
    return at;
  }

  #readOther(bytes: Buffer, from: number): number {
    const taken = Math.min(this.#left, bytes.length - from);
    const end = from + taken;
    this.#left -= taken;
    let payload: Buffer;
    if (this.#partial === undefined && this.#left === 0) {
      payload = taken === 0 ? EMPTY : bytes.subarray(from, end);
    } else {
      this.#partial ??= Buffer.allocUnsafeSlow(taken + this.#left);
      bytes.copy(this.#partial, this.#partialLength, from, end);
      this.#partialLength += taken;
      if (this.#left > 0) return end;
      payload = this.#partial;
      this.#partial = undefined;
      this.#partialLength = 0;
    }
    this.#inPayload = false;
    this.#sink.frame(this.#type, this.#flags, this.#streamId, payload);
    return end;
  }
}

function paddingError(type: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, `the padding of a ${type} frame is longer than the frame`);
}

/** The content of a HEADERS frame: without padding and the deprecated priority fields (checked, then ignored). */
export function headersContent(flags: number, streamId: number, payload: Buffer): Buffer {
  let start = 0;
  let end = payload.length;
  if ((flags & Flag.PADDED) !== 0) {
    if (end < 1) throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a padded HEADERS frame is empty");
    end -= payload[0] as number;
    start = 1;
    if (end < start) throw paddingError("HEADERS");
  }
  if ((flags & Flag.PRIORITY) !== 0) {
    if (end - start < 5)
      throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its priority");
    checkDependency(streamId, payload, start);
    start += 5;
  }
  return payload.subarray(start, end);
}

/** RFC 7540 § 5.3.1: a stream can't depend on itself. */
export function checkDependency(streamId: number, payload: Buffer, at: number): void {
  if ((payload.readUInt32BE(at) & 0x7fff_ffff) === streamId) {
    throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, `stream ${streamId} depends on itself`);
  }
}
