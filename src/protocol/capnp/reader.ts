/**
 * Structs, lists, text and data, read within bounds. A struct is its data section and then its pointers; fields are named by
 * their place in these. Layouts: wire § 9.1 and § 9.2.
 */
import { malformed, overLimit } from "./errors.ts";
import type { Frame, Segment } from "./frame.ts";
import { MAX_DEPTH, MAX_LIST_ELEMENTS } from "./limits.ts";
import {
  expectKind,
  KIND_CAPABILITY,
  KIND_LIST,
  KIND_STRUCT,
  MessageReader,
  SIZE_BYTE,
  SIZE_COMPOSITE,
  SIZE_POINTER,
  type Target,
} from "./pointers.ts";

/** What can be read from a struct of one type. */
export interface StructReading<T> {
  read(struct: StructReader): T;
}

/** A struct as it stands in its message. Fields beyond its end are the default, as of an older peer. */
export class StructReader {
  readonly #message: MessageReader;
  readonly #segment: Segment;
  readonly #data: number;
  readonly #dataBytes: number;
  readonly #pointers: number;
  readonly #depth: number;

  constructor(
    message: MessageReader,
    segment: Segment,
    data: number,
    dataBytes: number,
    pointers: number,
    depth: number,
  ) {
    this.#message = message;
    this.#segment = segment;
    this.#data = data;
    this.#dataBytes = dataBytes;
    this.#pointers = pointers;
    this.#depth = depth;
  }

  bit(bit: number): boolean {
    return ((this.uint8(bit >> 3) >> (bit & 7)) & 1) === 1;
  }

  uint8(offset: number): number {
    return offset + 1 <= this.#dataBytes ? this.#message.view.getUint8(this.#data + offset) : 0;
  }

  uint16(offset: number): number {
    return offset + 2 <= this.#dataBytes ? this.#message.view.getUint16(this.#data + offset, true) : 0;
  }

  uint32(offset: number): number {
    return offset + 4 <= this.#dataBytes ? this.#message.view.getUint32(this.#data + offset, true) : 0;
  }

  int32(offset: number): number {
    return this.uint32(offset) | 0;
  }

  uint64(offset: number): bigint {
    return offset + 8 <= this.#dataBytes ? this.#message.view.getBigUint64(this.#data + offset, true) : 0n;
  }

  int64(offset: number): bigint {
    return BigInt.asIntN(64, this.uint64(offset));
  }

