/**
 * The core of both roles: frames in, frames out, streams, settings, flow control. The roles differ in who opens streams and what a
 * header list means; that is `Role`.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { type Budget, createMemoryBudget } from "./budget.ts";
import { Http2ConnectionError, protocolError } from "./errors.ts";
import { RateLimit } from "./floods.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameType, PREFACE } from "./frames.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import * as limits from "./limits.ts";
import { Output } from "./output.ts";
import { Receiver } from "./receiver.ts";
import { Sender } from "./sender.ts";
import { LocalSettings, PeerSettings } from "./settings.ts";
import { Stream, type StreamOwner } from "./stream.ts";
import {
  ErrorCode,
  type FieldEncoder,
  type Http2Connection,
  type Http2ConnectionHandler,
  type Http2Options,
  type StreamCancel,
} from "./types.ts";
import { Watchdog } from "./watchdog.ts";

/** What differs between server and client. */
export interface Role {
  readonly isServer: boolean;
  /** HEADERS on a stream that is not open: opens it, or decides what is wrong. `list` is undefined when it was too large. */
  opened(connection: Connection, streamId: number, list: HeaderField[] | undefined, end: boolean): void;
  /** A header list on an open stream. */
  listed(connection: Connection, stream: Stream, list: HeaderField[], end: boolean): void;
}

export class Connection implements Http2Connection, StreamOwner {
  readonly handler: Http2ConnectionHandler;
  readonly output: Output;
  readonly sender: Sender;
  readonly encoder: HpackEncoder;
  readonly local: LocalSettings;
  readonly peer: PeerSettings;
  readonly streams = new Map<number, Stream>();
  /** Highest stream id that the peer has opened (server) or that we have (client). */
  lastStreamId = 0;
  /** We sent GOAWAY: the peer's new streams are refused. */
  leaving = false;
  dead = false;
  now: number;

  readonly role: Role;
  readonly budget: Budget;
  readonly #unsubscribe: () => void;
  readonly #receiver: Receiver;
  readonly #reader: FrameReader;
  readonly watchdog: Watchdog;
  /** Bytes of the preface that are still to come (server role). */
  #prefaceLeft: number;
  readonly #resetIds = new Set<number>();
  /** Cancelled streams whose consumer still works: they keep their slots. */
  readonly #cancelled = new Set<Stream>();
  readonly #streamErrors: RateLimit;
  readonly #refusals: RateLimit;

