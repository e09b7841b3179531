/** HPACK encoding (RFC 7541 § 6) into one growing buffer that is used again for the next block. */
import { HeaderField } from "../../bytes/header-field.ts";
import type { ClientFieldEncoder } from "../types.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { DEFAULT_TABLE_SIZE, ENTRY_OVERHEAD } from "./limits.ts";
import { STATIC_NAMES, STATIC_TABLE_LENGTH } from "./static-table.ts";

/** First bytes of the representations, and the bits that their index has. */
const INDEXED = 0x80;
const INCREMENTAL = 0x40;
const NEVER = 0x10;
const WITHOUT = 0x00;

/** The most bytes that an integer of ours takes. */
const INTEGER_ROOM = 6;

/** A name goes into the dynamic table along with its first value, unless that would push everything else out. */
const MAX_NAMING_ENTRY = 512;

/** What is remembered of entries is forgotten after so many insertions: a few times what the table can hold. */
const MAX_REMEMBERED = 512;

/** Up to this length a loop over the characters is faster than `Buffer.write`. */
const SHORT_STRING = 16;

/** What is known of a name in the dynamic table, as entry numbers; evicted ones are found out on use. */
interface DynamicName {
  /** The newest entry with the name. */
  newest: number;
  /** Entries by their value. */
  readonly values: Map<string, number>;
}

export class HpackEncoder implements ClientFieldEncoder {
  readonly #huffman: boolean;
  readonly #table = new DynamicTable(DEFAULT_TABLE_SIZE);
  readonly #names = new Map<string, DynamicName>();
  #remembered = 0;
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
    if (code === 200) {
      this.#room(1);
      this.#buffer[this.#length++] = INDEXED | 8;
      return;
    }
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
    const inStatic = STATIC_NAMES.get(name);
    const inDynamic = this.#names.get(name);
    if (indexing === "index") {
      const index = inStatic?.values.get(value) ?? this.#indexOf(inDynamic?.values.get(value));
      if (index !== undefined) {
        this.#integer(INDEXED, 7, index);
        return;
      }
    }
    const nameIndex = inStatic?.index ?? this.#indexOf(inDynamic?.newest);
    const size = name.length + value.length + ENTRY_OVERHEAD;
    if (
      (indexing === "index" && size <= this.#table.maxSize) ||
      (indexing === "name" && nameIndex === undefined && size <= Math.min(MAX_NAMING_ENTRY, this.#table.maxSize))
    ) {
      this.#literal(INCREMENTAL, 6, nameIndex, name, value);
      this.#remember(name, value, inDynamic);
    } else {
      this.#literal(indexing === "never" ? NEVER : WITHOUT, 4, nameIndex, name, value);
    }
  }

  #literal(first: number, prefix: number, nameIndex: number | undefined, name: string, value: string): void {
    this.#integer(first, prefix, nameIndex ?? 0);
    if (nameIndex === undefined) this.#string(name);
    this.#string(value);
  }

  #remember(name: string, value: string, known: DynamicName | undefined): void {
    this.#table.insert(new HeaderField(name, value));
    const entry = this.#table.inserted;
    if (++this.#remembered > MAX_REMEMBERED) {
      this.#names.clear();
      this.#remembered = 1;
    } else if (known !== undefined) {
      known.newest = entry;
      known.values.set(value, entry);
      return;
    }
    this.#names.set(name, { newest: entry, values: new Map([[value, entry]]) });
  }

  /** The index of an entry of the dynamic table that has not been evicted. */
  #indexOf(entry: number | undefined): number | undefined {
    if (entry === undefined) return undefined;
    const index = this.#table.inserted - entry + 1;
    return index > this.#table.length ? undefined : STATIC_TABLE_LENGTH + index;
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
    if (this.#huffman && text !== "") {
      const length = huffmanLength(text);
      // At the same length too, as the encoder of RFC 7541 Appendix C.6 does.
      if (length <= text.length) {
        this.#integer(0x80, 7, length);
        this.#length = encodeHuffman(text, this.#buffer, this.#length);
        return;
      }
    }
    this.#integer(0, 7, text.length);
    if (text.length > SHORT_STRING) {
      this.#length += this.#buffer.write(text, this.#length, "latin1");
      return;
    }
    for (let i = 0; i < text.length; i++) this.#buffer[this.#length++] = text.charCodeAt(i);
  }

  #room(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
