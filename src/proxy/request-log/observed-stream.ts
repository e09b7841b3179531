/** A stream as the request log sees it: what went which way, and what the answer began with. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { CancelReason, EdgeStream, ResponseHead, StreamSink } from "../../types.ts";

const UNATTENDED: StreamSink = { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} };

/** Stands between a stream and whoever serves it. */
export class ObservedStream implements EdgeStream, StreamSink {
  readonly bodyless: boolean;
  sink: StreamSink = UNATTENDED;
  /** Bytes of bodies, as they crossed the tunnel: from the visitor, and to it. */
  received = 0;
  sent = 0;
  /** Of the answer. */
  headers: readonly HeaderField[] = [];
  readonly #stream: EdgeStream;

  constructor(stream: EdgeStream) {
    this.#stream = stream;
    this.bodyless = stream.bodyless;
    stream.sink = this;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  respond(head: ResponseHead, end: boolean): void {
    this.headers = head.headers;
    this.#stream.respond(head, end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    this.sent += chunk.length;
    return this.#stream.write(chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    this.#stream.end(trailers);
  }

  abort(): void {
    this.#stream.abort();
  }

  onData(chunk: Buffer): void {
    this.received += chunk.length;
    this.sink.onData(chunk);
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.sink.onEnd(trailers);
  }

  onCancel(reason: CancelReason): void {
    this.sink.onCancel(reason);
  }

  onWritable(): void {
    this.sink.onWritable();
  }
}
