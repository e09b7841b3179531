/**
 * The memory budget (ARCHITECTURE.md, flow control): one cap on what all streams of all connections of a tunnel hold that their
 * consumers have not taken. From half of it on windows shrink; at the cap the stream whose consumer has been
 * silent longest is reset.
 */
import type { MemoryBudget } from "./types.ts";

const DEFAULT_LIMIT = 256 * 1024 * 1024;

/** What the budget may do to a stream. */
export interface Holder {
  /** The budget is exhausted and this one was silent longest. Must give back all that it holds. */
  evict(): void;
}

class Budget implements MemoryBudget {
  readonly limit: number;
  #held = 0;
  #pressed = false;
  /** In the order of their consumers' last sign of life, oldest first: an entry is put last again whenever its consumer takes something. */
  readonly #holders = new Map<Holder, number>();
  readonly #listeners = new Set<() => void>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /** Half of the budget is held, or was until a quarter of it came free again. */
  get pressed(): boolean {
    return this.#pressed;
  }

  /** Called when `pressed` changes. Returns the function that ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  hold(holder: Holder, bytes: number): void {
    this.#held += bytes;
    this.#holders.set(holder, (this.#holders.get(holder) ?? 0) + bytes);
    while (this.#held > this.limit) {
      const silent = this.#holders.keys().next().value;
      if (silent === undefined) break;
      this.release(silent);
      silent.evict();
    }
    this.#press();
  }

  /** The consumer has taken `bytes`. */
  give(holder: Holder, bytes: number): void {
    const before = this.#holders.get(holder);
    if (before === undefined) return;
    const given = Math.min(before, bytes);
    this.#held -= given;
    this.#holders.delete(holder);
    if (before > given) this.#holders.set(holder, before - given);
    this.#press();
  }

  /** The stream has ended: nothing of it is held any more. */
  release(holder: Holder): void {
    const held = this.#holders.get(holder);
    if (held === undefined) return;
    this.#held -= held;
    this.#holders.delete(holder);
    this.#press();
  }

  #press(): void {
    const pressed = this.#pressed ? this.#held > this.limit / 4 : this.#held > this.limit / 2;
    if (pressed === this.#pressed) return;
    this.#pressed = pressed;
    for (const listener of this.#listeners) listener();
  }
}

export type { Budget };

/** A budget of `limit` bytes, 256 MiB by default. Share one between the connections of a tunnel. */
export function createMemoryBudget(limit: number = DEFAULT_LIMIT): Budget {
  return new Budget(limit);
}
