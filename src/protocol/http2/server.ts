/** The server role, which is the connector's: the edge opens all streams. */
import { Connection } from "./connection.ts";
import { protocolError } from "./errors.ts";
import * as limits from "./limits.ts";
import type { Stream } from "./stream.ts";
import { ErrorCode, type Http2Connection, type Http2ConnectionHandler, type Http2Options } from "./types.ts";

class ServerConnection extends Connection {
  protected lastPeerStreamId = 0;
  readonly #slots: number;
  /** Ids were left out: a low one may never have been used. */
  #skipped = false;

  constructor(options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    super(true, options, handler, now);
    this.#slots = Math.min(options.maxConcurrentStreams ?? limits.MAX_ACTIVE_STREAMS, limits.MAX_ACTIVE_STREAMS);
  }

  protected isIdle(streamId: number): boolean {
    // We push nothing, so an even one is never anything but idle.
    return streamId > this.lastPeerStreamId || (streamId & 1) === 0;
  }

  protected onNewList(streamId: number, endStream: boolean, selfDependent: boolean): void {
    if ((streamId & 1) === 0) throw protocolError(`a client opened stream ${streamId}`);
    if (!this.isIdle(streamId)) {
      if (this.#skipped && !this.streams.resets.has(streamId)) throw protocolError(`stream ids fell to ${streamId}`);
      this.onClosedStream(streamId);
      this.floods.overhead();
      if (endStream) this.streams.resets.ended(streamId);
      return;
    }
    if (streamId > this.lastPeerStreamId + 2) this.#skipped = true;
    this.lastPeerStreamId = streamId;
    // The slot of a broken-off stream is free only when its work has ended.
    if (this.leaving || this.streams.active >= this.#slots || this.output.pending > limits.MAX_UNREAD_OUTPUT) {
      this.floods.overhead();
      this.streams.refuse(streamId, endStream, ErrorCode.REFUSED_STREAM);
    } else if (this.list.tooLarge) {
      this.#answerTooLarge(streamId, endStream);
    } else {
      this.#onRequest(streamId, endStream, selfDependent);
    }
  }

  protected onList(stream: Stream, endStream: boolean): void {
    const trailers = endStream ? this.list.trailers() : undefined;
    if (trailers === undefined) this.streams.error(stream, ErrorCode.PROTOCOL_ERROR);
    else this.streams.remoteEnded(stream, trailers);
  }

  /** The edge says that it opens no more streams: we say the same, and what is open goes on (mock-edge § 5.2, H2-05). */
  protected onLeaving(): void {
    this.goaway(ErrorCode.NO_ERROR);
  }

  #onRequest(streamId: number, endStream: boolean, selfDependent: boolean): void {
    const head = selfDependent ? undefined : this.list.request();
    if (head === undefined || (endStream && head.contentLength !== undefined && head.contentLength > 0)) {
      this.floods.streamError();
      this.streams.refuse(streamId, endStream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    this.floods.request();
    const stream = this.streams.begin(streamId);
    if (endStream) stream.remoteEnded = true;
    else if (head.contentLength !== undefined) stream.contentLeft = head.contentLength;
    this.handler.onRequest?.(stream, head, endStream);
  }

  /** 431, Request Header Fields Too Large (RFC 6585 § 5). */
  #answerTooLarge(streamId: number, endStream: boolean): void {
    this.floods.streamError(limits.OVERSIZED_HEAD_COST);
    const stream = this.streams.begin(streamId);
    stream.remoteEnded = endStream;
    stream.stopReading();
    stream.headers((encoder) => encoder.status(431), true);
  }
}

/** A server's side of a connection. Its SETTINGS are in the output at once, before the preface comes (wire § 4.1). */
export function createHttp2Server(
  options: Http2Options,
  handler: Http2ConnectionHandler,
  now: number,
): Http2Connection {
  return new ServerConnection(options, handler, now);
}
