/** A header block that arrives in one HEADERS and any number of CONTINUATION frames (RFC 9113 § 4.3). */
import type { HeaderField } from "../bytes/header-field.ts";
import { Http2ConnectionError } from "./errors.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { HEADER_TABLE_SIZE, MAX_CONTINUATIONS, MAX_HEADER_BLOCK_BYTES, MAX_HEADER_LIST_SIZE } from "./limits.ts";
import { ErrorCode } from "./types.ts";

/** What a field adds to the size of a list beside its name and value (RFC 9113 § 6.5.2). */
const FIELD_OVERHEAD = 32;

export class HeaderBlock {
  /** HEADERS came without END_HEADERS: only CONTINUATION may follow. */
  open = false;
  streamId = 0;
  endStream = false;
  readonly #decoder = new HpackDecoder(HEADER_TABLE_SIZE);
  #whole: Buffer | undefined;
  #parts: Buffer[] = [];
  #length = 0;
  #continuations = 0;
  #list: HeaderField[] = [];
  #listSize = 0;
  readonly #collect = (field: HeaderField): void => {
    this.#listSize += field.name.length + field.value.length + FIELD_OVERHEAD;
    // What is too much is decoded, for the tables' sake, and dropped: a list of references can be thousands of times its block.
    if (this.#listSize <= MAX_HEADER_LIST_SIZE) this.#list.push(field);
  };

  /** A HEADERS frame. `content` is a view of the read buffer: unless it is the `whole` block it is copied. */
  begin(streamId: number, endStream: boolean, content: Buffer, whole: boolean): void {
    this.streamId = streamId;
    this.endStream = endStream;
    this.open = true;
    if (whole) this.#whole = content;
    else this.#parts.push(Buffer.from(content));
    this.#length = content.length;
    this.#continuations = 0;
  }

  /** Before the payload of a CONTINUATION is taken in. */
  checkContinuation(length: number): void {
    this.#continuations++;
    this.#length += length;
    if (this.#continuations > MAX_CONTINUATIONS || this.#length > MAX_HEADER_BLOCK_BYTES) {
      throw new Http2ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        "a header block has too many or too large CONTINUATION frames",
      );
    }
  }

  append(payload: Buffer): void {
    this.#parts.push(Buffer.from(payload));
  }

  /** The whole list, or undefined when it is larger than we allow. Throws HpackError. */
  decode(): HeaderField[] | undefined {
    const block = this.#whole ?? Buffer.concat(this.#parts);
    this.open = false;
    this.#whole = undefined;
    this.#parts = [];
    this.#list = [];
    this.#listSize = 0;
    this.#decoder.decode(block, this.#collect);
    return this.#listSize > MAX_HEADER_LIST_SIZE ? undefined : this.#list;
  }
}
