/** A set of offsets as sorted ranges that don't touch: [start, end) pairs in one flat array. */
export class Ranges {
  readonly #bounds: number[] = [];

  get isEmpty(): boolean {
    return this.#bounds.length === 0;
  }

  /** Number of ranges. */
  get count(): number {
    return this.#bounds.length / 2;
  }

  /** The first range; NaN when there is none. */
  get firstStart(): number {
    return this.#bounds[0] ?? Number.NaN;
  }

  get firstEnd(): number {
    return this.#bounds[1] ?? Number.NaN;
  }

  has(value: number): boolean {
    return this.#find(value) % 2 === 1;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    const bounds = this.#bounds;
    const { length } = bounds;
    // Nearly always the newest range grows, or a new one comes behind it.
    if (length === 0 || start > (bounds[length - 1] as number)) {
      bounds.push(start, end);
      return;
    }
    if (start >= (bounds[length - 2] as number)) {
      if (end > (bounds[length - 1] as number)) bounds[length - 1] = end;
      return;
    }
    // Bounds from `from` to `to` lie within the new range, or touch it.
    let from = this.#find(start);
    if (from % 2 === 0 && from > 0 && bounds[from - 1] === start) from--;
    const to = this.#find(end);
    const replacement: number[] = [];
    if (from % 2 === 0) replacement.push(start);
    if (to % 2 === 0) replacement.push(end);
    bounds.splice(from, to - from, ...replacement);
  }

  delete(start: number, end: number): void {
    const bounds = this.#bounds;
    if (start >= end || bounds.length === 0) return;
    const from = this.#find(start);
    const to = this.#find(end);
    const begins = from % 2 === 1 && bounds[from - 1] === start;
    const replacement: number[] = [];
    if (from % 2 === 1 && !begins) replacement.push(start);
    if (to % 2 === 1) replacement.push(end);
    const first = begins ? from - 1 : from;
    bounds.splice(first, to - first, ...replacement);
  }

  /** Deletes what `other` has. */
  deleteAll(other: Ranges): void {
    const bounds = other.#bounds;
    for (let i = 0; i < bounds.length; i += 2) this.delete(bounds[i] as number, bounds[i + 1] as number);
  }

  /** How many bounds are at or below `value`: an odd number means that it lies within a range. */
  #find(value: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((bounds[middle] as number) <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
