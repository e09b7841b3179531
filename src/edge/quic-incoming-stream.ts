/** A stream that the edge opened over QUIC, until its head tells what it is (wire § 5.2). */
import { MAX_STREAM_HEAD_BYTES, StreamHeadReader } from "../protocol/argotunnel/stream-head.ts";
import { type ConnectRequest, connectRequestType } from "../protocol/capnp/connect.ts";
import { INITIAL_STREAM_WINDOW } from "../protocol/quic/limits.ts";
import type { QuicStream } from "../protocol/quic/streams/types.ts";
import type { QuicStreamHost } from "./quic-stream.ts";

/** Application error codes are always 0. */
const NO_ERROR = 0;

export type IncomingHead = NonNullable<ReturnType<StreamHeadReader<ConnectRequest>["receive"]>>;

/** Of a head that has not come whole, after which its stream's window lets all of the longest one come. */
const LONG_HEAD_BYTES = INITIAL_STREAM_WINDOW / 2;

/** A stream whose head has not come whole. It is taken as a whole, so that until then what is there of it counts as held. */
export class IncomingStream {
  readonly #stream: QuicStream;
  readonly #host: QuicStreamHost;
  readonly #onHead: (head: IncomingHead, rest: Buffer) => void;
  #reader: StreamHeadReader<ConnectRequest> | undefined = new StreamHeadReader(connectRequestType);
  #received = 0;

  constructor(stream: QuicStream, host: QuicStreamHost, onHead: (head: IncomingHead, rest: Buffer) => void) {
    this.#stream = stream;
    this.#host = host;
    this.#onHead = onHead;
  }

  onData(chunk: Buffer): void {
    try {
      const head = this.#reader?.receive(chunk);
      this.#received += chunk.length;
      if (head === undefined) {
        if (this.#received > LONG_HEAD_BYTES) this.#widen();
        return;
      }
      this.#stream.consumed(this.#received - head.rest.length);
      this.#onHead(head, head.rest);
    } catch {
      // As the reference: a stream that does not begin as one is broken off, and the connection goes on.
      this.#breakOff();
    }
  }

  onEnd(): void {
    this.#breakOff();
  }

  onReset(): void {
    this.#breakOff();
  }

  onStopSending(): void {
    this.#breakOff();
  }

  onWritable(): void {}

  onEvicted(): void {
    this.#reader = undefined;
    this.#host.wake();
  }

  #widen(): void {
    this.#stream.widen(MAX_STREAM_HEAD_BYTES);
    this.#host.wake();
  }

  #breakOff(): void {
    // The stream may stay for as long as the edge does not end it.
    this.#reader = undefined;
    this.#stream.reset(NO_ERROR);
    this.#stream.stopSending(NO_ERROR);
    this.#host.wake();
  }
}
