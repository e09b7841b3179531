/**
 * The core of both roles: frames in, frames out, streams, settings, flow control. The roles differ in who opens streams and what a
 * header list means; that is `Role`.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { type Budget, createMemoryBudget } from "./budget.ts";
import { Http2ConnectionError } from "./errors.ts";
import { RateLimit } from "./floods.ts";
import { checkDependency, FrameReader, type FrameSink, headersContent } from "./frame-reader.ts";
import { Flag, FrameType, PREFACE } from "./frames.ts";
import { HeaderBlock } from "./header-block.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import * as limits from "./limits.ts";
import { Output } from "./output.ts";
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

export class Connection implements Http2Connection, FrameSink, StreamOwner {
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

  readonly #role: Role;
  readonly #budget: Budget;
  readonly #unsubscribe: () => void;
  readonly #reader = new FrameReader(this);
  readonly #block = new HeaderBlock();
  readonly #watchdog: Watchdog;
  /** Bytes of the preface that are still to come (server role). */
  #prefaceLeft: number;
  #settingsCame = false;
  /** Bytes of the connection's window that have arrived and are not yet credited. */
  #arrived = 0;
  #window: number;
  readonly #windowSize: number;
  /** The stream of the DATA frame that is arriving, where its content is wanted. */
  #dataStream: Stream | undefined;
  #dataLength = 0;
  readonly #resetIds = new Set<number>();
  /** Cancelled streams whose consumer still works: they keep their slots. */
  readonly #cancelled = new Set<Stream>();
  readonly #rates;

  constructor(role: Role, options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    this.#role = role;
    this.handler = handler;
    this.now = now;
    this.#budget = (options.budget as Budget | undefined) ?? createMemoryBudget();
    this.#unsubscribe = this.#budget.subscribe(() => this.#press());
    this.output = new Output(() => this.handler.onOutput());
    this.encoder = new HpackEncoder();
    this.sender = new Sender(this.output, this.encoder, this.#budget, (stream) => this.#localEnded(stream));
    this.#windowSize = options.connectionWindowSize ?? limits.CONNECTION_WINDOW;
    this.#window = this.#windowSize;
    this.#prefaceLeft = role.isServer ? PREFACE.length : 0;
    this.#watchdog = new Watchdog(options, now);
    const rate = (budget: limits.RateBudget): RateLimit => new RateLimit(budget, now);
    this.#rates = {
      resets: rate(limits.RESETS),
      streamErrors: rate(limits.STREAM_ERRORS),
      refusals: rate(limits.REFUSALS),
      pings: rate(limits.PINGS),
      settings: rate(limits.SETTINGS),
      priorities: rate(limits.PRIORITIES),
      windowUpdates: rate(limits.WINDOW_UPDATES),
      emptyData: rate(limits.EMPTY_DATA),
      unknown: rate(limits.UNKNOWN_FRAMES),
    };
    if (!role.isServer) this.output.append(PREFACE, 0, PREFACE.length);
    this.peer = new PeerSettings(role.isServer);
    this.local = new LocalSettings(this.output, options, role.isServer, now);
    if (this.#windowSize > 65_535) this.#windowUpdate(0, this.#windowSize - 65_535);
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
    this.#watchdog.heard(now);
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
      : this.#watchdog.deadline(this.#prefaceLeft, this.#settingsCame, this.local.unacknowledgedSince);
  }

  tick(now: number): void {
    if (this.dead) return;
    this.now = now;
    try {
      if (this.#watchdog.tick(now, this.#prefaceLeft, this.#settingsCame, this.local.unacknowledgedSince))
        this.ping(now);
    } catch (error) {
      this.fail(error);
    }
  }

  ping(now: number): void {
    if (this.dead) return;
    this.output.frameHeader(8, FrameType.PING, 0, 0);
    this.output.append(this.#watchdog.pinged(now), 0, 8);
  }

  goaway(code: number): void {
    if (this.dead || this.leaving) return;
    this.leaving = true;
    this.#sendGoaway(code, "");
  }

  socketClosed(): void {
    this.#end();
  }

  // --- what the roles use ---

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
    this.#rates.streamErrors.take(this.now);
    this.#abandon(stream, code, { kind: "protocol-error", code });
  }

  /** RST_STREAM for a stream that is not open here. */
  refuse(streamId: number, code: number): void {
    (code === ErrorCode.REFUSED_STREAM ? this.#rates.refusals : this.#rates.streamErrors).take(this.now);
    this.#sendReset(streamId, code);
  }

  /** Frames may still come on a stream that we reset. */
  wasReset(streamId: number): boolean {
    return this.#resetIds.has(streamId);
  }

  isIdle(streamId: number): boolean {
    return streamId > this.lastStreamId;
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
    this.#budget.give(stream, bytes);
    if (stream.closed || stream.remoteEnded) return;
    stream.uncredited += bytes;
    if (stream.uncredited >= this.local.streamWindow >>> 1) this.#creditStream(stream);
  }

  stopReading(stream: Stream): void {
    stream.discarding = true;
    this.#budget.release(stream);
    if (stream.localEnded && !stream.remoteEnded) this.sendReset(stream, ErrorCode.NO_ERROR);
  }

  released(stream: Stream): void {
    this.#cancelled.delete(stream);
  }

  // --- FrameSink ---

  begin(type: number, flags: number, streamId: number, length: number): void {
    if (length > limits.MAX_FRAME_SIZE)
      throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${length} bytes`);
    if (!this.#settingsCame && (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0))
      throw protocolError("the first frame is not SETTINGS");
    if (
      this.#block.open
        ? type !== FrameType.CONTINUATION || streamId !== this.#block.streamId
        : type === FrameType.CONTINUATION
    ) {
      throw protocolError("CONTINUATION frames must follow their HEADERS, and nothing else may");
    }
    if (type === FrameType.DATA) this.#beginData(streamId, length);
    else if (type === FrameType.CONTINUATION) this.#block.checkContinuation(length);
    else if (type > FrameType.CONTINUATION) this.#rates.unknown.take(this.now);
  }

  data(chunk: Buffer): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.closed) return;
    if (stream.contentLeft >= 0) {
      stream.contentLeft -= chunk.length;
      if (stream.contentLeft < 0) {
        this.streamError(stream, ErrorCode.PROTOCOL_ERROR);
        return;
      }
    }
    if (stream.discarding) return;
    this.#budget.hold(stream, chunk.length);
    if (!stream.closed) stream.handler.onData(chunk);
  }

  dataEnd(flags: number, padding: number): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (this.#dataLength - padding === 0 && (flags & Flag.END_STREAM) === 0) this.#rates.emptyData.take(this.now);
    if (stream === undefined || stream.closed) return;
    if (stream.discarding) this.credit(stream, this.#dataLength);
    else if (padding > 0) this.credit(stream, padding);
    if ((flags & Flag.END_STREAM) !== 0) this.remoteEnded(stream, []);
  }

  frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case FrameType.HEADERS:
        this.#onHeaders(flags, streamId, payload);
        break;
      case FrameType.CONTINUATION:
        this.#block.append(payload);
        if ((flags & Flag.END_HEADERS) !== 0) this.#onHeaderList();
        break;
      case FrameType.PRIORITY:
        this.#rates.priorities.take(this.now);
        if (streamId === 0) throw protocolError("PRIORITY on stream 0");
        if (payload.length !== 5) throw sizeError("PRIORITY", payload.length);
        checkDependency(streamId, payload, 0);
        break;
      case FrameType.RST_STREAM:
        this.#onReset(streamId, payload);
        break;
      case FrameType.SETTINGS:
        this.#onSettings(flags, streamId, payload);
        break;
      case FrameType.PUSH_PROMISE:
        throw protocolError("PUSH_PROMISE, which is not allowed here");
      case FrameType.PING:
        this.#onPing(flags, streamId, payload);
        break;
      case FrameType.GOAWAY:
        if (streamId !== 0) throw protocolError("GOAWAY on a stream");
        if (payload.length < 8) throw sizeError("GOAWAY", payload.length);
        this.peer.leaving = true;
        this.handler.onGoaway?.(payload.readUInt32BE(4), payload.readUInt32BE(0) & 0x7fff_ffff);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#onWindowUpdate(streamId, payload);
        break;
      default:
    }
  }

  // --- frames in ---

  #readPreface(bytes: Buffer): number {
    const taken = Math.min(this.#prefaceLeft, bytes.length);
    const from = PREFACE.length - this.#prefaceLeft;
    if (PREFACE.compare(bytes, 0, taken, from, from + taken) !== 0)
      throw protocolError("the peer does not speak HTTP/2");
    this.#prefaceLeft -= taken;
    if (this.#prefaceLeft === 0) this.#watchdog.prefaceAt(this.now);
    return taken;
  }

  #beginData(streamId: number, length: number): void {
    if (streamId === 0) throw protocolError("DATA on stream 0");
    // The connection's window follows arrival, whatever becomes of the bytes.
    this.#window -= length;
    if (this.#window < 0)
      throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows");
    this.#arrived += length;
    if (this.#arrived >= this.#windowSize >>> 1) {
      this.#windowUpdate(0, this.#arrived);
      this.#window += this.#arrived;
      this.#arrived = 0;
    }
    this.#dataLength = length;
    const stream = this.streams.get(streamId);
    this.#dataStream = stream;
    if (stream === undefined) {
      if (this.isIdle(streamId)) throw protocolError(`DATA on idle stream ${streamId}`);
      if (!this.#resetIds.has(streamId)) this.refuse(streamId, ErrorCode.STREAM_CLOSED);
      return;
    }
    if (stream.remoteEnded) {
      this.#dataStream = undefined;
      this.streamError(stream, ErrorCode.STREAM_CLOSED);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow + this.local.windowInFlight < 0)
      throw new Http2ConnectionError(
        ErrorCode.FLOW_CONTROL_ERROR,
        `more DATA than the window of stream ${streamId} allows`,
      );
  }

  #onHeaders(flags: number, streamId: number, payload: Buffer): void {
    if (streamId === 0) throw protocolError("HEADERS on stream 0");
    const whole = (flags & Flag.END_HEADERS) !== 0;
    this.#block.begin(streamId, (flags & Flag.END_STREAM) !== 0, headersContent(flags, streamId, payload), whole);
    if (whole) this.#onHeaderList();
  }

  #onHeaderList(): void {
    const { streamId, endStream } = this.#block;
    // Decoded in any case: the tables must stay in step (RFC 9113 § 4.3).
    const list = this.#block.decode();
    const stream = this.streams.get(streamId);
    if (stream === undefined) this.#role.opened(this, streamId, list, endStream);
    else if (stream.remoteEnded) this.streamError(stream, ErrorCode.STREAM_CLOSED);
    else if (list === undefined) this.streamError(stream, ErrorCode.PROTOCOL_ERROR);
    else this.#role.listed(this, stream, list, endStream);
  }

  #onReset(streamId: number, payload: Buffer): void {
    if (streamId === 0 || this.isIdle(streamId)) throw protocolError(`RST_STREAM on idle stream ${streamId}`);
    if (payload.length !== 4) throw sizeError("RST_STREAM", payload.length);
    this.#rates.resets.take(this.now);
    const stream = this.streams.get(streamId);
    if (stream === undefined) return;
    this.#close(stream);
    this.#cancel(stream, { kind: "peer-reset", code: payload.readUInt32BE(0) });
  }

  #onSettings(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("SETTINGS on a stream");
    this.#rates.settings.take(this.now);
    if ((flags & Flag.ACK) !== 0) {
      if (payload.length !== 0) throw sizeError("SETTINGS with ACK", payload.length);
      const shrunk = this.local.acknowledged(this.now);
      if (shrunk !== 0) this.#adoptStreamWindow(shrunk);
      return;
    }
    const delta = this.peer.apply(payload);
    this.encoder.setMaxTableSize(this.peer.headerTableSize);
    this.sender.maxFrameSize = this.peer.maxFrameSize;
    // Before any DATA that the new values allow (RFC 9113 § 6.5.3).
    this.output.frameHeader(0, FrameType.SETTINGS, Flag.ACK, 0);
    if (delta !== 0) this.#moveSendWindows(delta);
    if (this.#settingsCame) return;
    this.#settingsCame = true;
    this.handler.onReady?.();
  }

  #moveSendWindows(delta: number): void {
    for (const stream of this.streams.values()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > limits.MAX_WINDOW) {
        throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a SETTINGS frame overflows a stream's window");
      }
      if (stream.queue !== undefined) this.sender.opened(stream);
    }
  }

  #onPing(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    if (payload.length !== 8) throw sizeError("PING", payload.length);
    this.#rates.pings.take(this.now);
    if ((flags & Flag.ACK) !== 0) {
      const roundTrip = this.#watchdog.ponged(payload, this.now);
      if (roundTrip !== undefined) this.handler.onPong?.(roundTrip);
      return;
    }
    this.output.frameHeader(8, FrameType.PING, Flag.ACK, 0);
    this.output.append(payload, 0, 8);
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw sizeError("WINDOW_UPDATE", payload.length);
    this.#rates.windowUpdates.take(this.now);
    const increment = payload.readUInt32BE(0) & 0x7fff_ffff;
    if (streamId === 0) {
      if (increment === 0) throw protocolError("WINDOW_UPDATE of 0");
      this.sender.window += increment;
      if (this.sender.window > limits.MAX_WINDOW)
        throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window overflows");
      this.sender.opened(undefined);
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.isIdle(streamId)) throw protocolError(`WINDOW_UPDATE on idle stream ${streamId}`);
      return;
    }
    if (increment === 0) {
      this.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > limits.MAX_WINDOW) this.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR);
    else if (stream.queue !== undefined) this.sender.opened(stream);
  }

  // --- flow control ---

  #windowUpdate(streamId: number, increment: number): void {
    this.output.frameHeader(4, FrameType.WINDOW_UPDATE, 0, streamId);
    this.output.uint32(increment);
  }

  #creditStream(stream: Stream): void {
    this.#windowUpdate(stream.id, stream.uncredited);
    stream.receiveWindow += stream.uncredited;
    stream.uncredited = 0;
  }

  #press(): void {
    if (!this.dead) this.local.announceStreamWindow(this.#budget.pressed, this.now);
  }

  /** The peer has adopted our new initial window: it moved all its streams' windows by `delta` (RFC 9113 § 6.9.2). */
  #adoptStreamWindow(delta: number): void {
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
    this.#budget.release(stream);
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
    this.output.uint32(this.#role.isServer ? this.lastStreamId : 0);
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

export function protocolError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message);
}

function sizeError(type: string, length: number): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${type} with ${length} bytes`);
}
