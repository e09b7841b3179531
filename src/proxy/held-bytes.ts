import { SMALL_BYTES } from "./buffer-pool.ts";

/** Bytes in the order they came, copied. Small chunks are joined: an object each would cost many times what they hold. */
export class HeldBytes {
  readonly #chunks: Buffer[] = [];
  #tail = Buffer.alloc(0);
  #tailBytes = 0;

  push(chunk: Buffer): void {
    if (this.#tail.length - this.#tailBytes < chunk.length) {
      this.#closeTail();
      if (chunk.length >= SMALL_BYTES) {
        this.#chunks.push(Buffer.from(chunk));
        return;
      }
      this.#tail = Buffer.allocUnsafeSlow(SMALL_BYTES);
    }
    chunk.copy(this.#tail, this.#tailBytes);
    this.#tailBytes += chunk.length;
  }

  shift(): Buffer | undefined {
    if (this.#chunks.length === 0) this.#closeTail();
    return this.#chunks.shift();
  }

  #closeTail(): void {
    if (this.#tailBytes > 0) this.#chunks.push(this.#tail.subarray(0, this.#tailBytes));
    this.#tail = Buffer.alloc(0);
    this.#tailBytes = 0;
  }
}
