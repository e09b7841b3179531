/** A SOCKS5 server over a WebSocket (ingress § 5.6): accepted at once, dialled when the client has said where to. */
import { CloseCode } from "../../protocol/websocket/errors.ts";
import { Socks5Error } from "../../protocol/socks5/errors.ts";
import { encodeReply, Reply, type ReplyCode } from "../../protocol/socks5/reply.ts";
import { type Socks5Destination, type Socks5Handler, Socks5Server } from "../../protocol/socks5/server.ts";
import type { CancelReason, StreamSink, WebSocketRequest } from "../../types.ts";
import { OriginError } from "../origin-errors.ts";
import type { OriginTarget } from "../origin-target.ts";
import { outcomeOfCancel, type RequestRecord } from "../request-record.ts";
import { type TcpContext, TcpExchange } from "../tcp-exchange.ts";
import { acceptingHead } from "../websocket/handshake.ts";
import { cancellable, type Preface, terminateWebSocket } from "../websocket/serve.ts";
import type { WebSocketStream } from "../websocket/websocket-stream.ts";
import { IpRulesError } from "./errors.ts";

/** Where to; rejects with an IpRulesError or an OriginError. */
export type SocksRoute = (destination: Socks5Destination) => Promise<readonly OriginTarget[]>;

/** Of a connection that was not made. */
function replyTo(error: Error): ReplyCode {
  if (error instanceof IpRulesError) return Reply.notAllowed;
  const { cause } = error;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "ECONNREFUSED") return Reply.connectionRefused;
  return code === "ENETUNREACH" ? Reply.networkUnreachable : Reply.hostUnreachable;
}

/** The stream's sink until the client has said where to. */
class SocksHandshake implements StreamSink, Socks5Handler {
  readonly #stream: WebSocketStream;
  readonly #record: RequestRecord;
  readonly #connect: (destination: Socks5Destination) => void;
  readonly #server = new Socks5Server(this);
  #done = false;

  /** @param connect gives the stream its next sink */
  constructor(stream: WebSocketStream, record: RequestRecord, connect: (destination: Socks5Destination) => void) {
    this.#stream = stream;
    this.#record = record;
    this.#connect = connect;
  }

  onData(chunk: Buffer): void {
    if (this.#done) {
      this.#stream.consumed(chunk.length);
      return;
    }
    let taken = chunk.length;
    try {
      taken = this.#server.receive(chunk);
    } catch (error) {
      if (!(error instanceof Socks5Error)) throw error;
      this.#failed(error);
    }
    this.#stream.consumed(taken);
    if (taken < chunk.length) this.#stream.sink.onData(chunk.subarray(taken));
  }

  onEnd(): void {
    if (this.#done) return;
    this.#done = true;
    this.#stream.end();
    this.#record.finish("client-abort", "request");
  }

  onCancel(reason: CancelReason): void {
    if (this.#done) return;
    this.#done = true;
    this.#record.finish(outcomeOfCancel(reason), "request");
  }

  onWritable(): void {}

  send(bytes: Buffer): void {
    this.#stream.write(bytes, false);
  }

  onConnect(destination: Socks5Destination): void {
    this.#done = true;
    this.#connect(destination);
  }

  #failed(error: Socks5Error): void {
    this.#done = true;
    this.#record.finish("bad-request", "request", error);
    if (error.answer === undefined) {
      this.#stream.breakOff(CloseCode.unsupportedData, error.message);
    } else {
      this.#stream.write(error.answer, false);
      this.#stream.end();
    }
  }
}

export function serveSocks(
  request: WebSocketRequest,
  record: RequestRecord,
  context: TcpContext,
  route: SocksRoute,
  preface: Preface,
): void {
  const stream = terminateWebSocket(request, record);
  const connect = (destination: Socks5Destination): void => {
    const exchange = new TcpExchange(context, stream, record, {
      opened(socket) {
        stream.write(encodeReply(Reply.succeeded, socket.localAddress, socket.localPort), false);
        return preface(request, socket);
      },
      refused(_outcome, error) {
        stream.write(encodeReply(replyTo(error)), false);
        stream.end();
      },
    });
    stream.sink = exchange;
    route(destination)
      .then((targets) => exchange.dial(targets))
      .catch((error: unknown) => {
        if (error instanceof OriginError) exchange.refuse(error.outcome, error.phase, error);
        else if (error instanceof IpRulesError) exchange.refuse("access-denied", "access", error);
        else exchange.refuse("handler-error", "request", error instanceof Error ? error : new Error(String(error)));
      });
  };
  const handshake = new SocksHandshake(stream, record, connect);
  stream.sink = handshake;
  record.status = 101;
  // Whoever has the stream when it is cancelled.
  record.activate(cancellable(stream, { onCancel: (reason) => stream.sink.onCancel(reason) }));
  stream.respond(acceptingHead(request), false);
}
