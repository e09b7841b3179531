/**
 * Pointers, followed within bounds (wire § 9.1). A pointer is one word, `lo` its first four bytes, `hi` the other four:
 *
 *     struct      lo = offset:30 signed, 0:2     hi = data words:16, pointers:16
 *     list        lo = offset:30 signed, 1:2     hi = element size:3, count:29 (of words where the size is 7, composite)
 *     far         lo = pad word:29, double:1, 2:2     hi = segment
 *     capability  lo = 3     hi = index into the payload's capTable
 *
 * Offsets count words from the end of the pointer. A composite list begins with a tag: a struct pointer whose offset is the
 * number of elements. A far pointer leads to a pad in another segment: the pointer itself, or, when double, a far pointer to
 * the content and a tag. Only CapnpError is thrown.
 */
import type { Buffer } from "node:buffer";
import { malformed, overLimit } from "./errors.ts";
import type { Frame, Segment } from "./frame.ts";
import { TRAVERSAL_EXTRA_WORDS, TRAVERSAL_FACTOR } from "./limits.ts";

export const KIND_STRUCT = 0;
export const KIND_LIST = 1;
const KIND_FAR = 2;
export const KIND_CAPABILITY = 3;
export const SIZE_BYTE = 2;
export const SIZE_POINTER = 6;
export const SIZE_COMPOSITE = 7;

const KIND_NAMES = ["struct", "list", "far pointer", "capability"];

/** Where a pointer leads: `start` is the byte of its content, `segment` the one that the content stands in. */
export interface Target {
  readonly segment: Segment;
  readonly start: number;
  readonly lo: number;
  readonly hi: number;
}

/** One message, and what its reader may still visit of it. */
export class MessageReader {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly #segments: readonly Segment[];
  #budget: number;

  constructor(frame: Frame) {
    this.bytes = frame.bytes;
    this.view = new DataView(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.byteLength);
    this.#segments = frame.segments;
    this.#budget = TRAVERSAL_FACTOR * (frame.bytes.length / 8) + TRAVERSAL_EXTRA_WORDS;
  }

  segment(id: number): Segment {
    const segment = this.#segments[id];
    if (segment === undefined)
      throw malformed(`far pointer to segment ${id}, the message has ${this.#segments.length}`);
    return segment;
  }

  charge(words: number): void {
    this.#budget -= words;
    if (this.#budget < 0) throw overLimit("message whose pointers lead to many times its own size");
  }

  /** Undefined for a null pointer. The content does not start before its segment; that it ends within is the caller's to check. */
  follow(at: number, segment: Segment): Target | undefined {
    const lo = this.view.getInt32(at, true);
    const hi = this.view.getUint32(at + 4, true);
    if (lo === 0 && hi === 0) return undefined;
    if ((lo & 3) === KIND_FAR) return this.#followFar(lo, hi);
    return near(at, segment, lo, hi);
  }

  #followFar(lo: number, hi: number): Target {
    const segment = this.segment(hi);
    const double = (lo & 4) !== 0;
    const pad = segment.start + (lo >>> 3) * 8;
    if (pad + (double ? 16 : 8) > segment.end) throw malformed("far pointer to a pad outside of its segment");
    this.charge(double ? 2 : 1);
    const padLo = this.view.getInt32(pad, true);
    const padHi = this.view.getUint32(pad + 4, true);
    if (!double) {
      if ((padLo & 3) === KIND_FAR) throw malformed("far pointer to a far pointer");
      return near(pad, segment, padLo, padHi);
    }
    if ((padLo & 7) !== KIND_FAR) throw malformed("double-far pad that does not begin with a far pointer");
    const tagLo = this.view.getInt32(pad + 8, true);
    if (tagLo !== KIND_STRUCT && tagLo !== KIND_LIST)
      throw malformed("double-far tag that is no struct or list pointer of offset 0");
    const content = this.segment(padHi);
    const start = content.start + (padLo >>> 3) * 8;
    return { segment: content, start, lo: tagLo, hi: this.view.getUint32(pad + 12, true) };
  }
}

function near(at: number, segment: Segment, lo: number, hi: number): Target {
  const start = at + 8 + (lo >> 2) * 8;
  if (start < segment.start) throw malformed("pointer that leads outside of its segment");
  return { segment, start, lo, hi };
}

export function expectKind(target: Target, kind: number): void {
  if ((target.lo & 3) !== kind) throw malformed(`${KIND_NAMES[target.lo & 3]} where a ${KIND_NAMES[kind]} is expected`);
}
