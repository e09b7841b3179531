/** Bytes that came before their turn: pieces in the order of their offsets, which don't overlap. Small neighbours are merged, so that 1-byte frames don't cost an object each. */
import { MERGED_PIECE_SIZE, SMALL_PIECE } from "../limits.ts";

export class Reassembly {
  readonly #starts: number[] = [];
  readonly #pieces: Buffer[] = [];

  /** Number of pieces. */
  get count(): number {
    return this.#starts.length;
  }

  /** Where the first piece begins; Infinity when there is none. */
  get start(): number {
    return this.#starts[0] ?? Number.POSITIVE_INFINITY;
  }

  /** Copies what of `bytes` is new. Returns how many that are. */
  insert(offset: number, bytes: Buffer): number {
    const end = offset + bytes.length;
    let index = this.#indexAfter(offset);
    let at = offset;
    let added = 0;
    if (index > 0) at = Math.max(at, this.#endOf(index - 1));
    while (at < end) {
      const nextStart = this.#starts[index] ?? Number.POSITIVE_INFINITY;
      const to = Math.min(end, nextStart);
      if (to > at) {
        added += to - at;
        if (this.#put(index, at, bytes.subarray(at - offset, to - offset))) index++;
      }
      if (nextStart >= end) break;
      at = Math.max(to, this.#endOf(index));
      index++;
    }
    return added;
  }

  /** Takes the first piece out, if it begins at or before `offset`: what of it lies behind, which may be nothing. */
  take(offset: number): Buffer | undefined {
    const start = this.#starts[0];
    const piece = this.#pieces[0];
    if (start === undefined || piece === undefined || start > offset) return undefined;
    this.#starts.shift();
    this.#pieces.shift();
    return piece.subarray(Math.min(offset - start, piece.length));
  }

  #endOf(index: number): number {
    return (this.#starts[index] as number) + (this.#pieces[index] as Buffer).length;
  }

  /** How many pieces begin at or before `offset`. */
  #indexAfter(offset: number): number {
    const starts = this.#starts;
    // Nearly always behind the last.
    let low = (starts.at(-1) ?? Number.POSITIVE_INFINITY) <= offset ? starts.length : 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((starts[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** False when the bytes were merged into the piece before. */
  #put(index: number, start: number, bytes: Buffer): boolean {
    const before = this.#pieces[index - 1];
    const isSmall = bytes.length < SMALL_PIECE;
    if (isSmall && before !== undefined && before.length < MERGED_PIECE_SIZE && this.#endOf(index - 1) === start) {
      this.#pieces[index - 1] = Buffer.concat([before, bytes]);
      return false;
    }
    this.#starts.splice(index, 0, start);
    this.#pieces.splice(index, 0, Buffer.from(bytes));
    return true;
  }
}
