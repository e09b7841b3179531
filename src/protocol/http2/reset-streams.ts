/**
 * Streams that we reset before the peer had ended them: what it sent before it knew is no error (RFC 9113 § 5.1), while
 * frames on other closed streams are.
 */
import { MAX_REMEMBERED_RESETS } from "./limits.ts";

export class ResetStreams {
  readonly #ids = new Set<number>();
  /** The highest id that was forgotten: up to there nothing is held against the peer. */
  #forgotten = 0;

  add(streamId: number): void {
    this.#ids.add(streamId);
    if (this.#ids.size <= MAX_REMEMBERED_RESETS) return;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      this.#forgotten = Math.max(this.#forgotten, oldest);
      break;
    }
  }

  has(streamId: number): boolean {
    return streamId <= this.#forgotten || this.#ids.has(streamId);
  }

  /** The peer's side has ended too. */
  ended(streamId: number): void {
    this.#ids.delete(streamId);
  }
}
