/** Output of all streams, appended to pooled buffers of 64 KiB, so that what one turn of the loop has to say leaves in few writes. */

export const OUTPUT_BUFFER_BYTES = 64 * 1024;

/** Buffers kept for the next time; more would only hold memory after a burst. */
const MAX_POOLED = 16;

const pool: Buffer[] = [];

export class Output {
  /** Bytes appended and not yet given back. */
  outstanding = 0;
  readonly #full: Buffer[] = [];
  #current: Buffer | undefined;
  #length = 0;
  readonly #onFirst: () => void;
  #announced = false;

  constructor(onFirst: () => void) {
    this.#onFirst = onFirst;
  }

  #next(): Buffer {
    if (this.#current !== undefined) this.#full.push(this.#current);
    this.#length = 0;
    this.#current = pool.pop() ?? Buffer.allocUnsafeSlow(OUTPUT_BUFFER_BYTES);
    return this.#current;
  }

  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    this.#onFirst();
  }

  /** `length` contiguous bytes, at most 64 KiB, to be written by the caller from the returned offset of `reserved`. */
  reserve(length: number): number {
    if (this.#current === undefined || this.#length + length > OUTPUT_BUFFER_BYTES) {
      if (this.#current !== undefined) this.#current = this.#current.subarray(0, this.#length);
      this.#next();
    }
    const at = this.#length;
    this.#length += length;
    this.outstanding += length;
    this.#announce();
    return at;
  }

  /** The buffer that the last `reserve` reserved in. */
  get reserved(): Buffer {
    return this.#current as Buffer;
  }

  /** The 9 bytes of a frame header (RFC 9113 § 4.1): length 24, type 8, flags 8, stream id 31. */
  frameHeader(length: number, type: number, flags: number, streamId: number): void {
    const at = this.reserve(9);
    const buffer = this.reserved;
    buffer[at] = length >>> 16;
    buffer[at + 1] = length >>> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    buffer[at + 5] = streamId >>> 24;
    buffer[at + 6] = streamId >>> 16;
    buffer[at + 7] = streamId >>> 8;
    buffer[at + 8] = streamId;
  }

  uint32(value: number): void {
    const at = this.reserve(4);
    this.reserved.writeUInt32BE(value, at);
  }

  append(bytes: Buffer, start: number, end: number): void {
    this.outstanding += end - start;
    let from = start;
    while (from < end) {
      if (this.#current === undefined || this.#length === OUTPUT_BUFFER_BYTES) this.#next();
      const taken = Math.min(end - from, OUTPUT_BUFFER_BYTES - this.#length);
      bytes.copy(this.#current as Buffer, this.#length, from, from + taken);
      this.#length += taken;
      from += taken;
    }
    this.#announce();
  }

  take(): Buffer | undefined {
    const full = this.#full.shift();
    if (full !== undefined) return full;
    this.#announced = false;
    const current = this.#current;
    if (current === undefined || this.#length === 0) return undefined;
    this.#current = undefined;
    return current.subarray(0, this.#length);
  }

  recycle(buffer: Buffer): void {
    this.outstanding -= buffer.length;
    if (pool.length < MAX_POOLED) pool.push(Buffer.from(buffer.buffer as ArrayBuffer));
  }
}
