/** One QUIC stream of the edge as an EdgeStream (wire §§ 5.2 to 5.4), and as the byte channel of an RPC stream. */
import type { ConnectTarget } from "../protocol/argotunnel/request.ts";
import { errorResponse, httpResponse, tcpResponse } from "../protocol/argotunnel/response.ts";
import { encodeStreamHead } from "../protocol/argotunnel/stream-head.ts";
import { HeaderField } from "../protocol/bytes/header-field.ts";
import { type ConnectResponse, connectResponseType } from "../protocol/capnp/connect.ts";
import type { QuicStream, QuicStreamSink } from "../protocol/quic/streams/types.ts";
import type { ByteChannel, CancelReason, EdgeStream, ResponseHead, StreamSink } from "../types.ts";
import { isDropped } from "./response-headers.ts";
import type { StreamHost } from "./stream-host.ts";

/** The reference knows no other (wire § 5.2). */
const NO_ERROR = 0;

/** What the edge makes its own page of: the visitor is not told why. */
const UNREACHABLE = "the origin did not answer";

const FLOW_LIMIT = "too many active flows";

const EMPTY = Buffer.alloc(0);
const NO_TRAILERS: readonly HeaderField[] = [];

const UNATTENDED: StreamSink = { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} };

export interface QuicStreamHost extends StreamHost {
  /** There is something to send. */
  wake(): void;
  /** An origin has sent some. */
  trailersDropped(): void;
}

export class QuicEdgeStream implements EdgeStream, QuicStreamSink {
  readonly bodyless: boolean;
  sink: StreamSink = UNATTENDED;
  readonly #stream: QuicStream;
  readonly #kind: ConnectTarget["kind"];
  readonly #host: QuicStreamHost;
  #responded = false;
  #spliced = false;
  #ended = false;
  #peerEnded = false;
  #cancelled = false;

  constructor(stream: QuicStream, bodyless: boolean, kind: ConnectTarget["kind"], host: QuicStreamHost) {
    this.#stream = stream;
    this.bodyless = bodyless;
    this.#kind = kind;
    this.#host = host;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
    this.#host.wake();
  }

  respond(head: ResponseHead, end: boolean): void {
    if (this.#responded) return;
    this.#responded = true;
    this.#spliced = this.#kind !== "http" && !end;
    this.#write(encodeStreamHead(connectResponseType, responseOf(this.#kind, head, end)), end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    return this.#write(chunk, last);
  }

  /** Trailers have no place on this transport. */
  end(trailers?: readonly HeaderField[]): void {
    if (trailers !== undefined && trailers.length > 0) this.#host.trailersDropped();
    this.#write(EMPTY, true);
  }

  abort(): void {
    if (this.#responded) {
      if (this.#ended && this.#peerEnded) return;
      this.#host.resets++;
      this.#ended = true;
      this.#stream.reset(NO_ERROR);
      this.#stopReading();
      this.#host.wake();
    } else {
      this.#responded = true;
      this.#write(encodeStreamHead(connectResponseType, errorResponse(UNREACHABLE, false)), true);
    }
  }

  #write(bytes: Buffer, last: boolean): boolean {
    if (this.#ended) return true;
    const writable = this.#stream.write(bytes, last);
    this.#host.wake();
    if (last) {
      this.#ended = true;
      // The answer is complete, so the rest of the visitor's body is not wanted; the other half of a splice is.
      if (!this.#spliced) this.#stopReading();
    }
    return writable;
  }

  #stopReading(): void {
    if (!this.#peerEnded) this.#stream.stopSending(NO_ERROR);
  }

  onData(chunk: Buffer): void {
    if (this.bodyless) {
      // Bytes behind a request that has no body: the reference drops them too.
      this.#stream.consumed(chunk.length);
      return;
    }
    try {
      this.sink.onData(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  onEnd(): void {
    this.#peerEnded = true;
    if (this.bodyless) return;
    try {
      this.sink.onEnd(NO_TRAILERS);
    } catch (error) {
      this.#fail(error);
    }
  }

  onWritable(): void {
    try {
      this.sink.onWritable();
    } catch (error) {
      this.#fail(error);
    }
  }

  onReset(): void {
    this.#cancel("client-abort");
  }

  onStopSending(): void {
    // Nothing of the answer can arrive; what the edge still sends has nobody to go to.
    this.#cancel("client-abort");
  }

  onEvicted(): void {
    this.#cancel("memory-limit");
  }

  onClosed(): void {
    this.#cancel(this.#host.closingReason ?? "edge-lost");
  }

  /** Both sides are over, or need not go on. Whoever has heard the end of both, or has answered whole, hears nothing more. */
  #cancel(reason: CancelReason): void {
    if (this.#cancelled || (this.#ended && (this.#peerEnded || !this.#spliced))) return;
    this.#cancelled = true;
    if (reason === "client-abort" || reason === "memory-limit") this.#host.resets++;
    if (!this.#ended) this.#stream.reset(NO_ERROR);
    this.#stopReading();
    this.#ended = true;
    this.#peerEnded = true;
    try {
      this.sink.onCancel(reason);
    } catch (error) {
      this.#host.defect(error);
    }
  }

  #fail(error: unknown): void {
    this.#host.defect(error);
    this.abort();
  }
}

/** The edge answers visitors with a 502 of its own for an error; any other status it passes on. */
function responseOf(kind: ConnectTarget["kind"], head: ResponseHead, end: boolean): ConnectResponse {
  if (head.source === "flow-limit") return errorResponse(FLOW_LIMIT, true);
  if (kind === "tcp") return head.status === 200 ? tcpResponse() : errorResponse(UNREACHABLE, false);
  if (end && head.source === "connector" && head.status === 502) return errorResponse(UNREACHABLE, false);
  const headers = head.headers.filter((field) => !isDropped(field));
  // An origin's own is among its fields.
  if (head.contentLength !== undefined && !headers.some(({ name }) => name.toLowerCase() === "content-length")) {
    headers.push(new HeaderField("Content-Length", String(head.contentLength)));
  }
  return httpResponse(head.status, headers);
}

/** A stream that carries RPC. Its bytes are credited as they are taken; `write` may queue, as calls are small and bounded. */
export function streamChannel(stream: QuicStream, wake: () => void): ByteChannel {
  const channel: ByteChannel = {
    onData: () => {},
    onEnd: () => {},
    write(bytes) {
      stream.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), false);
      wake();
    },
    end() {
      stream.write(EMPTY, true);
      wake();
    },
  };
  const broken = (what: string): void => channel.onEnd(new Error(what));
  stream.sink = {
    onData(chunk) {
      channel.onData(chunk);
      stream.consumed(chunk.length);
    },
    onEnd: () => channel.onEnd(),
    onReset: () => broken("the edge reset the stream"),
    onStopSending: () => broken("the edge stopped reading the stream"),
    onWritable() {},
    onEvicted: () => broken("the stream was reset at the memory limit"),
    onClosed: () => broken("the connection to the edge is gone"),
  };
  return channel;
}
