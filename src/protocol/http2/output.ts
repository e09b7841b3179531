/**
 * Output of a connection: frames of all streams, appended to 64 KiB buffers that are used again. Copying payload behind its
 * frame header was measured cheaper than writing both apart.
 */
import { MAX_BUFFERS_IN_FLIGHT, MAX_FREE_BUFFERS, OUTPUT_BUFFER_SIZE } from "./limits.ts";

interface Filled {
  readonly whole: Buffer;
  readonly length: number;
}

export class Output {
  /** What is being filled. Writers put bytes at the offset that `reserve` gave them. */
  buffer: Buffer = Buffer.alloc(0);
  #length = 0;
  readonly #full: Filled[] = [];
  #fullBytes = 0;
  readonly #free: Buffer[] = [];
  readonly #inFlight: Buffer[] = [];
  #inFlightBytes = 0;
  #signalled = false;
  /** The socket holds all the buffers that it may; the next one that comes back signals. */
  #stalled = false;
  #unlimited = false;
  readonly #onOutput: () => void;

  constructor(onOutput: () => void) {
    this.#onOutput = onOutput;
  }

  /** Bytes that nobody has taken yet. */
  get pending(): number {
    return this.#fullBytes + this.#length;
  }

  /** The same and what the socket has not given back. */
  get unflushed(): number {
    return this.#fullBytes + this.#length + this.#inFlightBytes;
  }

  /** The connection ends: its last frames leave whatever the socket holds. */
  lift(): void {
    this.#unlimited = true;
    this.#stalled = false;
  }

  /** Room for `bytes` (at most a few dozen) in one piece: the offset in `buffer`. */
  reserve(bytes: number): number {
    if (this.buffer.length - this.#length < bytes) this.#next();
    const at = this.#length;
    this.#length += bytes;
    return at;
  }

  append(source: Buffer, start: number, end: number): void {
    let from = start;
    while (from < end) {
      if (this.#length === this.buffer.length) this.#next();
      const length = Math.min(end - from, this.buffer.length - this.#length);
      source.copy(this.buffer, this.#length, from, from + length);
      this.#length += length;
      from += length;
    }
  }

  /** A frame is complete. */
  commit(): void {
    if (this.#signalled || this.#stalled) return;
    this.#signalled = true;
    this.#onOutput();
  }

  take(): Buffer | undefined {
    if (this.#inFlight.length >= MAX_BUFFERS_IN_FLIGHT && !this.#unlimited) {
      this.#stalled = true;
      this.#signalled = false;
      return undefined;
    }
    const filled = this.#full.shift();
    if (filled !== undefined) {
      this.#fullBytes -= filled.length;
      return this.#handOut(filled.whole, filled.length);
    }
    if (this.#length === 0) {
      this.#signalled = false;
      return undefined;
    }
    const { buffer } = this;
    const length = this.#length;
    this.buffer = this.#free.pop() ?? Buffer.alloc(0);
    this.#length = 0;
    return this.#handOut(buffer, length);
  }

  /** False when the buffer is none of ours, or has been given back already. */
  recycle(view: Buffer): boolean {
    const index = this.#inFlight.findIndex((whole) => whole.buffer === view.buffer);
    const whole = this.#inFlight[index];
    if (whole === undefined) return false;
    this.#inFlight.splice(index, 1);
    this.#inFlightBytes -= view.length;
    if (this.buffer.length === 0) this.buffer = whole;
    else if (this.#free.length < MAX_FREE_BUFFERS) this.#free.push(whole);
    if (this.#stalled) {
      this.#stalled = false;
      if (this.pending > 0) this.commit();
    }
    return true;
  }

  #handOut(whole: Buffer, length: number): Buffer {
    this.#inFlight.push(whole);
    this.#inFlightBytes += length;
    return length === whole.length ? whole : whole.subarray(0, length);
  }

  #next(): void {
    if (this.#length > 0) {
      this.#full.push({ whole: this.buffer, length: this.#length });
      this.#fullBytes += this.#length;
    }
    this.#length = 0;
    this.buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(OUTPUT_BUFFER_SIZE);
  }
}
