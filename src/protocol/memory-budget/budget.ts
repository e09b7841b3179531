/**
 * The memory budget (ARCHITECTURE.md, flow control): one cap on what all streams of all connections of a tunnel hold: bytes
 * received that their consumers have not taken, and bytes to be sent that windows don't allow yet. From half of the cap on
 * windows shrink; at the cap the stream is reset that has gone longest without anybody taking anything of it.
 */
import { CHUNK_OVERHEAD, DEFAULT_MEMORY_LIMIT, SMALL_CHUNK } from "./limits.ts";

/** What the budget knows of a stream: a link of a list in the order of the last sign of life. Owned by the budget. */
export interface Holder {
  heldBytes: number;
  olderHolder: Holder | undefined;
  newerHolder: Holder | undefined;
  /** Nobody has taken anything of this one for longest: reset it. It no longer counts, as its consumer is told to drop what it holds. */
  evict(): void;
}

/** A stream with a receiving side: what it holds is content received, the overhead of its small chunks, and output that is queued. */
export interface ContentHolder extends Holder {
  queuedBytes: number;
  chunkOverhead: number;
}

/** What its users see of it. Made by `createMemoryBudget`. */
export interface MemoryBudget {
  readonly limit: number;
  readonly held: number;
}

export class Budget implements MemoryBudget {
  readonly limit: number;
  #held = 0;
  #pressed = false;
  #oldest: Holder | undefined;
  #newest: Holder | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(limit: number) {
    if (!(limit > 0)) throw new RangeError(`a memory budget of ${limit} bytes; it must be a number above 0`);
    this.limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /** Half of the limit is held, or was, until no more than a quarter is. */
  get pressed(): boolean {
    return this.#pressed;
  }

  /** `listener` is called when `pressed` changes, until the returned function is. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** May evict, the holder itself included. */
  hold(holder: Holder, bytes: number): void {
    // A stream that held nothing gave its consumer nothing to take: its silence begins now.
    if (holder.heldBytes === 0) this.#append(holder);
    holder.heldBytes += bytes;
    this.#held += bytes;
    if (this.#held <= this.limit / 2) return;
    while (this.#held > this.limit && this.#oldest !== undefined) {
      const silent = this.#oldest;
      this.release(silent);
      silent.evict();
    }
    this.#press();
  }

  /** Somebody has taken `bytes`. */
  give(holder: Holder, bytes: number): void {
    const given = Math.min(bytes, holder.heldBytes);
    if (given === 0) return;
    holder.heldBytes -= given;
    this.#held -= given;
    this.#remove(holder);
    if (holder.heldBytes > 0) this.#append(holder);
    if (this.#pressed) this.#press();
  }

  /** Content goes to its consumer, in one chunk. May evict, the holder itself included. */
  holdContent(holder: ContentHolder, bytes: number): void {
    const overhead = bytes < SMALL_CHUNK ? CHUNK_OVERHEAD : 0;
    holder.chunkOverhead += overhead;
    this.hold(holder, bytes + overhead);
  }

  /** The consumer has taken `bytes` of the content. Returns how many of them were held. */
  giveContent(holder: ContentHolder, bytes: number): number {
    const held = holder.heldBytes - holder.queuedBytes - holder.chunkOverhead;
    const taken = Math.min(bytes, held);
    if (taken <= 0) return 0;
    const overhead = Math.ceil((holder.chunkOverhead * taken) / held);
    holder.chunkOverhead -= overhead;
    this.give(holder, taken + overhead);
    return taken;
  }

  /** Nothing of the stream is held any more. */
  release(holder: Holder): void {
    this.give(holder, holder.heldBytes);
  }

  #press(): void {
    const pressed = this.#pressed ? this.#held > this.limit / 4 : this.#held > this.limit / 2;
    if (pressed === this.#pressed) return;
    this.#pressed = pressed;
    for (const listener of this.#listeners) listener();
  }

  #append(holder: Holder): void {
    holder.olderHolder = this.#newest;
    if (this.#newest === undefined) this.#oldest = holder;
    else this.#newest.newerHolder = holder;
    this.#newest = holder;
  }

  #remove(holder: Holder): void {
    const { olderHolder, newerHolder } = holder;
    if (olderHolder === undefined) this.#oldest = newerHolder;
    else olderHolder.newerHolder = newerHolder;
    if (newerHolder === undefined) this.#newest = olderHolder;
    else newerHolder.olderHolder = olderHolder;
    holder.olderHolder = undefined;
    holder.newerHolder = undefined;
  }
}

/** A budget of `limit` bytes, 256 MiB by default. Share one between the connections of a tunnel. */
export function createMemoryBudget(limit: number = DEFAULT_MEMORY_LIMIT): Budget {
  return new Budget(limit);
}
