/**
 * Writing: one segment, objects in the order in which fields are set, depth first, as cloudflared's library lays them out.
 * Layouts: `pointers.ts`; framing: `frame.ts`. Empty text, data and lists are null pointers; a struct of no bytes is a pointer
 * of offset -1, `fc ff ff ff 00 00 00 00` (wire § 9.1).
 */
import { Buffer } from "node:buffer";
import { overLimit } from "./errors.ts";
import { INITIAL_MESSAGE_BYTES, MAX_WRITTEN_BYTES } from "./limits.ts";
import { KIND_CAPABILITY, KIND_LIST, SIZE_BYTE, SIZE_COMPOSITE, SIZE_POINTER } from "./pointers.ts";

/** How a struct of one type is written. */
export interface StructWriting<T> {
  readonly dataWords: number;
  readonly pointers: number;
  write(struct: StructWriter, value: T): void;
}

const FRAME_HEADER_BYTES = 8;

/** The segment under construction, behind room for its frame header. Unused bytes are zero. */
class Arena {
  bytes: Buffer = Buffer.alloc(INITIAL_MESSAGE_BYTES);
  view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  end = FRAME_HEADER_BYTES;

  allocate(words: number): number {
    const start = this.end;
    this.reserve(words * 8);
    this.end += words * 8;
    return start;
  }

  /** Makes room behind `end`. */
  reserve(bytes: number): void {
    const needed = this.end + bytes;
    if (needed <= this.bytes.length) return;
    if (needed > MAX_WRITTEN_BYTES) throw overLimit(`message of more than ${MAX_WRITTEN_BYTES} bytes can't be written`);
    const grown = Buffer.alloc(Math.max(needed, 2 * this.bytes.length));
    this.bytes.copy(grown, 0, 0, this.end);
    this.bytes = grown;
    this.view = new DataView(grown.buffer, grown.byteOffset, grown.byteLength);
  }

  struct(at: number, dataWords: number, pointers: number): StructWriter {
    if (dataWords + pointers === 0) {
      this.view.setInt32(at, -4, true);
      return new StructWriter(this, at, 0);
    }
    const start = this.allocate(dataWords + pointers);
    this.view.setInt32(at, (start - at - 8) >> 1, true);
    this.view.setUint32(at + 4, (dataWords | (pointers << 16)) >>> 0, true);
    return new StructWriter(this, start, dataWords);
  }

  list(at: number, start: number, elementSize: number, count: number): void {
    this.view.setInt32(at, ((start - at - 8) >> 1) | KIND_LIST, true);
    this.view.setUint32(at + 4, ((count << 3) | elementSize) >>> 0, true);
  }

  text(at: number, text: string, encoding: "utf8" | "latin1"): void {
    if (text === "") return;
    this.reserve(text.length * 3 + 8);
    const start = this.end;
    const count = this.bytes.write(text, start, encoding) + 1;
    this.end += (count + 7) & ~7;
    this.list(at, start, SIZE_BYTE, count);
  }

  frame(): Buffer {
    this.view.setUint32(4, (this.end - FRAME_HEADER_BYTES) / 8, true);
    return this.bytes.subarray(0, this.end);
  }
}

/** A struct under construction; every field is the default until set, and is set at most once. */
export class StructWriter {
  readonly #arena: Arena;
  readonly #data: number;
  readonly #pointers: number;

  constructor(arena: Arena, data: number, dataWords: number) {
    this.#arena = arena;
    this.#data = data;
    this.#pointers = data + dataWords * 8;
  }

  bit(bit: number, value: boolean): void {
    if (!value) return;
    const at = this.#data + (bit >> 3);
    this.#arena.view.setUint8(at, this.#arena.view.getUint8(at) | (1 << (bit & 7)));
  }

  uint8(offset: number, value: number): void {
    this.#arena.view.setUint8(this.#data + offset, value);
  }

  uint16(offset: number, value: number): void {
    this.#arena.view.setUint16(this.#data + offset, value, true);
  }

  uint32(offset: number, value: number): void {
    this.#arena.view.setUint32(this.#data + offset, value, true);
  }

  int32(offset: number, value: number): void {
    this.#arena.view.setInt32(this.#data + offset, value, true);
  }

  uint64(offset: number, value: bigint): void {
    this.#arena.view.setBigUint64(this.#data + offset, value, true);
  }

  int64(offset: number, value: bigint): void {
    this.#arena.view.setBigInt64(this.#data + offset, value, true);
  }

  text(index: number, value: string): void {
    this.#arena.text(this.#pointers + index * 8, value, "utf8");
  }

  /** A text given as bytes, one a char. */
  byteString(index: number, value: string): void {
    this.#arena.text(this.#pointers + index * 8, value, "latin1");
  }

  data(index: number, value: Uint8Array): void {
    if (value.length === 0) return;
    const start = this.#arena.allocate(Math.ceil(value.length / 8));
    this.#arena.bytes.set(value, start);
    this.#arena.list(this.#pointers + index * 8, start, SIZE_BYTE, value.length);
  }

  texts(index: number, values: readonly string[]): void {
    if (values.length === 0) return;
    const start = this.#arena.allocate(values.length);
    this.#arena.list(this.#pointers + index * 8, start, SIZE_POINTER, values.length);
    let at = start;
    for (const value of values) {
      this.#arena.text(at, value, "utf8");
      at += 8;
    }
  }

  /** A struct that `write` fills, or that the caller does. */
  init(index: number, dataWords: number, pointers: number): StructWriter {
    return this.#arena.struct(this.#pointers + index * 8, dataWords, pointers);
  }

  struct<T>(index: number, type: StructWriting<T>, value: T): void {
    type.write(this.init(index, type.dataWords, type.pointers), value);
  }

  array<T>(index: number, type: StructWriting<T>, values: readonly T[]): void {
    if (values.length === 0) return;
    const step = (type.dataWords + type.pointers) * 8;
    let at = this.#composite(index, values.length, type.dataWords, type.pointers);
    for (const value of values) {
      type.write(new StructWriter(this.#arena, at, type.dataWords), value);
      at += step;
    }
  }

  /** A list of no structs that is not null: its tag alone, as cloudflared's RPC writes them. */
  emptyArray(index: number, dataWords: number, pointers: number): void {
    this.#composite(index, 0, dataWords, pointers);
  }

  capability(index: number, capTableIndex: number): void {
    this.#arena.view.setUint32(this.#pointers + index * 8, KIND_CAPABILITY, true);
    this.#arena.view.setUint32(this.#pointers + index * 8 + 4, capTableIndex, true);
  }

  /** Returns where the first element stands. */
  #composite(index: number, count: number, dataWords: number, pointers: number): number {
    const words = count * (dataWords + pointers);
    const tag = this.#arena.allocate(1 + words);
    this.#arena.list(this.#pointers + index * 8, tag, SIZE_COMPOSITE, words);
    this.#arena.view.setUint32(tag, count << 2, true);
    this.#arena.view.setUint32(tag + 4, (dataWords | (pointers << 16)) >>> 0, true);
    return tag + 8;
  }
}

/** A whole message, framed, with a value of `type` as its root. The bytes belong to the caller. */
export function encodeMessage<T>(type: StructWriting<T>, value: T): Buffer {
  const arena = new Arena();
  const root = arena.allocate(1);
  type.write(arena.struct(root, type.dataWords, type.pointers), value);
  return arena.frame();
}
