/** Reused memory for bytes on their way to origins: allocating costs more than copying (64 KiB: 1.25 µs, and then the collector). */

/** Most requests' bodies, and WebSocket messages. */
export const SMALL_BYTES = 4 * 1024;

/** What bulk uploads are joined into; larger ones brought nothing. */
export const LARGE_BYTES = 64 * 1024;

/** Kept for reuse of each kind: what two uploads at full window hold. The rest goes to the collector. */
const KEPT_BYTES = 2 * 1024 * 1024;

export class BufferPool {
  readonly #small: Buffer[] = [];
  readonly #large: Buffer[] = [];

  /** A buffer for `bytes` bytes that are known of. Bulk comes in frames of 16 KiB, so that whatever exceeds the small size gets a large one. */
  take(bytes: number): Buffer {
    if (bytes <= SMALL_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    return this.#large.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES);
  }

  give(buffer: Buffer): void {
    const kept = buffer.length === SMALL_BYTES ? this.#small : this.#large;
    if (kept.length * buffer.length < KEPT_BYTES) kept.push(buffer);
  }
}
