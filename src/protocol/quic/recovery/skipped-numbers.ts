/**
 * Packet numbers that are skipped on purpose: who acknowledges one lies about what it received, to make us send faster than the path
 * carries (RFC 9000 § 21.4). Periods double, so that a long connection pays little.
 */
import type { AckFrame } from "../frames.ts";
import { FIRST_SKIP_PERIOD, MAX_SKIP_PERIOD, MAX_SKIPPED_NUMBERS } from "../limits.ts";

export class SkippedNumbers {
  readonly #random: (length: number) => Buffer;
  readonly #skipped: number[] = [];
  #period = FIRST_SKIP_PERIOD;
  #at: number;

  constructor(random: (length: number) => Buffer) {
    this.#random = random;
    this.#at = this.#draw(0);
  }

  /** The number to use for the packet that would have `next`. */
  pass(next: number): number {
    if (next < this.#at) return next;
    if (this.#skipped.length >= MAX_SKIPPED_NUMBERS) this.#skipped.shift();
    this.#skipped.push(next);
    this.#period = Math.min(2 * this.#period, MAX_SKIP_PERIOD);
    this.#at = this.#draw(next + 1);
    return next + 1;
  }

  /** Whether an ACK frame names one of them. */
  isNamedBy(ack: AckFrame): boolean {
    for (const skipped of this.#skipped) {
      for (let i = 0; i < ack.count; i++) {
        if (skipped > (ack.ranges[2 * i + 1] as number)) break;
        if (skipped >= (ack.ranges[2 * i] as number)) return true;
      }
    }
    return false;
  }

  #draw(from: number): number {
    return from + 1 + (this.#random(4).readUInt32BE() % this.#period);
  }
}
