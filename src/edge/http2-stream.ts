/** One HTTP/2 stream of the edge as an EdgeStream, and as the byte channel of the control stream. */
import { ErrorCode, type Http2Stream, type Http2StreamHandler, type StreamCancel } from "../protocol/http2/types.ts";
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { ByteChannel, CancelReason, EdgeStream, ResponseHead, StreamSink } from "../types.ts";
import { encodeResponseHead } from "./response-headers.ts";

const NO_HEADERS: readonly HeaderField[] = [];

const BAD_GATEWAY: ResponseHead = { status: 502, headers: NO_HEADERS, contentLength: 0, source: "connector" };

/** Takes what arrives before a consumer is set, and what nobody wants. */
const UNATTENDED: StreamSink = {
  onData() {},
  onEnd() {},
  onCancel() {},
  onWritable() {},
};

function cancelReason(cancel: StreamCancel, closing: CancelReason | undefined): CancelReason {
  if (cancel.kind === "peer-reset") return "client-abort";
  return cancel.kind === "connection-closed" ? (closing ?? "edge-lost") : cancel.kind;
}

/** Says why the connection itself is being closed, if this side closes it. */
export interface ClosingState {
  readonly closingReason: CancelReason | undefined;
}

export class Http2EdgeStream implements EdgeStream, Http2StreamHandler {
  readonly bodyless: boolean;
  sink: StreamSink = UNATTENDED;
  readonly #stream: Http2Stream;
  /** WebSocket and TCP streams: each side ends on its own. */
  readonly #duplex: boolean;
  readonly #connection: ClosingState;
  #responded = false;

  constructor(stream: Http2Stream, bodyless: boolean, duplex: boolean, connection: ClosingState) {
    this.#stream = stream;
    this.bodyless = bodyless;
    this.#duplex = duplex;
    this.#connection = connection;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  respond(head: ResponseHead, end: boolean): void {
    if (this.#responded) return;
    this.#responded = true;
    this.#stream.headers((encoder) => encodeResponseHead(encoder, head), end);
    if (end) this.#ended();
  }

  write(chunk: Buffer, last: boolean): boolean {
    const writable = this.#stream.write(chunk, last);
    if (last) this.#ended();
    return writable;
  }

  end(trailers?: readonly HeaderField[]): void {
    this.#stream.end(trailers);
    this.#ended();
  }

  abort(): void {
    if (this.#responded) {
      this.#stream.reset(ErrorCode.INTERNAL_ERROR);
      this.#stream.release();
    } else {
      this.respond(BAD_GATEWAY, true);
    }
  }

  /** RFC 9113 § 8.1: the answer is complete, so the rest of the visitor's body is not wanted. */
  #ended(): void {
    if (!this.#duplex && !this.bodyless) this.#stream.stopReading();
  }

  onData(chunk: Buffer): void {
    this.sink.onData(chunk);
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.sink.onEnd(trailers);
  }

  onCancel(cancel: StreamCancel): void {
    this.sink.onCancel(cancelReason(cancel, this.#connection.closingReason));
    this.#stream.release();
  }

  onWritable(): void {
    this.sink.onWritable();
  }
}

/** The control stream (wire § 4.9): bytes both ways, message boundaries unrelated to frames. */
export function controlChannel(stream: Http2Stream, onGone: () => void): ByteChannel {
  const channel: ByteChannel = {
    onData: () => {},
    onEnd: () => {},
    write: (bytes) => void stream.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), false),
    end: () => stream.end(),
  };
  stream.handler = {
    onData(chunk) {
      channel.onData(chunk);
      stream.consumed(chunk.length);
    },
    onEnd() {
      onGone();
      channel.onEnd();
    },
    onCancel(cancel) {
      onGone();
      stream.release();
      channel.onEnd(new Error(`the edge broke off the control stream (${cancel.kind})`));
    },
    onWritable() {},
  };
  stream.headers((encoder) => encoder.status(200), false);
  return channel;
}
