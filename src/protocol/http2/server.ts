/** The server role, which is the connector's: the edge opens all streams. */
import type { HeaderField } from "../bytes/header-field.ts";
import { Connection, type Role } from "./connection.ts";
import { Http2ConnectionError, protocolError } from "./errors.ts";
import { requestHead, validTrailers } from "./head.ts";
import { MAX_ACTIVE_STREAMS } from "./limits.ts";
import { ErrorCode, type Http2Connection, type Http2ConnectionHandler, type Http2Options } from "./types.ts";

const SERVER: Role = {
  isServer: true,

  opened(connection, streamId, list, end) {
    if ((streamId & 1) === 0) throw protocolError(`a client opened stream ${streamId}`);
    if (!connection.isIdle(streamId)) {
      // What was under way when we reset the stream is no error; what comes on a stream that both sides have ended is.
      if (connection.wasReset(streamId)) return;
      throw new Http2ConnectionError(ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${streamId}`);
    }
    connection.lastStreamId = streamId;
    const slots = Math.min(connection.local.maxConcurrentStreams, MAX_ACTIVE_STREAMS);
    if (connection.leaving || connection.activeStreams >= slots) {
      connection.refuse(streamId, ErrorCode.REFUSED_STREAM);
      return;
    }
    if (list === undefined) {
      answerTooLarge(connection, streamId, end);
      return;
    }
    const head = requestHead(list);
    if (head === undefined || (end && head.contentLength !== undefined && head.contentLength > 0)) {
      connection.refuse(streamId, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    const stream = connection.open(streamId);
    if (end) stream.remoteEnded = true;
    else if (head.contentLength !== undefined) stream.contentLeft = head.contentLength;
    connection.handler.onRequest?.(stream, head, end);
  },

  listed(connection, stream, list: HeaderField[], end) {
    if (!end || !validTrailers(list)) connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
    else connection.remoteEnded(stream, list);
  },
};

/** 431, Request Header Fields Too Large (RFC 6585 § 5). */
function answerTooLarge(connection: Connection, streamId: number, end: boolean): void {
  const stream = connection.open(streamId);
  stream.remoteEnded = end;
  stream.stopReading();
  stream.headers((encoder) => encoder.status(431), true);
}

/** A server's side of a connection. SETTINGS are in its output at once (wire § 4.1). */
export function createHttp2Server(
  options: Http2Options,
  handler: Http2ConnectionHandler,
  now: number,
): Http2Connection {
  return new Connection(SERVER, options, handler, now);
}
