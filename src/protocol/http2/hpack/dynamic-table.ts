/** The dynamic table of RFC 7541 § 2.3.2 as a ring: index 1 is the newest entry. */
import type { HeaderField } from "../../bytes/header-field.ts";
import { ENTRY_OVERHEAD } from "./limits.ts";

function sizeOf(field: HeaderField): number {
  return field.name.length + field.value.length + ENTRY_OVERHEAD;
}

export class DynamicTable {
  #ring: (HeaderField | undefined)[] = Array.from({ length: 16 });
  /** Where the newest entry stands. */
  #newest = 0;
  #length = 0;
  #size = 0;
  #maxSize: number;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get length(): number {
    return this.#length;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  /** The entry at a 1-based index, or undefined. */
  get(index: number): HeaderField | undefined {
    if (index > this.#length) return undefined;
    return this.#ring[(this.#newest - index + 1 + this.#ring.length) & (this.#ring.length - 1)];
  }

  /** How many entries have ever been inserted; the count at its insertion names an entry for life. */
  inserted = 0;

  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    this.#evict(0);
  }

  /** Evicts what does not fit beside the new entry (RFC 7541 § 4.4). False when the entry itself does not fit: the table is then empty. */
  insert(field: HeaderField): boolean {
    const size = sizeOf(field);
    this.#evict(size);
    if (size > this.#maxSize) return false;
    if (this.#length === this.#ring.length) this.#grow();
    this.#newest = (this.#newest + 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = field;
    this.#length++;
    this.#size += size;
    this.inserted++;
    return true;
  }

  #evict(incoming: number): void {
    while (this.#length > 0 && this.#size + incoming > this.#maxSize) {
      const oldest = (this.#newest - this.#length + 1 + this.#ring.length) & (this.#ring.length - 1);
      const field = this.#ring[oldest];
      this.#ring[oldest] = undefined;
      this.#length--;
      if (field !== undefined) this.#size -= sizeOf(field);
    }
  }

  #grow(): void {
    const entries: (HeaderField | undefined)[] = [];
    for (let index = this.#length; index >= 1; index--) entries.push(this.get(index));
    this.#ring = Array.from({ length: this.#ring.length * 2 }, (_, i) => entries[i]);
    this.#newest = entries.length - 1;
  }
}