  constructor(role: Role, options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    this.role = role;
    this.handler = handler;
    this.now = now;
    this.budget = (options.budget as Budget | undefined) ?? createMemoryBudget();
    this.#unsubscribe = this.budget.subscribe(() => this.#press());
    this.output = new Output(() => this.handler.onOutput());
    this.encoder = new HpackEncoder();
    this.sender = new Sender(this.output, this.encoder, this.budget, (stream) => this.#localEnded(stream));
    const windowSize = options.connectionWindowSize ?? limits.CONNECTION_WINDOW;
    this.#receiver = new Receiver(this, windowSize, now);
    this.#reader = new FrameReader(this.#receiver);
    this.#prefaceLeft = role.isServer ? PREFACE.length : 0;
    this.watchdog = new Watchdog(options, now);
    this.#streamErrors = new RateLimit(limits.STREAM_ERRORS, now);
    this.#refusals = new RateLimit(limits.REFUSALS, now);
    if (!role.isServer) this.output.append(PREFACE, 0, PREFACE.length);
    this.peer = new PeerSettings(role.isServer);
    this.local = new LocalSettings(this.output, options, role.isServer, now);
    if (windowSize > 65_535) this.windowUpdate(0, windowSize - 65_535);
  }

  // --- Http2Connection ---

  get openStreams(): number {
    return this.streams.size;
  }

  get activeStreams(): number {
    return this.streams.size + this.#cancelled.size;
  }

  receive(bytes: Buffer, now: number): void {
    if (this.dead || bytes.length === 0) return;
    this.now = now;
    this.watchdog.heard(now);
    try {
      const from = this.#prefaceLeft > 0 ? this.#readPreface(bytes) : 0;
      if (this.#prefaceLeft === 0) this.#reader.read(bytes, from);
      if (this.output.outstanding > limits.MAX_OUTPUT_BYTES) {
        throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "the peer does not read what it asks for");
      }
    } catch (error) {
      this.fail(error);
    }
  }

  takeOutput(): Buffer | undefined {
    return this.output.take();
  }

  recycle(buffer: Buffer): void {
    this.output.recycle(buffer);
    if (!this.dead && this.output.outstanding < limits.OUTPUT_LOW_WATER) this.sender.drain();
  }

  get deadline(): number | undefined {
    return this.dead
      ? undefined
      : this.watchdog.deadline(this.#prefaceLeft, this.#receiver.settingsCame, this.local.unacknowledgedSince);
  }

  tick(now: number): void {
    if (this.dead) return;
    this.now = now;
    try {
      if (this.watchdog.tick(now, this.#prefaceLeft, this.#receiver.settingsCame, this.local.unacknowledgedSince))
        this.ping(now);
    } catch (error) {
      this.fail(error);
    }
  }

  ping(now: number): void {
    if (this.dead) return;
    this.output.frameHeader(8, FrameType.PING, 0, 0);
    this.output.append(this.watchdog.pinged(now), 0, 8);
  }

  goaway(code: number): void {
    if (this.dead || this.leaving) return;
    this.leaving = true;
    this.#sendGoaway(code, "");
  }

  socketClosed(): void {
    this.#end();
  }

  // --- what the roles and the receiver use ---

  /** A new stream; its slot is taken. */
  open(streamId: number): Stream {
    const stream = new Stream(this, streamId, this.peer.initialWindowSize, this.local.streamWindow);
    stream.handlerCancel = (cancel) => this.#abandon(stream, ErrorCode.ENHANCE_YOUR_CALM, cancel);
    this.streams.set(streamId, stream);
    return stream;
  }

  /** The peer ended its side with this header list or DATA frame. */
  remoteEnded(stream: Stream, trailers: readonly HeaderField[]): void {
    if (stream.contentLeft > 0) {
      this.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.remoteEnded = true;
    if (stream.localEnded) this.#close(stream);
    if (!stream.discarding) stream.handler.onEnd(trailers);
  }

  /** The peer broke the protocol on one stream (RFC 9113 § 5.4.2). */
  streamError(stream: Stream, code: number): void {
    this.#streamErrors.take(this.now);
    this.#abandon(stream, code, { kind: "protocol-error", code });
  }

  /** RST_STREAM for a stream that is not open here. */
  refuse(streamId: number, code: number): void {
    (code === ErrorCode.REFUSED_STREAM ? this.#refusals : this.#streamErrors).take(this.now);
    this.#sendReset(streamId, code);
  }

  /** Frames may still come on a stream that we reset. */
  wasReset(streamId: number): boolean {
    return this.#resetIds.has(streamId);
  }

  isIdle(streamId: number): boolean {
    return streamId > this.lastStreamId;
  }

  /** The peer reset a stream: the visitor has left. */
  cancelledByPeer(stream: Stream, code: number): void {
    this.#close(stream);
    this.#cancel(stream, { kind: "peer-reset", code });
  }

  fail(error: unknown): void {
    if (this.dead) return;
    const cause =
      error instanceof Http2ConnectionError
        ? error
        : new Http2ConnectionError(
            (error as { code?: unknown }).code === "ERR_UNDERPASS_HPACK"
              ? ErrorCode.COMPRESSION_ERROR
              : ErrorCode.INTERNAL_ERROR,
            error instanceof Error ? error.message : String(error),
          );
    this.#sendGoaway(cause.http2Code, cause.message);
    this.#end();
    this.handler.onError(cause);
  }

  // --- StreamOwner ---

  sendHeaders(stream: Stream, encode: (encoder: FieldEncoder) => void, end: boolean): void {
    this.sender.headers(stream, encode, end);
  }

  sendData(stream: Stream, chunk: Buffer, last: boolean): boolean {
    return this.sender.data(stream, chunk, last);
  }

  sendEnd(stream: Stream, trailers: readonly HeaderField[] | undefined): void {
    this.sender.end(stream, trailers);
  }

  sendReset(stream: Stream, code: number): void {
    this.#sendReset(stream.id, code);
    this.#close(stream);
  }

  credit(stream: Stream, bytes: number): void {
    this.budget.give(stream, bytes);
    if (stream.closed || stream.remoteEnded) return;
    stream.uncredited += bytes;
    if (stream.uncredited >= this.local.streamWindow >>> 1) this.#creditStream(stream);
  }

  stopReading(stream: Stream): void {
    stream.discarding = true;
    this.budget.release(stream);
    if (stream.localEnded && !stream.remoteEnded) this.sendReset(stream, ErrorCode.NO_ERROR);
  }

  released(stream: Stream): void {
    this.#cancelled.delete(stream);
  }

  #readPreface(bytes: Buffer): number {
    const taken = Math.min(this.#prefaceLeft, bytes.length);
    const from = PREFACE.length - this.#prefaceLeft;
    if (PREFACE.compare(bytes, 0, taken, from, from + taken) !== 0)
      throw protocolError("the peer does not speak HTTP/2");
    this.#prefaceLeft -= taken;
    if (this.#prefaceLeft === 0) this.watchdog.prefaceAt(this.now);
    return taken;
  }

  // --- flow control ---

  windowUpdate(streamId: number, increment: number): void {
    this.output.frameHeader(4, FrameType.WINDOW_UPDATE, 0, streamId);
    this.output.uint32(increment);
  }

  #creditStream(stream: Stream): void {
    this.windowUpdate(stream.id, stream.uncredited);
    stream.receiveWindow += stream.uncredited;
    stream.uncredited = 0;
  }

  #press(): void {
    if (!this.dead) this.local.announceStreamWindow(this.budget.pressed, this.now);
  }

  /** The peer has adopted our new initial window: it moved all its streams' windows by `delta` (RFC 9113 § 6.9.2). */
  adoptStreamWindow(delta: number): void {
    for (const stream of this.streams.values()) {
      stream.receiveWindow += delta;
      // Credit held back for a larger window could be all that the smaller one has.
      if (stream.uncredited > 0 && !stream.remoteEnded) this.#creditStream(stream);
    }
  }

  // --- the ends of streams ---

  #localEnded(stream: Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#close(stream);
    else if (stream.discarding) this.sendReset(stream, ErrorCode.NO_ERROR);
  }

  #close(stream: Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    this.streams.delete(stream.id);
    this.sender.forget(stream);
    this.budget.release(stream);
  }

  #cancel(stream: Stream, cancel: StreamCancel): void {
    if (!stream.isReleased) this.#cancelled.add(stream);
    if (stream.discarding && stream.localEnded) stream.release();
    else stream.handler.onCancel(cancel);
  }

  #abandon(stream: Stream, code: number, cancel: StreamCancel): void {
    if (stream.closed) return;
    this.#sendReset(stream.id, code);
    this.#close(stream);
    this.#cancel(stream, cancel);
  }

  #sendReset(streamId: number, code: number): void {
    this.output.frameHeader(4, FrameType.RST_STREAM, 0, streamId);
    this.output.uint32(code);
    this.#resetIds.add(streamId);
    if (this.#resetIds.size <= limits.REMEMBERED_RESETS) return;
    for (const oldest of this.#resetIds) {
      this.#resetIds.delete(oldest);
      break;
    }
  }

  #sendGoaway(code: number, debug: string): void {
    const text = Buffer.from(debug.slice(0, limits.MAX_DEBUG_DATA), "latin1");
    this.output.frameHeader(8 + text.length, FrameType.GOAWAY, 0, 0);
    this.output.uint32(this.role.isServer ? this.lastStreamId : 0);
    this.output.uint32(code);
    this.output.append(text, 0, text.length);
  }

  #end(): void {
    if (this.dead) return;
    this.dead = true;
    this.#unsubscribe();
    for (const stream of this.streams.values()) {
      this.#close(stream);
      this.#cancel(stream, { kind: "connection-closed" });
    }
  }
}
