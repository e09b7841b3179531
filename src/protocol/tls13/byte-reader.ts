/** Reads the presentation language of RFC 8446 § 3: big-endian numbers, and vectors behind their length. Hands out views. */
import { Alert, TlsAlertError } from "./errors.ts";

export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** `what` is named in errors. */
  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#number(1);
  }

  u16(): number {
    return this.#number(2);
  }

  u24(): number {
    return this.#number(3);
  }

  u32(): number {
    return this.#number(4);
  }

  bytes(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw this.#wrong("ends too early");
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** A vector whose length has `width` bytes, and that has at least `minimum`. */
  vector(width: 1 | 2 | 3, minimum = 0): Buffer {
    const length = this.#number(width);
    if (length < minimum) throw this.#wrong("has a vector that is too short");
    return this.bytes(length);
  }

  /** A vector of 16-bit numbers. */
  u16List(width: 1 | 2): number[] {
    const reader = new ByteReader(this.vector(width, 2), this.#what);
    const list: number[] = [];
    while (!reader.atEnd) list.push(reader.u16());
    return list;
  }

  end(): void {
    if (!this.atEnd) throw this.#wrong("has bytes behind its end");
  }

  #number(width: number): number {
    const bytes = this.bytes(width);
    return bytes.readUIntBE(0, width);
  }

  #wrong(how: string): TlsAlertError {
    return new TlsAlertError(Alert.decodeError, `${this.#what} ${how}`);
  }
}
