/** What arrives: every frame is checked against RFC 9113 and against the limits, and becomes an act on the connection or a stream. */
import type { Connection } from "./connection.ts";
import { Http2ConnectionError, protocolError, sizeError } from "./errors.ts";
import { RateLimit } from "./floods.ts";
import { checkDependency, type FrameSink, headersContent } from "./frame-reader.ts";
import { Flag, FrameType } from "./frames.ts";
import { HeaderBlock } from "./header-block.ts";
import * as limits from "./limits.ts";
import type { Stream } from "./stream.ts";
import { ErrorCode } from "./types.ts";

export class Receiver implements FrameSink {
  settingsCame = false;
  readonly #connection: Connection;
  readonly #block = new HeaderBlock();
  /** The connection's receive window, and what of it has arrived and is not yet credited. */
  #window: number;
  #arrived = 0;
  readonly #windowSize: number;
  /** The stream of the DATA frame that is arriving, where its content is wanted. */
  #dataStream: Stream | undefined;
  #dataLength = 0;
  readonly #rates;

  constructor(connection: Connection, windowSize: number, now: number) {
    this.#connection = connection;
    this.#windowSize = windowSize;
    this.#window = windowSize;
    const rate = (budget: limits.RateBudget): RateLimit => new RateLimit(budget, now);
    this.#rates = {
      resets: rate(limits.RESETS),
      pings: rate(limits.PINGS),
      settings: rate(limits.SETTINGS),
      priorities: rate(limits.PRIORITIES),
      windowUpdates: rate(limits.WINDOW_UPDATES),
      emptyData: rate(limits.EMPTY_DATA),
      unknown: rate(limits.UNKNOWN_FRAMES),
    };
  }

  begin(type: number, flags: number, streamId: number, length: number): void {
    if (length > limits.MAX_FRAME_SIZE)
      throw new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${length} bytes`);
    if (!this.settingsCame && (type !== FrameType.SETTINGS || (flags & Flag.ACK) !== 0))
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
    else if (type > FrameType.CONTINUATION) this.#rates.unknown.take(this.#connection.now);
  }

  data(chunk: Buffer): void {
    const stream = this.#dataStream;
    if (stream === undefined || stream.closed) return;
    if (stream.contentLeft >= 0) {
      stream.contentLeft -= chunk.length;
      if (stream.contentLeft < 0) {
        this.#connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
        return;
      }
    }
    if (stream.discarding) return;
    this.#connection.budget.hold(stream, chunk.length);
    if (!stream.closed) stream.handler.onData(chunk);
  }

  dataEnd(flags: number, padding: number): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (this.#dataLength - padding === 0 && (flags & Flag.END_STREAM) === 0)
      this.#rates.emptyData.take(this.#connection.now);
    if (stream === undefined || stream.closed) return;
    if (stream.discarding) this.#connection.credit(stream, this.#dataLength);
    else if (padding > 0) this.#connection.credit(stream, padding);
    if ((flags & Flag.END_STREAM) !== 0) this.#connection.remoteEnded(stream, []);
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
        this.#rates.priorities.take(this.#connection.now);
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
        this.#connection.peer.leaving = true;
        this.#connection.handler.onGoaway?.(payload.readUInt32BE(4), payload.readUInt32BE(0) & 0x7fff_ffff);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#onWindowUpdate(streamId, payload);
        break;
      default:
    }
  }

  #beginData(streamId: number, length: number): void {
    if (streamId === 0) throw protocolError("DATA on stream 0");
    // The connection's window follows arrival, whatever becomes of the bytes.
    this.#window -= length;
    if (this.#window < 0)
      throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows");
    this.#arrived += length;
    if (this.#arrived >= this.#windowSize >>> 1) {
      this.#connection.windowUpdate(0, this.#arrived);
      this.#window += this.#arrived;
      this.#arrived = 0;
    }
    this.#dataLength = length;
    const stream = this.#connection.streams.get(streamId);
    this.#dataStream = stream;
    if (stream === undefined) {
      if (this.#connection.isIdle(streamId)) throw protocolError(`DATA on idle stream ${streamId}`);
      if (!this.#connection.wasReset(streamId)) this.#connection.refuse(streamId, ErrorCode.STREAM_CLOSED);
      return;
    }
    if (stream.remoteEnded) {
      this.#dataStream = undefined;
      this.#connection.streamError(stream, ErrorCode.STREAM_CLOSED);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow + this.#connection.local.windowInFlight < 0)
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
    const stream = this.#connection.streams.get(streamId);
    if (stream === undefined) this.#connection.role.opened(this.#connection, streamId, list, endStream);
    else if (stream.remoteEnded) this.#connection.streamError(stream, ErrorCode.STREAM_CLOSED);
    else if (list === undefined) this.#connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
    else this.#connection.role.listed(this.#connection, stream, list, endStream);
  }

  #onReset(streamId: number, payload: Buffer): void {
    if (streamId === 0 || this.#connection.isIdle(streamId))
      throw protocolError(`RST_STREAM on idle stream ${streamId}`);
    if (payload.length !== 4) throw sizeError("RST_STREAM", payload.length);
    this.#rates.resets.take(this.#connection.now);
    const stream = this.#connection.streams.get(streamId);
    if (stream === undefined) return;
    this.#connection.cancelledByPeer(stream, payload.readUInt32BE(0));
  }

  #onSettings(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("SETTINGS on a stream");
    this.#rates.settings.take(this.#connection.now);
    if ((flags & Flag.ACK) !== 0) {
      if (payload.length !== 0) throw sizeError("SETTINGS with ACK", payload.length);
      const shrunk = this.#connection.local.acknowledged(this.#connection.now);
      if (shrunk !== 0) this.#connection.adoptStreamWindow(shrunk);
      return;
    }
    const delta = this.#connection.peer.apply(payload);
    this.#connection.encoder.setMaxTableSize(this.#connection.peer.headerTableSize);
    this.#connection.sender.maxFrameSize = this.#connection.peer.maxFrameSize;
    // Before any DATA that the new values allow (RFC 9113 § 6.5.3).
    this.#connection.output.frameHeader(0, FrameType.SETTINGS, Flag.ACK, 0);
    if (delta !== 0) this.#moveSendWindows(delta);
    if (this.settingsCame) return;
    this.settingsCame = true;
    this.#connection.handler.onReady?.();
  }

  #moveSendWindows(delta: number): void {
    for (const stream of this.#connection.streams.values()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > limits.MAX_WINDOW) {
        throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a SETTINGS frame overflows a stream's window");
      }
      if (stream.queue !== undefined) this.#connection.sender.opened(stream);
    }
  }

  #onPing(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError("PING on a stream");
    if (payload.length !== 8) throw sizeError("PING", payload.length);
    this.#rates.pings.take(this.#connection.now);
    if ((flags & Flag.ACK) !== 0) {
      const roundTrip = this.#connection.watchdog.ponged(payload, this.#connection.now);
      if (roundTrip !== undefined) this.#connection.handler.onPong?.(roundTrip);
      return;
    }
    this.#connection.output.frameHeader(8, FrameType.PING, Flag.ACK, 0);
    this.#connection.output.append(payload, 0, 8);
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw sizeError("WINDOW_UPDATE", payload.length);
    this.#rates.windowUpdates.take(this.#connection.now);
    const increment = payload.readUInt32BE(0) & 0x7fff_ffff;
    if (streamId === 0) {
      if (increment === 0) throw protocolError("WINDOW_UPDATE of 0");
      this.#connection.sender.window += increment;
      if (this.#connection.sender.window > limits.MAX_WINDOW)
        throw new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window overflows");
      this.#connection.sender.opened(undefined);
      return;
    }
    const stream = this.#connection.streams.get(streamId);
    if (stream === undefined) {
      if (this.#connection.isIdle(streamId)) throw protocolError(`WINDOW_UPDATE on idle stream ${streamId}`);
      return;
    }
    if (increment === 0) {
      this.#connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > limits.MAX_WINDOW) this.#connection.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR);
    else if (stream.queue !== undefined) this.#connection.sender.opened(stream);
  }
}