  /** The pointer is there and not null. */
  has(index: number): boolean {
    if (index >= this.#pointers) return false;
    const at = this.#data + this.#dataBytes + index * 8;
    return this.#message.view.getUint32(at, true) !== 0 || this.#message.view.getUint32(at + 4, true) !== 0;
  }

  /** A null pointer reads as a struct of defaults. */
  struct(index: number): StructReader {
    const target = this.#follow(index);
    const depth = this.#depth + 1;
    if (depth > MAX_DEPTH) throw overLimit(`structs nested more than ${MAX_DEPTH} deep`);
    if (target === undefined) return new StructReader(this.#message, this.#segment, this.#segment.start, 0, 0, depth);
    expectKind(target, KIND_STRUCT);
    const dataBytes = (target.hi & 0xffff) * 8;
    const pointers = target.hi >>> 16;
    const bytes = dataBytes + pointers * 8;
    if (target.start + bytes > target.segment.end) throw malformed("struct that ends outside of its segment");
    this.#message.charge(Math.max(1, bytes / 8));
    return new StructReader(this.#message, target.segment, target.start, dataBytes, pointers, depth);
  }

  /** The index in the payload's capTable; undefined for a null pointer. */
  capability(index: number): number | undefined {
    const target = this.#follow(index);
    if (target === undefined) return undefined;
    expectKind(target, KIND_CAPABILITY);
    if (target.lo !== KIND_CAPABILITY) throw malformed("pointer of a kind that is not known");
    return target.hi;
  }

  /** A copy. Empty when null. */
  data(index: number): Uint8Array {
    const target = this.#follow(index);
    if (target === undefined) return new Uint8Array(0);
    const count = this.#byteCount(target);
    return new Uint8Array(this.#message.bytes.subarray(target.start, target.start + count));
  }

  /** Bytes that are not UTF-8 become U+FFFD. Empty when null. */
  text(index: number): string {
    const target = this.#follow(index);
    return target === undefined ? "" : this.#text(target, "utf8");
  }

  /** A text whose bytes need not be UTF-8: one char a byte, as header fields have it. */
  byteString(index: number): string {
    const target = this.#follow(index);
    return target === undefined ? "" : this.#text(target, "latin1");
  }

  texts(index: number): string[] {
    const target = this.#follow(index);
    if (target === undefined) return [];
    expectKind(target, KIND_LIST);
    const count = target.hi >>> 3;
    if (count === 0) return [];
    if ((target.hi & 7) !== SIZE_POINTER)
      throw malformed("list of another element size where a list of texts is expected");
    if (count > MAX_LIST_ELEMENTS) throw overLimit(`list of ${count} texts, at most ${MAX_LIST_ELEMENTS} are taken`);
    if (target.start + count * 8 > target.segment.end) throw malformed("list that ends outside of its segment");
    this.#message.charge(count);
    const texts: string[] = [];
    for (let i = 0; i < count; i++) {
      const element = this.#message.follow(target.start + i * 8, target.segment);
      texts.push(element === undefined ? "" : this.#text(element, "utf8"));
    }
    return texts;
  }

  /** Empty when null. */
  list(index: number): StructList {
    const target = this.#follow(index);
    if (target === undefined) return EMPTY_LIST;
    expectKind(target, KIND_LIST);
    if ((target.hi & 7) !== SIZE_COMPOSITE) {
      if (target.hi >>> 3 === 0) return EMPTY_LIST;
      throw malformed("list of another element size where a list of structs is expected");
    }
    const words = target.hi >>> 3;
    const message = this.#message;
    const start = target.start + 8;
    if (start + words * 8 > target.segment.end) throw malformed("list that ends outside of its segment");
    const tagLo = message.view.getUint32(target.start, true);
    const tagHi = message.view.getUint32(target.start + 4, true);
    if ((tagLo & 3) !== KIND_STRUCT) throw malformed("list tag that is no struct pointer");
    const count = tagLo >>> 2;
    const dataBytes = (tagHi & 0xffff) * 8;
    const pointers = tagHi >>> 16;
    const step = dataBytes + pointers * 8;
    if (count * step > words * 8) throw malformed(`list of ${count} structs in too few words`);
    message.charge(words + 1 + (step === 0 ? count : 0));
    if (count > MAX_LIST_ELEMENTS) throw overLimit(`list of ${count} structs, at most ${MAX_LIST_ELEMENTS} are taken`);
    const depth = this.#depth + 1;
    if (depth > MAX_DEPTH) throw overLimit(`structs nested more than ${MAX_DEPTH} deep`);
    const { segment } = target;
    return {
      count,
      at: (i) => new StructReader(message, segment, start + i * step, dataBytes, pointers, depth),
    };
  }

  /** Reads every element of a list of structs. */
  array<T>(index: number, element: StructReading<T>): T[] {
    const list = this.list(index);
    const values: T[] = [];
    for (let i = 0; i < list.count; i++) values.push(element.read(list.at(i)));
    return values;
  }

  #follow(index: number): Target | undefined {
    if (index >= this.#pointers) return undefined;
    return this.#message.follow(this.#data + this.#dataBytes + index * 8, this.#segment);
  }

  #byteCount(target: Target): number {
    expectKind(target, KIND_LIST);
    const count = target.hi >>> 3;
    if ((target.hi & 7) !== SIZE_BYTE) {
      if (count === 0) return 0;
      throw malformed("list of another element size where bytes are expected");
    }
    if (target.start + count > target.segment.end) throw malformed("bytes that end outside of their segment");
    this.#message.charge(Math.ceil(count / 8));
    return count;
  }

  #text(target: Target, encoding: "utf8" | "latin1"): string {
    const count = this.#byteCount(target);
    const end = target.start + count - 1;
    if (count === 0 || this.#message.view.getUint8(end) !== 0) throw malformed("text that does not end in NUL");
    return this.#message.bytes.toString(encoding, target.start, end);
  }
}

/** A list of structs. `at` takes indexes below `count` only. */
export interface StructList {
  readonly count: number;
  at(index: number): StructReader;
}

const EMPTY_LIST: StructList = {
  count: 0,
  at: () => {
    throw malformed("element of an empty list");
  },
};

/** The root struct of a message. A null root reads as a struct of defaults. */
export function readRoot(frame: Frame): StructReader {
  const message = new MessageReader(frame);
  const segment = message.segment(0);
  return new StructReader(message, segment, segment.start, 0, 1, 0).struct(0);
}

/** The value of `type` that is the root of a message. */
export function decodeMessage<T>(type: StructReading<T>, frame: Frame): T {
  return type.read(readRoot(frame));
}
