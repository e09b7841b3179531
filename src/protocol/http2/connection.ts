/**
 * The core of both roles (RFC 9113): takes bytes, and hands each frame to what it concerns. Who opens streams, and what a header
 * list means, differs: server.ts, client.ts. Connection errors are thrown, and caught where bytes or time come in.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { Budget, createMemoryBudget } from "../memory-budget/budget.ts";
import { ControlFrames } from "./control-frames.ts";
import { Http2ConnectionError, protocolError, streamClosedError } from "./errors.ts";
import { Floods } from "./floods.ts";
import { type FrameHandler, FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { Flag, FrameType, MAX_STREAM_ID, PREFACE } from "./frames.ts";
import { HeaderList } from "./head.ts";
import { HeaderBlock } from "./header-block.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { HpackError } from "./hpack/errors.ts";
import { DEFAULT_MAX_CONCURRENT_STREAMS, HEADER_TABLE_SIZE } from "./limits.ts";
import { Output } from "./output.ts";
import { clientSettings, PeerSettings, serverSettings } from "./settings.ts";
import type { Stream } from "./stream.ts";
import { Streams } from "./streams.ts";
import { ErrorCode, type Http2Connection, type Http2ConnectionHandler, type Http2Options } from "./types.ts";
import { Watchdog } from "./watchdog.ts";

const NO_TRAILERS: readonly HeaderField[] = [];

function asConnectionError(error: unknown): Http2ConnectionError {
  if (error instanceof Http2ConnectionError) return error;
  if (error instanceof HpackError) {
    return new Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, error.message, { cause: error });
  }
  return new Http2ConnectionError(ErrorCode.INTERNAL_ERROR, "a handler failed", { cause: error });
}

export abstract class Connection implements Http2Connection, FrameHandler {
  protected readonly handler: Http2ConnectionHandler;
  protected readonly output: Output;
  protected readonly peer: PeerSettings;
  protected readonly floods: Floods;
  protected readonly streams: Streams;
  /** The header list that was decoded last. */
  protected readonly list = new HeaderList();
  /** We sent GOAWAY. */
  protected leaving = false;
  protected dead = false;

  readonly #isServer: boolean;
  readonly #writer: FrameWriter;
  readonly #watchdog: Watchdog;
  readonly #control: ControlFrames;
  readonly #unsubscribe: () => void;
  readonly #reader = new FrameReader(this);
  readonly #block = new HeaderBlock();
  readonly #decoder = new HpackDecoder(HEADER_TABLE_SIZE);
  /** Bytes of the preface that are still to come (server role). */
  #prefaceLeft: number;
  /** The DATA frame that is arriving: its stream's id, and its stream where the content is wanted. */
  #dataStreamId = 0;
  #dataStream: Stream | undefined;
  #dataIsEmpty = true;

  constructor(isServer: boolean, options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    const { budget = createMemoryBudget() } = options;
    if (!(budget instanceof Budget)) throw new TypeError("options.budget must come from createMemoryBudget()");
    this.#isServer = isServer;
    this.handler = handler;
    const floods = new Floods(now);
    const output = new Output(() => handler.onOutput());
    const writer = new FrameWriter(output);
    const peer = new PeerSettings(isServer);
    const watchdog = new Watchdog(options, isServer, now);
    const streams = new Streams({ options, output, writer, budget, floods, peer });
    this.floods = floods;
    this.output = output;
    this.peer = peer;
    this.streams = streams;
    this.#writer = writer;
    this.#watchdog = watchdog;
    this.#control = new ControlFrames({
      handler,
      streams,
      writer,
      peer,
      floods,
      watchdog,
      isIdle: (streamId) => this.isIdle(streamId),
      onLeaving: (lastStreamId) => this.onLeaving(lastStreamId),
    });
    this.#unsubscribe = budget.subscribe(() => this.#control.adaptWindows());
    this.#prefaceLeft = isServer ? PREFACE.length : 0;
    if (!isServer) writer.preface();
    const window = streams.receiver.announceFirst();
    const maxStreams = options.maxConcurrentStreams ?? DEFAULT_MAX_CONCURRENT_STREAMS;
    writer.settings(isServer ? serverSettings(maxStreams, window) : clientSettings(window));
    watchdog.awaitAcknowledgement();
    streams.receiver.openConnection();
  }

  // --- What the roles know ---

  /** The highest id of the peer's streams that was taken in: our GOAWAY names it. */
  protected abstract readonly lastPeerStreamId: number;
  /** No stream with this id has been opened yet. */
  protected abstract isIdle(streamId: number): boolean;
  /** A header list for a stream that is not open; `selfDependent` by its priority fields. */
  protected abstract onNewList(streamId: number, endStream: boolean, selfDependent: boolean): void;
  /** A header list for an open stream whose peer's side has not ended. */
  protected abstract onList(stream: Stream, endStream: boolean): void;
  /** The peer sent GOAWAY. */
  protected abstract onLeaving(lastStreamId: number): void;

  /** A frame with content on a stream that is not open. What comes on one that we reset is no error. */
  protected onClosedStream(streamId: number): void {
    if (this.isIdle(streamId)) throw protocolError(`a frame on idle stream ${streamId}`);
    if (!this.streams.resets.has(streamId)) {
      throw streamClosedError(`a frame on stream ${streamId}, which the peer has ended`);
    }
  }

  // --- Http2Connection ---

  get openStreams(): number {
    return this.streams.open.size;
  }

  get activeStreams(): number {
    return this.streams.active;
  }

  get deadline(): number | undefined {
    return this.dead ? undefined : this.#watchdog.deadline;
  }

  receive(bytes: Buffer, now: number): void {
    if (this.dead || bytes.length === 0) return;
    this.floods.now = now;
    this.#watchdog.heard(now);
    try {
      const from = this.#prefaceLeft > 0 ? this.#readPreface(bytes, now) : 0;
      if (this.#prefaceLeft === 0) this.#reader.receive(bytes, from);
      this.#writer.checkUnread();
      this.streams.sender.drain();
    } catch (error) {
      this.#fail(error);
    }
  }

  takeOutput(): Buffer | undefined {
    const buffer = this.output.take();
    if (buffer !== undefined) this.#writer.taken();
    return buffer;
  }

  recycle(buffer: Buffer): void {
    if (!this.output.recycle(buffer) || this.dead) return;
    // While more is waiting, the peer must have made room for what went.
    if (this.output.unflushed > 0) this.#watchdog.moved();
    if (!this.streams.sender.wantsDrain) return;
    try {
      this.streams.sender.drain();
    } catch (error) {
      this.#fail(error);
    }
  }

  tick(now: number): void {
    if (this.dead) return;
    this.floods.now = now;
    try {
      if (this.#watchdog.tick(now)) this.#ping(now, true);
    } catch (error) {
      this.#fail(error);
    }
  }

  ping(now: number): void {
    if (!this.dead) this.#ping(now, false);
  }

  goaway(code: number): void {
    if (this.dead || this.leaving) return;
    this.leaving = true;
    this.#writer.goaway(this.lastPeerStreamId, code, "");
  }

  noticeGoaway(): void {
    if (!this.dead && !this.leaving) this.#writer.goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, "");
  }

  socketClosed(): void {
    this.#end();
  }

  // --- FrameHandler ---

  dataBegins(streamId: number, length: number): void {
    if (!this.#control.settingsCame) throw protocolError("the first frame is not SETTINGS");
    if (streamId === 0) throw protocolError("DATA on stream 0");
    const { open, receiver } = this.streams;
    receiver.connectionReceives(length);
    this.#dataStreamId = streamId;
    this.#dataStream = undefined;
    this.#dataIsEmpty = true;
    const stream = open.get(streamId);
    if (stream === undefined) this.onClosedStream(streamId);
    else if (stream.remoteEnded) this.streams.error(stream, ErrorCode.STREAM_CLOSED);
    else if (!receiver.streamReceives(stream, length)) this.streams.error(stream, ErrorCode.FLOW_CONTROL_ERROR);
    else if (!this.#isServer && !stream.responded) this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
    else this.#dataStream = stream;
  }

  dataPadding(bytes: number): void {
    if (this.#dataStream !== undefined) this.streams.receiver.credit(this.#dataStream, bytes);
  }

  dataChunk(chunk: Buffer): void {
    this.#dataIsEmpty = false;
    const stream = this.#dataStream;
    if (stream === undefined || stream.closed) return;
    if (stream.contentLeft >= 0) {
      stream.contentLeft -= chunk.length;
      if (stream.contentLeft < 0) {
        this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
        return;
      }
    }
    if (stream.discarding) {
      this.streams.receiver.credit(stream, chunk.length);
      return;
    }
    this.streams.receiver.hold(stream, chunk.length);
    // The budget may just have chosen this very stream.
    if (!stream.closed) stream.handler.onData(chunk);
  }

  dataEnds(endStream: boolean): void {
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    if (!endStream) {
      if (this.#dataIsEmpty) this.floods.overhead();
    } else if (stream === undefined || stream.closed) {
      this.streams.resets.ended(this.#dataStreamId);
    } else {
      this.streams.remoteEnded(stream, NO_TRAILERS);
    }
  }

  frame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const control = this.#control;
    if (!control.settingsCame && type !== FrameType.SETTINGS) throw protocolError("the first frame is not SETTINGS");
    switch (type) {
      case FrameType.HEADERS:
        if (streamId === 0) throw protocolError("HEADERS on stream 0");
        this.#onBlock(this.#block.begin(flags, streamId, bytes, start, end));
        break;
      case FrameType.CONTINUATION:
        this.#onBlock(this.#block.continue(flags, bytes, start, end));
        break;
      case FrameType.WINDOW_UPDATE:
        control.windowUpdate(streamId, bytes, start);
        break;
      case FrameType.RST_STREAM:
        control.reset(streamId, bytes, start);
        break;
      case FrameType.SETTINGS:
        control.settings(streamId, (flags & Flag.ACK) !== 0, bytes, start, end);
        break;
      case FrameType.PING:
        control.ping(streamId, (flags & Flag.ACK) !== 0, bytes, start);
        break;
      case FrameType.PRIORITY:
        control.priority(streamId, bytes, start, end);
        break;
      case FrameType.GOAWAY:
        control.goaway(streamId, bytes, start);
        break;
      case FrameType.PUSH_PROMISE:
        throw protocolError("PUSH_PROMISE, which nobody may send here");
      default:
        // To be ignored (RFC 9113 § 5.5).
        this.floods.overhead();
    }
  }

  #onBlock(block: Buffer | undefined): void {
    if (block === undefined) return;
    const { streamId, endStream, selfDependent } = this.#block;
    // Decoded whatever becomes of it: the tables must stay in step (RFC 9113 § 4.3).
    this.list.begin();
    this.#decoder.decode(block, this.list.add);
    const stream = this.streams.open.get(streamId);
    if (stream === undefined) this.onNewList(streamId, endStream, selfDependent);
    else if (stream.remoteEnded) this.streams.error(stream, ErrorCode.STREAM_CLOSED);
    else if (selfDependent) this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
    else if (this.list.tooLarge) this.streams.error(stream, ErrorCode.ENHANCE_YOUR_CALM);
    else this.onList(stream, endStream);
  }

  #readPreface(bytes: Buffer, now: number): number {
    const taken = Math.min(this.#prefaceLeft, bytes.length);
    const from = PREFACE.length - this.#prefaceLeft;
    if (PREFACE.compare(bytes, 0, taken, from, from + taken) !== 0) {
      throw protocolError("the peer does not speak HTTP/2");
    }
    this.#prefaceLeft -= taken;
    if (this.#prefaceLeft === 0) this.#watchdog.prefaceCame(now);
    return taken;
  }

  #ping(now: number, judged: boolean): void {
    const number = this.#watchdog.ping(now, judged);
    if (number !== undefined) this.#writer.ping(number);
  }

  #fail(error: unknown): void {
    if (this.dead) return;
    const cause = asConnectionError(error);
    this.#writer.goaway(this.lastPeerStreamId, cause.http2Code, cause.message);
    try {
      this.#end();
    } finally {
      this.handler.onError(cause);
    }
  }

  #end(): void {
    if (this.dead) return;
    this.dead = true;
    this.#reader.stop();
    this.output.lift();
    this.#unsubscribe();
    this.streams.end();
  }
}
