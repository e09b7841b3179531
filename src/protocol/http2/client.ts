/** The client role, which is the edge's: for the mock edge and the load driver. */
import type { HeaderField } from "../bytes/header-field.ts";
import { Connection, type Role } from "./connection.ts";
import { protocolError } from "./errors.ts";
import { responseHead, validTrailers } from "./head.ts";
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

/** The last stream id that fits in 31 bits. */
const LAST_STREAM_ID = 0x7fff_ffff;

const CLIENT: Role = {
  isServer: false,

  opened(connection, streamId) {
    if (!connection.wasReset(streamId)) throw protocolError(`HEADERS on stream ${streamId}, which is not open`);
  },

  listed(connection, stream: Stream, list: HeaderField[], end) {
    if (stream.responded) {
      if (!end || !validTrailers(list)) connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      else connection.remoteEnded(stream, list);
      return;
    }
    const head = responseHead(list);
    if (head === undefined || (head.status < 200 && end)) {
      connection.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (head.status < 200) return;
    stream.responded = true;
    // The answer to HEAD and a 304 name a length that does not come (RFC 9110 § 8.6), so it is checked only where content follows.
    if (!end && head.contentLength !== undefined) stream.contentLeft = head.contentLength;
    stream.handler.onResponse?.(head, end);
    if (end && !stream.closed) connection.remoteEnded(stream, []);
  },
};

class ClientConnection extends Connection implements Http2ClientConnection {
  #nextStreamId = 1;

  constructor(options: Http2Options, handler: Http2ConnectionHandler, now: number) {
    super(CLIENT, options, handler, now);
  }

  get availableStreams(): number {
    if (this.dead || this.leaving || this.peer.leaving || this.#nextStreamId > LAST_STREAM_ID) return 0;
    return Math.max(0, this.peer.maxConcurrentStreams - this.streams.size);
  }

  request(
    encode: (encoder: ClientFieldEncoder) => void,
    end: boolean,
    handler: Http2StreamHandler,
  ): Http2Stream | undefined {
    if (this.availableStreams === 0) return undefined;
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    this.lastStreamId = streamId;
    const stream = this.open(streamId);
    stream.handler = handler;
    this.sender.headers(stream, encode, end);
    return stream;
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
