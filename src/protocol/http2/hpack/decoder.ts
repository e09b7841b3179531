/**
 * HPACK decoding (RFC 7541 § 6):
 *
 *   1xxxxxxx  indexed field                       (7-bit index)
 *   01xxxxxx  literal, incremental indexing       (6-bit name index, or 0 and a name string)
 *   001xxxxx  dynamic table size update           (5-bit size)
 *   0001xxxx  literal, never indexed              (4-bit name index)
 *   0000xxxx  literal, without indexing           (4-bit name index)
 *   string:  Hxxxxxxx length, then bytes; H = Huffman-coded
 */
import { HeaderField } from "../../bytes/header-field.ts";
import { DynamicTable } from "./dynamic-table.ts";
import { HpackError } from "./errors.ts";
import { decodeHuffman } from "./huffman.ts";
import { MAX_INTEGER_BYTES, MAX_STRING_BYTES } from "./limits.ts";
import { STATIC_FIELDS, STATIC_TABLE_LENGTH } from "./static-table.ts";

export class HpackDecoder {
  readonly #table: DynamicTable;
  /** What we announced: no size update may exceed it (RFC 7541 § 6.3). */
  readonly #maxTableSize: number;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(maxTableSize: number) {
    this.#maxTableSize = maxTableSize;
    this.#table = new DynamicTable(maxTableSize);
  }

  /** Decodes one whole header block. Fields of the tables are handed out as the same objects again. Throws HpackError. */
  decode(block: Buffer, onField: (field: HeaderField) => void): void {
    this.#block = block;
    this.#at = 0;
    let fields = false;
    while (this.#at < block.length) {
      const first = block[this.#at] as number;
      if (first & 0x80) {
        onField(this.#field(this.#integer(7)));
      } else if (first & 0x40) {
        const field = this.#literal(6);
        this.#table.insert(field);
        onField(field);
      } else if (first & 0x20) {
        if (fields) throw new HpackError("a dynamic table size update stands behind a field");
        const size = this.#integer(5);
        if (size > this.#maxTableSize) {
          throw new HpackError(`a dynamic table size of ${size} was asked for; ${this.#maxTableSize} is allowed`);
        }
        this.#table.resize(size);
        continue;
      } else {
        onField(this.#literal(4));
      }
      fields = true;
    }
  }

  #field(index: number): HeaderField {
    const field = index <= STATIC_TABLE_LENGTH ? STATIC_FIELDS[index] : this.#table.get(index - STATIC_TABLE_LENGTH);
    if (field === undefined) throw new HpackError(`index ${index} is in no table`);
    return field;
  }

  #literal(prefix: number): HeaderField {
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string() : this.#field(index).name;
    return new HeaderField(name, this.#string());
  }

  #integer(prefix: number): number {
    const mask = (1 << prefix) - 1;
    let value = (this.#block[this.#at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; shift < 7 * MAX_INTEGER_BYTES; shift += 7) {
      const byte = this.#block[this.#at++];
      if (byte === undefined) throw new HpackError("the block ends inside an integer");
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError("an integer has too many bytes");
  }

  #string(): string {
    const first = this.#block[this.#at];
    if (first === undefined) throw new HpackError("the block ends before a string");
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#block.length) throw new HpackError("a string is longer than its block");
    if (length > MAX_STRING_BYTES) throw new HpackError(`a string of ${length} bytes is too long`);
    this.#at = end;
    return first & 0x80 ? decodeHuffman(this.#block, start, end) : this.#block.toString("latin1", start, end);
  }
}
