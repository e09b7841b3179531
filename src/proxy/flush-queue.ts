/** What wants to be written at the end of this turn of the loop, in one setImmediate for all: chunks of one turn leave as one write. */

export interface Flushable {
  flush(): void;
}

export class FlushQueue {
  #waiting: Flushable[] = [];
  #scheduled = false;

  /** The caller sees to it that it is in the queue once. */
  add(flushable: Flushable): void {
    this.#waiting.push(flushable);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const each of waiting) each.flush();
    });
  }
}
