/** One HTTP/2 stream of the edge as an EdgeStream, and as the byte channel of the control stream. */
import { ErrorCode, type Http2Stream, type Http2StreamHandler, type StreamCancel } from "../protocol/http2/types.ts";
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { ByteChannel, CancelReason, EdgeStream, ResponseHead, StreamSink } from "../types.ts";
import { encodeResponseHead, isReserved } from "./response-headers.ts";
import type { StreamHost } from "./stream-host.ts";

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

export type RequestKind = "configuration" | "websocket" | "tcp" | "http";

/** A splice has been accepted: from now on each side ends on its own. */
function isSplice(kind: RequestKind, status: number): boolean {
  return (kind === "websocket" && status === 101) || (kind === "tcp" && status === 200);
}

export class Http2EdgeStream implements EdgeStream, Http2StreamHandler {
  readonly bodyless: boolean;
  sink: StreamSink = UNATTENDED;
  readonly #stream: Http2Stream;
  readonly #kind: RequestKind;
  readonly #host: StreamHost;
  #responded = false;
  #spliced = false;

  constructor(stream: Http2Stream, bodyless: boolean, kind: RequestKind, host: StreamHost) {
    this.#stream = stream;
    this.bodyless = bodyless;
    this.#kind = kind;
    this.#host = host;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  respond(head: ResponseHead, end: boolean): void {
    if (this.#responded) return;
    this.#responded = true;
    this.#spliced = isSplice(this.#kind, head.status);
    this.#stream.headers((encoder) => encodeResponseHead(encoder, head), end);
    if (end) this.#ended();
  }

  write(chunk: Buffer, last: boolean): boolean {
    const writable = this.#stream.write(chunk, last);
    if (last) this.#ended();
    return writable;
  }

  end(trailers?: readonly HeaderField[]): void {
    const sent = trailers?.filter((field) => !isReserved(field));
    this.#stream.end(sent?.length === 0 ? undefined : sent);
    this.#ended();
  }

  abort(): void {
    if (this.#responded) {
      this.#host.resets++;
      this.#stream.reset(ErrorCode.INTERNAL_ERROR);
      this.#stream.release();
    } else {
      this.respond(BAD_GATEWAY, true);
    }
  }

  /** RFC 9113 § 8.1: the answer is complete, so the rest of the visitor's body is not wanted. */
  #ended(): void {
    if (!this.#spliced && !this.bodyless) this.#stream.stopReading();
  }

  onData(chunk: Buffer): void {
    try {
      this.sink.onData(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  onEnd(trailers: readonly HeaderField[]): void {
    try {
      this.sink.onEnd(trailers);
    } catch (error) {
      this.#fail(error);
    }
  }

  onCancel(cancel: StreamCancel): void {
    if (cancel.kind !== "connection-closed") this.#host.resets++;
    try {
      this.sink.onCancel(cancelReason(cancel, this.#host.closingReason));
    } catch (error) {
      this.#host.defect(error);
    }
    this.#stream.release();
  }

  onWritable(): void {
    try {
      this.sink.onWritable();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#host.defect(error);
    this.abort();
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
