/** The client role, which is the edge's: for the mock edge and the load driver. */
import { Connection } from "./connection.ts";
import { protocolError } from "./errors.ts";
import { MAX_STREAM_ID } from "./frames.ts";
import type { Stream } from "./stream.ts";
import {
  type ClientFieldEncoder,
  ErrorCode,
  type Http2ClientConnection,
  type Http2ConnectionHandler,
  type Http2Options,
  type Http2Stream,
  type Http2StreamHandler,
} from "./types.ts";

class ClientConnection extends Connection implements Http2ClientConnection {
  /** We take no pushes, so there are none. */
  protected readonly lastPeerStreamId = 0;
  #nextStreamId = 1;
  #peerLeaving = false;

  constructor(options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    super(false, options, handler, now);
  }

  get availableStreams(): number {
    if (this.dead || this.leaving || this.#peerLeaving || this.#nextStreamId > MAX_STREAM_ID) return 0;
    return Math.max(0, this.peer.maxConcurrentStreams - this.streams.open.size);
  }

  request(
    encode: (encoder: ClientFieldEncoder) => void,
    end: boolean,
    handler: Http2StreamHandler,
  ): Http2Stream | undefined {
    if (this.availableStreams === 0) return undefined;
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    const stream = this.streams.begin(streamId);
    stream.handler = handler;
    // The slot that it takes is the peer's to count.
    stream.isReleased = true;
    this.streams.sendRequest(stream, encode, end);
    return stream;
  }

  protected isIdle(streamId: number): boolean {
    return streamId >= this.#nextStreamId || (streamId & 1) === 0;
  }

  protected onNewList(streamId: number, endStream: boolean): void {
    if (this.isIdle(streamId)) throw protocolError(`HEADERS on stream ${streamId}, which was not asked for`);
    this.onClosedStream(streamId);
    this.floods.overhead();
    if (endStream) this.streams.resets.ended(streamId);
  }

  protected onList(stream: Stream, endStream: boolean): void {
    if (stream.responded) this.#onTrailers(stream, endStream);
    else this.#onResponse(stream, endStream);
  }

  /** The peer takes nothing above `lastStreamId`: what was sent there may be asked for again elsewhere (RFC 9113 § 6.8). */
  protected onLeaving(lastStreamId: number): void {
    this.#peerLeaving = true;
    for (const stream of this.streams.open.values()) {
      if (stream.id > lastStreamId) this.streams.peerReset(stream, ErrorCode.REFUSED_STREAM);
    }
  }

  #onResponse(stream: Stream, endStream: boolean): void {
    const head = this.list.response();
    const isInterim = head !== undefined && head.status < 200;
    if (head === undefined || (isInterim && endStream)) {
      this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (isInterim) {
      this.floods.overhead();
      return;
    }
    stream.responded = true;
    const { contentLength } = this.list;
    // Answers to HEAD, and 304, name a length that does not come (RFC 9110 § 8.6): it counts only where content follows.
    if (!endStream && contentLength !== undefined) stream.contentLeft = contentLength;
    stream.handler.onResponse?.(head, endStream);
    if (endStream && !stream.closed) this.streams.remoteEnded(stream, []);
  }

  #onTrailers(stream: Stream, endStream: boolean): void {
    const trailers = endStream ? this.list.trailers() : undefined;
    if (trailers === undefined) this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
    else this.streams.remoteEnded(stream, trailers);
  }
}

/** A client's side of a connection. The preface and SETTINGS are in its output at once. */
export function createHttp2Client(
  options: Http2Options,
  handler: Http2ConnectionHandler,
  now: number,
): Http2ClientConnection {
  return new ClientConnection(options, handler, now);
}
