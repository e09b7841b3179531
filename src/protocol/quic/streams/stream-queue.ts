import type { Stream } from "./stream.ts";

/** Streams in the order in which they get their turn; each stands in it once. */
export class StreamQueue {
  readonly #bit: number;
  #streams: Stream[] = [];
  #head = 0;

  /** `bit` of Stream.queued tells that a stream stands in this queue. */
  constructor(bit: number) {
    this.#bit = bit;
  }

  get first(): Stream | undefined {
    return this.#streams[this.#head];
  }

  push(stream: Stream): void {
    if ((stream.queued & this.#bit) !== 0) return;
    stream.queued |= this.#bit;
    this.#streams.push(stream);
  }

  shift(): Stream | undefined {
    const stream = this.#streams[this.#head];
    if (stream === undefined) return undefined;
    stream.queued &= ~this.#bit;
    this.#head++;
    if (this.#head === this.#streams.length) {
      this.#streams = [];
      this.#head = 0;
    } else if (this.#head >= 64 && this.#head * 2 >= this.#streams.length) {
      this.#streams = this.#streams.slice(this.#head);
      this.#head = 0;
    }
    return stream;
  }

  clear(): void {
    while (this.shift() !== undefined);
  }
}
