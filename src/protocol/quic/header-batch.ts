/** Sealed packets whose headers are protected together (RFC 9001 § 5.4): one call of the cipher for a burst, not one a packet. */
import { applyMask, type HeaderKey, SAMPLE_LENGTH, SAMPLE_OFFSET } from "./protection.ts";

export class HeaderBatch {
  readonly #samples: Buffer;
  readonly #bytes: Buffer[] = [];
  /** Of each packet: where it and its number begin, and the number's length. */
  readonly #places: Int32Array;

  /** For up to `capacity` packets. */
  constructor(capacity: number) {
    this.#samples = Buffer.allocUnsafe(capacity * SAMPLE_LENGTH);
    this.#places = new Int32Array(3 * capacity);
  }

  clear(): void {
    this.#bytes.length = 0;
  }

  add(bytes: Buffer, start: number, numberStart: number, numberLength: number): void {
    const index = this.#bytes.push(bytes) - 1;
    const samples = this.#samples;
    const to = index * SAMPLE_LENGTH;
    const from = numberStart + SAMPLE_OFFSET;
    for (let i = 0; i < SAMPLE_LENGTH; i++) samples[to + i] = bytes[from + i] as number;
    const places = this.#places;
    places[3 * index] = start;
    places[3 * index + 1] = numberStart;
    places[3 * index + 2] = numberLength;
  }

  /** Protects the headers of all that were added. */
  protect(key: HeaderKey): void {
    const { length } = this.#bytes;
    const masks = key.masks(this.#samples.subarray(0, length * SAMPLE_LENGTH));
    const places = this.#places;
    for (let i = 0; i < length; i++) {
      const bytes = this.#bytes[i] as Buffer;
      const start = places[3 * i] as number;
      const numberStart = places[3 * i + 1] as number;
      applyMask(bytes, start, numberStart, places[3 * i + 2] as number, masks, i * SAMPLE_LENGTH);
    }
    this.clear();
  }

  get size(): number {
    return this.#bytes.length;
  }
}
