/** DATAGRAM frames that wait to be sent (RFC 9221): never sent twice, and the oldest goes when they are too many. */
import type { FrameWriter } from "../frame-writer.ts";
import { MAX_QUEUED_DATAGRAM_BYTES, MAX_QUEUED_DATAGRAMS } from "../limits.ts";

export class DatagramQueue {
  #queue: Buffer[] = [];
  /** Those before it have been sent. */
  #head = 0;
  #bytes = 0;
  dropped = 0;

  get length(): number {
    return this.#queue.length - this.#head;
  }

  push(datagram: Buffer): void {
    this.#queue.push(Buffer.from(datagram));
    this.#bytes += datagram.length;
    while (this.length > MAX_QUEUED_DATAGRAMS || this.#bytes > MAX_QUEUED_DATAGRAM_BYTES) {
      this.#shift();
      this.dropped++;
    }
  }

  /** Writes as many as fit. One that is larger than `maxSize`, as the path has shrunk meanwhile, is dropped. */
  write(writer: FrameWriter, maxSize: number): void {
    for (let next = this.#queue[this.#head]; next !== undefined; next = this.#queue[this.#head]) {
      if (next.length > maxSize) this.dropped++;
      else if (!writer.datagram(next)) return;
      this.#shift();
    }
  }

  #shift(): void {
    const first = this.#queue[this.#head++];
    this.#bytes -= first?.length ?? 0;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > MAX_QUEUED_DATAGRAMS) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }
}
