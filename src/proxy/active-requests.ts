/** What is under way, so that it can be counted, and cancelled at the end. */
import type { CancelReason } from "../types.ts";

export interface ActiveRequest {
  cancel(reason: CancelReason): void;
}

/** One request's place. */
export interface ActiveEntry {
  readonly request: ActiveRequest;
  slot: number;
}

/**
 * An array in which the last one fills the place of the one that leaves. A Set would be simpler and cost a third of the
 * connector's time: each time it grows over its deleted entries, V8 chains the old table to the new one, and once a dead table
 * is in the old generation, every request that was ever in a later one survives its scavenge.
 */
export class ActiveRequests {
  readonly #entries: ActiveEntry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  add(request: ActiveRequest): ActiveEntry {
    const entry = { request, slot: this.#entries.length };
    this.#entries.push(entry);
    return entry;
  }

  remove(entry: ActiveEntry): void {
    const last = this.#entries.pop();
    if (last === undefined || last === entry) return;
    last.slot = entry.slot;
    this.#entries[entry.slot] = last;
  }

  all(): ActiveRequest[] {
    return this.#entries.map((entry) => entry.request);
  }
}
