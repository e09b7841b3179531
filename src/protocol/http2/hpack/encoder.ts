/** HPACK encoding (RFC 7541 § 6) into one growing buffer that is used again for the next block. */
import { HeaderField } from "../../bytes/header-field.ts";
import type { ClientFieldEncoder } from "../types.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { DEFAULT_TABLE_SIZE, ENTRY_OVERHEAD } from "./limits.ts";
import { STATIC_FIELD_INDEX, STATIC_NAME_INDEX, STATIC_TABLE_LENGTH } from "./static-table.ts";

/** First bytes of the representations, and the bits that their index has. */
const INDEXED = 0x80;
const INCREMENTAL = 0x40;
const NEVER = 0x10;
const WITHOUT = 0x00;

/** The most bytes that an integer of ours takes. */
const INTEGER_ROOM = 6;

/** A name goes into the dynamic table along with its first value, unless that would push everything else out. */
const MAX_NAMING_ENTRY = 512;

export class HpackEncoder implements ClientFieldEncoder {
  readonly #huffman: boolean;
  readonly #table = new DynamicTable(DEFAULT_TABLE_SIZE);
  /** Entry number (`DynamicTable.inserted` when it came in) of names and of whole fields; stale ones are found out on use. */
  readonly #names = new Map<string, number>();
  readonly #fields = new Map<string, number>();
  #buffer = Buffer.allocUnsafeSlow(4096);
  #length = 0;
  /** Size updates that the next block must begin with (RFC 7541 § 4.2): the lowest since the last block, then the last. */
  #lowestSize: number | undefined;

  constructor(options: { huffman?: boolean } = {}) {
    this.#huffman = options.huffman ?? false;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableSize(size: number): void {
    const wanted = Math.min(size, DEFAULT_TABLE_SIZE);
    if (wanted === this.#table.maxSize && this.#lowestSize === undefined) return;
    this.#lowestSize = Math.min(this.#lowestSize ?? wanted, wanted);
    this.#table.resize(wanted);
    this.#names.clear();
    this.#fields.clear();
  }

  begin(): void {
    this.#length = 0;
    if (this.#lowestSize === undefined) return;
    this.#room(2 * INTEGER_ROOM);
    if (this.#lowestSize < this.#table.maxSize) this.#integer(0x20, 5, this.#lowestSize);
    this.#integer(0x20, 5, this.#table.maxSize);
    this.#lowestSize = undefined;
  }

  /** The block. The view is valid until the next `begin`. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  status(code: number): void {
    this.field(":status", String(code), "index");
  }

  pseudo(method: string, scheme: string | undefined, authority: string | undefined, path: string | undefined): void {
    this.field(":method", method, "index");
    if (scheme !== undefined) this.field(":scheme", scheme, "index");
    if (authority !== undefined) this.field(":authority", authority, "index");
    if (path !== undefined) this.field(":path", path, "name");
  }

  field(name: string, value: string, indexing: "index" | "name" | "never"): void {
    this.#room(2 * INTEGER_ROOM + name.length + value.length + INTEGER_ROOM);
    if (indexing === "index") {
      const key = `${name}\0${value}`;
      const index = STATIC_FIELD_INDEX.get(key) ?? this.#live(this.#fields, key);
      if (index !== undefined) {
        this.#integer(INDEXED, 7, index);
        return;
      }
      if (this.#literal(INCREMENTAL, 6, name, value)) this.#fields.set(key, this.#table.inserted);
      return;
    }
    if (indexing === "never") {
      this.#literal(NEVER, 4, name, value);
      return;
    }
    const known = STATIC_NAME_INDEX.has(name) || this.#live(this.#names, name) !== undefined;
    const worthNaming = !known && name.length + value.length + ENTRY_OVERHEAD <= MAX_NAMING_ENTRY;
    this.#literal(worthNaming ? INCREMENTAL : WITHOUT, worthNaming ? 6 : 4, name, value);
  }

  /** Writes a literal; true when it went into the dynamic table. */
  #literal(first: number, prefix: number, name: string, value: string): boolean {
    const index = STATIC_NAME_INDEX.get(name) ?? this.#live(this.#names, name);
    this.#integer(first, prefix, index ?? 0);
    if (index === undefined) this.#string(name);
    this.#string(value);
    if (first !== INCREMENTAL || !this.#table.insert(new HeaderField(name, value))) return false;
    // Names and fields of evicted entries stay behind in the maps; they are few, but a peer must not make them many.
    if (this.#names.size > 512) this.#names.clear();
    if (this.#fields.size > 512) this.#fields.clear();
    this.#names.set(name, this.#table.inserted);
    return true;
  }

  /** The index of a live dynamic entry. */
  #live(map: Map<string, number>, key: string): number | undefined {
    const entry = map.get(key);
    if (entry === undefined) return undefined;
    const index = this.#table.inserted - entry + 1;
    if (index > this.#table.length) {
      map.delete(key);
      return undefined;
    }
    return STATIC_TABLE_LENGTH + index;
  }

  #integer(first: number, prefix: number, value: number): void {
    const mask = (1 << prefix) - 1;
    if (value < mask) {
      this.#buffer[this.#length++] = first | value;
      return;
    }
    this.#buffer[this.#length++] = first | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest >>>= 7) this.#buffer[this.#length++] = (rest & 0x7f) | 0x80;
    this.#buffer[this.#length++] = rest;
  }

  #string(text: string): void {
    if (this.#huffman) {
      const length = huffmanLength(text);
      if (length < text.length) {
        this.#integer(0x80, 7, length);
        this.#length = encodeHuffman(text, this.#buffer, this.#length);
        return;
      }
    }
    this.#integer(0, 7, text.length);
    this.#length += this.#buffer.write(text, this.#length, "latin1");
  }

  #room(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
