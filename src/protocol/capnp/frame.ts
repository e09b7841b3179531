/**
 * Stream framing, unpacked (wire § 9.1). Messages stand back to back:
 *
 *     u32 segments - 1 │ u32 words of segment 0 │ … │ u32 words of segment n-1 │ pad to 8 bytes │ segment 0 │ … │ segment n-1
 *
 * All integers are little-endian; a word is 8 bytes.
 */
import { Buffer } from "node:buffer";
import { malformed, overLimit } from "./errors.ts";
import { INITIAL_FRAME_BYTES, MAX_SEGMENTS } from "./limits.ts";

/** A segment's place in the bytes of its frame. */
export interface Segment {
  readonly start: number;
  readonly end: number;
}

/** One whole message. `bytes` may be a view of the chunk that it came in: valid only until the caller returns. */
export interface Frame {
  readonly bytes: Buffer;
  readonly segments: readonly Segment[];
}

/** What `FrameSplitter.next` took: up to `end` (exclusive), and the message that this completed. */
export interface Split {
  readonly end: number;
  readonly frame: Frame | undefined;
}

const EMPTY = Buffer.alloc(0);

/** Header of a frame as far as it has arrived: its segments when it is whole, or how many bytes it takes to know more. */
type Header = { readonly segments: readonly Segment[]; readonly length: number } | { readonly needs: number };

function readHeader(bytes: Buffer, at: number, end: number, maxBytes: number): Header {
  if (end - at < 4) return { needs: 4 };
  const count = bytes.readUInt32LE(at) + 1;
  if (count > MAX_SEGMENTS) throw overLimit(`message of ${count} segments, at most ${MAX_SEGMENTS} are taken`);
  const headerBytes = (4 + 4 * count + 7) & ~7;
  if (end - at < headerBytes) return { needs: headerBytes };
  const segments: Segment[] = [];
  let length = headerBytes;
  for (let i = 0; i < count; i++) {
    const start = length;
    length += bytes.readUInt32LE(at + 4 + 4 * i) * 8;
    segments.push({ start, end: length });
  }
  if (length > maxBytes) throw overLimit(`message of ${length} bytes, at most ${maxBytes} are taken`);
  if (segments[0]?.end === headerBytes)
    throw malformed("message whose first segment is empty, expected a root pointer");
  return { segments, length };
}

/** Cuts a byte stream into messages. Nothing is allocated before the header is whole and within the limits. */
export class FrameSplitter {
  readonly #maxBytes: number;
  #buffer: Buffer = EMPTY;
  #filled = 0;
  #header: Header = { needs: 4 };

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** A message has begun and is not complete. */
  get partial(): boolean {
    return this.#filled > 0;
  }

  /** Takes the bytes of `chunk` from `from` on, at most to the end of one message. Throws CapnpError, and is then of no more use. */
  next(chunk: Uint8Array, from: number): Split {
    if (this.#filled > 0) return this.#append(chunk, from);
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const header = readHeader(bytes, from, bytes.length, this.#maxBytes);
    if (!("segments" in header) || bytes.length - from < header.length) return this.#append(chunk, from);
    const end = from + header.length;
    return { end, frame: { bytes: bytes.subarray(from, end), segments: header.segments } };
  }

  #append(chunk: Uint8Array, from: number): Split {
    let at = from;
    for (;;) {
      const target = "segments" in this.#header ? this.#header.length : this.#header.needs;
      const taken = Math.min(target - this.#filled, chunk.length - at);
      this.#reserve(taken, target);
      this.#buffer.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled < target) return { end: at, frame: undefined };
      if ("segments" in this.#header) {
        const frame = { bytes: this.#buffer.subarray(0, target), segments: this.#header.segments };
        this.#buffer = EMPTY;
        this.#filled = 0;
        this.#header = { needs: 4 };
        return { end: at, frame };
      }
      this.#header = readHeader(this.#buffer, 0, this.#filled, this.#maxBytes);
    }
  }

  /** Doubles with what has arrived: a header that promises 16 MiB costs nothing by itself, and many small pieces copy in O(n). */
  #reserve(more: number, target: number): void {
    const needed = this.#filled + more;
    if (needed <= this.#buffer.length) return;
    const capacity = Math.max(needed, Math.min(target, Math.max(INITIAL_FRAME_BYTES, 2 * this.#buffer.length)));
    const grown = Buffer.allocUnsafeSlow(capacity);
    this.#buffer.copy(grown, 0, 0, this.#filled);
    this.#buffer = grown;
  }
}
