/**
 * Bytes of one direction from when they are written until they are acknowledged:
 *
 *   0 ─ acknowledged, dropped ─ start ─ sent, some acknowledged, some lost ─ next ─ never sent ─ end
 *
 * Kept in blocks that writes share.
 */
import type { FrameWriter } from "../frame-writer.ts";
import { BULK_BLOCK_SIZE, SEND_BLOCK_SIZE } from "../limits.ts";
import { giveBulkBlock, takeBulkBlock } from "./bulk-blocks.ts";
import { Ranges } from "./ranges.ts";

export class Outgoing {
  start = 0;
  next = 0;
  end = 0;
  #blocks: Buffer[] = [];
  /** Where each block begins. */
  #starts: number[] = [];
  #acked: Ranges | undefined;
  #lost: Ranges | undefined;

  get hasLost(): boolean {
    return this.#lost !== undefined;
  }

  /** The first range that must be sent again. */
  get lostStart(): number {
    return this.#lost?.firstStart ?? Number.NaN;
  }

  get lostEnd(): number {
    return this.#lost?.firstEnd ?? Number.NaN;
  }

  append(chunk: Buffer): void {
    const { length } = chunk;
    if (length === 0) return;
    const last = this.#blocks.length - 1;
    let taken = 0;
    if (last >= 0) {
      const block = this.#blocks[last] as Buffer;
      const used = this.end - (this.#starts[last] as number);
      taken = Math.min(length, block.length - used);
      chunk.copy(block, used, 0, taken);
      this.end += taken;
    }
    while (taken < length) {
      const block = this.#newBlock(length - taken);
      const copied = chunk.copy(block, 0, taken);
      this.#blocks.push(block);
      this.#starts.push(this.end);
      this.end += copied;
      taken += copied;
    }
  }

  #newBlock(length: number): Buffer {
    // Bulk: memory that is used again, as what is allocated anew at such a rate keeps the collector busy.
    if (length >= BULK_BLOCK_SIZE / 2 || this.end - this.start >= BULK_BLOCK_SIZE) return takeBulkBlock();
    // Whoever writes little by little will go on so.
    const last = this.#blocks.at(-1);
    return Buffer.allocUnsafe(Math.max(length, Math.min(2 * (last?.length ?? 0), SEND_BLOCK_SIZE)));
  }

  /** Copies the bytes from `from` to `to` behind the frame head that was just written. */
  copy(writer: FrameWriter, from: number, to: number): void {
    let index = this.#indexOf(from);
    let at = from;
    while (at < to) {
      const start = this.#starts[index] as number;
      const end = Math.min(to, this.#starts[index + 1] ?? to);
      writer.append(this.#blocks[index] as Buffer, at - start, end - start);
      at = end;
      index++;
    }
  }

  onSent(from: number, to: number): void {
    if (to > this.next) this.next = to;
    if (this.#lost === undefined) return;
    this.#lost.delete(from, to);
    if (this.#lost.isEmpty) this.#lost = undefined;
  }

  /** Returns how many bytes are dropped now. */
  onAcked(from: number, to: number): number {
    const { start } = this;
    // A FIN alone is an empty range, which says nothing of the bytes before it.
    if (to <= start || from === to) return 0;
    if (this.#lost !== undefined) {
      this.#lost.delete(from, to);
      if (this.#lost.isEmpty) this.#lost = undefined;
    }
    if (from > start || this.#acked !== undefined) {
      const acked = (this.#acked ??= new Ranges());
      acked.add(Math.max(from, start), to);
      if (acked.firstStart > start) return 0;
      this.start = acked.firstEnd;
      acked.delete(start, this.start);
      if (acked.isEmpty) this.#acked = undefined;
    } else {
      this.start = to;
    }
    this.#drop();
    return this.start - start;
  }

  onLost(from: number, to: number): void {
    const start = Math.max(from, this.start);
    if (start >= to) return;
    const lost = (this.#lost ??= new Ranges());
    lost.add(start, to);
    if (this.#acked !== undefined) lost.deleteAll(this.#acked);
    if (lost.isEmpty) this.#lost = undefined;
  }

  /** All that was sent and not acknowledged goes out again. */
  resendAll(): void {
    this.onLost(this.start, this.next);
  }

  /** Gives the memory back: nothing of what there is will be sent. */
  release(): void {
    for (const block of this.#blocks) giveBulkBlock(block);
    this.#blocks = [];
    this.#starts = [];
  }

  #indexOf(offset: number): number {
    const starts = this.#starts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #drop(): void {
    if (this.start === this.end) {
      this.release();
      return;
    }
    const first = this.#indexOf(this.start);
    if (first === 0) return;
    for (const block of this.#blocks.splice(0, first)) giveBulkBlock(block);
    this.#starts.splice(0, first);
  }
}
