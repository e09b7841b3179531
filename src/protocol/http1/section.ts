/** Collects a head or a trailer section, which ends with an empty line, from however many pieces it arrives in. */
import { Http1ResponseError, malformed } from "./errors.ts";

const END = Buffer.from("\r\n\r\n", "latin1");
const CR = 0x0d;
const LF = 0x0a;
const FIRST_HELD_BYTES = 1024;

/** Whether a head or trailer section that is not complete yet holds a byte that no continuation can make right. */
function strayByte(bytes: Buffer, from: number, to: number, previous: number): boolean {
  let before = previous;
  for (let i = from; i < to; i++) {
    const byte = bytes[i];
    if (byte === 0 || (byte === LF) !== (before === CR)) return true;
    before = byte ?? 0;
  }
  return false;
}

export class Section {
  readonly #what: string;
  #held: Buffer | undefined;
  #length = 0;
  /** After `receive` returned a position: the lines, each with its CRLF, without the empty line. */
  text = "";

  /** @param what names the section in messages */
  constructor(what: string) {
    this.#what = what;
  }

  clear(): void {
    this.#held = undefined;
    this.#length = 0;
    this.text = "";
  }

  /** Takes from `bytes` at `at`; returns where the section ended, or -1 when more is needed. Throws beyond `limit` bytes. */
  receive(bytes: Buffer, at: number, limit: number): number {
    if (this.#length === 0) {
      const end = bytes.indexOf(END, at);
      if (end >= 0) {
        if (end + END.length - at > limit) throw this.#tooLong(limit);
        this.text = bytes.toString("latin1", at, end + 2);
        return end + END.length;
      }
    }
    return this.#collect(bytes, at, limit);
  }

  #collect(bytes: Buffer, at: number, limit: number): number {
    const before = this.#length;
    const wanted = bytes.length - at;
    // One byte beyond the limit is enough to know.
    const taken = Math.min(wanted, limit + 1 - before);
    const held = this.#grow(before + taken, limit + 1);
    bytes.copy(held, before, at, at + taken);
    this.#length = before + taken;
    const end = held.subarray(0, this.#length).indexOf(END, Math.max(0, before - END.length + 1));
    if (end >= 0 && end + END.length <= limit) {
      this.text = held.toString("latin1", 0, end + 2);
      this.#held = undefined;
      this.#length = 0;
      return at + end + END.length - before;
    }
    if (this.#length > limit) throw this.#tooLong(limit);
    if (strayByte(held, before, this.#length, before === 0 ? 0 : (held[before - 1] ?? 0))) {
      throw malformed(`the origin's ${this.#what} has a NUL, or a CR or LF that stands alone`);
    }
    return -1;
  }

  #grow(length: number, limit: number): Buffer {
    const held = this.#held;
    if (held !== undefined && held.length >= length) return held;
    const size = Math.min(limit, Math.max(length, FIRST_HELD_BYTES, (held?.length ?? 0) * 2));
    const grown = Buffer.allocUnsafe(size);
    if (held !== undefined) held.copy(grown, 0, 0, this.#length);
    this.#held = grown;
    return grown;
  }

  #tooLong(limit: number): Http1ResponseError {
    return new Http1ResponseError("limit", `the origin's ${this.#what} is longer than ${limit} bytes`);
  }
}
