/**
 * The surface of the HTTP/2 codec (RFC 9113): sans I/O, both roles from one core. Bytes and `now` (milliseconds,
 * monotonic) go in; bytes, calls on the handlers and one deadline come out. No method throws on what the peer sends.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import type { MemoryBudget } from "../memory-budget/budget.ts";

/** RFC 9113 § 7. */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

/** A validated request head (RFC 9113 § 8.3.1). `fields` hold the regular fields in the order received; split cookies are not yet joined. */
export interface RequestHead {
  readonly method: string;
  /** Undefined for CONNECT without :scheme. */
  readonly scheme: string | undefined;
  readonly authority: string;
  /** "" for CONNECT. */
  readonly path: string;
  readonly fields: HeaderField[];
  /** Checked against the DATA that follows (RFC 9113 § 8.1.1). */
  readonly contentLength: number | undefined;
}

export interface ResponseHeadFields {
  readonly status: number;
  readonly fields: HeaderField[];
}

/** Why a stream ended before its time, seen from the codec. */
export type StreamCancel =
  | { readonly kind: "peer-reset"; readonly code: number }
  | { readonly kind: "protocol-error"; readonly code: number }
  | { readonly kind: "memory-limit" }
  | { readonly kind: "connection-closed" };

/** What the user of a stream implements. Views are valid only during the call. */
export interface Http2StreamHandler {
  /** Client role only: the final response head (1xx are dropped). */
  onResponse?(head: ResponseHeadFields, end: boolean): void;
  onData(chunk: Buffer): void;
  onEnd(trailers: readonly HeaderField[]): void;
  onCancel(cancel: StreamCancel): void;
  onWritable(): void;
}

/** Writes one header block into the HPACK encoder. Keep it allocation-free on the hot path. */
export interface FieldEncoder {
  status(code: number): void;
  /**
   * `index`: into the dynamic table if the peer has one (values that repeat on this connection);
   * `name`: only the name is indexed, the value stands literally; `never`: RFC 7541 § 7.1.3.
   * Names are lower case. Both are latin1 byte strings.
   */
  field(name: string, value: string, indexing: "index" | "name" | "never"): void;
}

export interface Http2Stream {
  readonly id: number;
  handler: Http2StreamHandler;
  /** Both sides have ended, or the stream was reset. */
  readonly closed: boolean;
  /** This side has ended (END_STREAM or RST_STREAM sent). */
  readonly localEnded: boolean;
  /** The peer has ended its side. */
  readonly remoteEnded: boolean;
  /** The consumer has taken `bytes` bytes of onData: opens the stream's window. After a reset it only settles the memory budget. */
  consumed(bytes: number): void;
  /** Sends a HEADERS frame (and CONTINUATIONs). Ignored on a closed stream. */
  headers(encode: (encoder: FieldEncoder) => void, end: boolean): void;
  /**
   * Sends DATA; what the windows don't allow yet is copied and queued. False = more than the windows or 1 MiB of unflushed output:
   * pause until onWritable. Ignored (true) on a closed stream.
   */
  write(chunk: Buffer, last: boolean): boolean;
  /** Ends this side behind what is queued: trailers as HEADERS with END_STREAM, else an empty DATA (or END_STREAM on the last queued DATA). */
  end(trailers?: readonly HeaderField[]): void;
  /**
   * RFC 9113 § 8.1: once this side has ended (queued output included), RST_STREAM(NO_ERROR) if the peer's side is still open then.
   * DATA that arrives from now on is dropped and credited, and no handler is called for it.
   */
  stopReading(): void;
  /** RST_STREAM; queued output of the stream is dropped. No onCancel follows, and `release` is implied. */
  reset(code: number): void;
  /**
   * A cancelled stream keeps its slot until its consumer says that the work behind it has ended
   * (MadeYouReset, CVE-2025-8671): call once when the origin's side is done. Idempotent.
   */
  release(): void;
}

export interface Http2ConnectionHandler {
  /** Server role: a request head is complete. Set `stream.handler` before returning. `end` = no body follows. */
  onRequest?(stream: Http2Stream, head: RequestHead, end: boolean): void;
  /** Output went from empty to non-empty (first while the connection is being created): schedule one flush. */
  onOutput(): void;
  /** The peer's first SETTINGS have arrived. */
  onReady?(): void;
  onGoaway?(code: number, lastStreamId: number): void;
  /** The peer answered the oldest ping of `ping()`. */
  onPong?(roundTripMs: number): void;
  /** A connection error (ours or an unanswered PING): GOAWAY is queued; flush the output, then close the socket. Streams were cancelled before. */
  onError(error: Error): void;
}

export interface Http2Options {
  /** Announced SETTINGS_MAX_CONCURRENT_STREAMS. Server default 4294967295 (spec/wire § 4.1). */
  readonly maxConcurrentStreams?: number;
  /** Announced SETTINGS_INITIAL_WINDOW_SIZE. Default 1 MiB. */
  readonly initialWindowSize?: number;
  /** The connection's receive window. Default 4 MiB. */
  readonly connectionWindowSize?: number;
  /** Milliseconds without any frame after which a PING is sent, and the time it may take; 0 = no watchdog. */
  readonly pingIntervalMs?: number;
  readonly pingTimeoutMs?: number;
  /** Shared by all connections of a process or tunnel; made by `createMemoryBudget`. */
  readonly budget?: MemoryBudget;
}

export interface Http2Connection {
  /** Feeds received bytes. The view may be reused by the caller afterwards. */
  receive(bytes: Buffer, now: number): void;
  /**
   * The next full or final output buffer, or undefined when there is none. The caller owns it until it gives it back by `recycle`,
   * normally in the socket's write callback; until then it counts as in flight for back-pressure.
   */
  takeOutput(): Buffer | undefined;
  recycle(buffer: Buffer): void;
  /** When `tick` is due next; undefined = never. */
  readonly deadline: number | undefined;
  tick(now: number): void;
  ping(now: number): void;
  /** Announces a graceful end: no new streams of the peer are taken (REFUSED_STREAM), open ones continue. */
  goaway(code: number): void;
  /** The notice before that (RFC 9113 § 6.8): asks for no new streams, and takes those that are on their way. */
  noticeGoaway(): void;
  /** The socket is gone: cancels every stream with connection-closed. */
  socketClosed(): void;
  readonly openStreams: number;
  /** Streams whose consumer still works, cancelled ones included. */
  readonly activeStreams: number;
}

export interface Http2ClientConnection extends Http2Connection {
  /** Opens a stream, or undefined when the peer's limit or GOAWAY forbids it. */
  request(
    encode: (encoder: ClientFieldEncoder) => void,
    end: boolean,
    handler: Http2StreamHandler,
  ): Http2Stream | undefined;
  /** Streams that the peer still allows right now. */
  readonly availableStreams: number;
}

export interface ClientFieldEncoder extends FieldEncoder {
  /** :method, :scheme, :authority, :path in this order; undefined ones are left out. */
  pseudo(method: string, scheme: string | undefined, authority: string | undefined, path: string | undefined): void;
}
