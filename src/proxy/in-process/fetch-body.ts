/** The visitor's body as a web stream. What the handler has not read yet is not credited. */
import type { EdgeStream } from "../../types.ts";

export class FetchBody {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #stream: EdgeStream;
  /** Undefined = closed, broken, or not wanted any more. */
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  readonly #queue: Uint8Array[] = [];
  /** A read waits for bytes. */
  #wanted = false;
  #ended = false;

  constructor(stream: EdgeStream) {
    this.#stream = stream;
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          this.#wanted = true;
          this.#serve();
        },
        cancel: () => this.#drop(),
      },
      // The stream's window is the buffer.
      { highWaterMark: 0 },
    );
  }

  push(chunk: Buffer): void {
    if (this.#controller === undefined) {
      this.#stream.consumed(chunk.length);
      return;
    }
    // An array of its own: a view of Node's pool would show the handler the memory of others in `.buffer`.
    this.#queue.push(new Uint8Array(chunk));
    this.#serve();
  }

  end(): void {
    this.#ended = true;
    this.#serve();
  }

  /** Nothing more will come. */
  fail(reason: unknown): void {
    this.#controller?.error(reason);
    this.#drop();
  }

  #serve(): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    if (this.#wanted) {
      const chunk = this.#queue.shift();
      if (chunk !== undefined) {
        this.#wanted = false;
        controller.enqueue(chunk);
        this.#stream.consumed(chunk.length);
      }
    }
    if (this.#ended && this.#queue.length === 0 && this.#controller !== undefined) {
      this.#controller = undefined;
      controller.close();
    }
  }

  #drop(): void {
    this.#controller = undefined;
    for (const chunk of this.#queue.splice(0)) this.#stream.consumed(chunk.length);
  }
}
