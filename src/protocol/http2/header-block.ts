/**
 * A header block: the payload of HEADERS, and of the CONTINUATIONs behind it (RFC 9113 §§ 6.2, 6.10).
 *
 *   +---------------+
 *   |Pad Length? (8)|
 *   +-+-------------+-----------------------------------------------+
 *   |E|                 Stream Dependency? (31)                     |
 *   +-+-------------+-----------------------------------------------+
 *   |  Weight? (8)  |        Field Block Fragment …
 *   +---------------+-----------------------------------------------+
 *   |                           Padding …
 */
import { floodError, frameSizeError, protocolError } from "./errors.ts";
import { Flag, readUint32 } from "./frames.ts";
import { MAX_CONTINUATIONS, MAX_HEADER_BLOCK } from "./limits.ts";

/** Stream dependency and weight. */
const PRIORITY_BYTES = 5;

export class HeaderBlock {
  streamId = 0;
  endStream = false;
  /** The deprecated priority fields name the stream itself (RFC 7540 § 5.3.1). */
  selfDependent = false;
  #parts: Buffer[] = [];
  #length = 0;
  #continuations = 0;

  /** A HEADERS frame. Returns the block when it is complete: a view of `bytes`, where no CONTINUATION follows. */
  begin(flags: number, streamId: number, bytes: Buffer, start: number, end: number): Buffer | undefined {
    this.streamId = streamId;
    this.endStream = (flags & Flag.END_STREAM) !== 0;
    const isPadded = (flags & Flag.PADDED) !== 0;
    const hasPriority = (flags & Flag.PRIORITY) !== 0;
    const from = start + (isPadded ? 1 : 0) + (hasPriority ? PRIORITY_BYTES : 0);
    if (from > end) throw frameSizeError("HEADERS is too short for its pad length or priority");
    const to = isPadded ? end - (bytes[start] as number) : end;
    if (to < from) throw protocolError("the padding of a HEADERS frame is longer than its payload");
    this.selfDependent = hasPriority && (readUint32(bytes, from - PRIORITY_BYTES) & 0x7fffffff) === streamId;
    const fragment = bytes.subarray(from, to);
    if ((flags & Flag.END_HEADERS) !== 0) return fragment;
    this.#continuations = 0;
    this.#length = 0;
    this.#parts = [];
    this.#add(fragment);
    return undefined;
  }

  /** A CONTINUATION frame of that block. */
  continue(flags: number, bytes: Buffer, start: number, end: number): Buffer | undefined {
    if (++this.#continuations > MAX_CONTINUATIONS) throw floodError("a header block with too many CONTINUATION frames");
    this.#add(bytes.subarray(start, end));
    if ((flags & Flag.END_HEADERS) === 0) return undefined;
    const block = Buffer.concat(this.#parts, this.#length);
    this.#parts = [];
    return block;
  }

  #add(fragment: Buffer): void {
    this.#length += fragment.length;
    if (this.#length > MAX_HEADER_BLOCK) throw floodError("a header block of more than a megabyte");
    this.#parts.push(Buffer.from(fragment));
  }
}
