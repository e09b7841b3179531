/** Takes a request as a WebSocket whose bytes are a TCP connection's (ingress § 5.4). */
import type { Socket } from "node:net";
import { CloseCode } from "../../protocol/websocket/errors.ts";
import type { CancelReason, WebSocketRequest } from "../../types.ts";
import type { ActiveRequest } from "../active-requests.ts";
import { answerFailure, failureStatus } from "../direct-answers.ts";
import type { OriginTarget } from "../origin-target.ts";
import type { RequestRecord } from "../request-record.ts";
import { type TcpContext, TcpExchange } from "../tcp-exchange.ts";
import { acceptingHead } from "./handshake.ts";
import { WebSocketStream } from "./websocket-stream.ts";

/** What goes to the origin before the visitor's first byte, in latin1. */
export type Preface = (request: WebSocketRequest, socket: Socket) => string;

export const noPreface: Preface = () => "";

/** The request's stream, as yet without a sink. A visitor that breaks the protocol ends `record`. */
export function terminateWebSocket(request: WebSocketRequest, record: RequestRecord): WebSocketStream {
  return new WebSocketStream(request.stream, (error) => record.finish("bad-request", "splice", error));
}

/** Cancelled at the tunnel's end, a visitor is told that the server goes away. */
export function cancellable(stream: WebSocketStream, user: { onCancel(reason: CancelReason): void }): ActiveRequest {
  return {
    cancel(reason: CancelReason): void {
      user.onCancel(reason);
      stream.breakOff(CloseCode.goingAway, "the tunnel is shutting down");
    },
  };
}

/** Dials first: an origin that can't be reached is a 502 or 504. */
export function serveTcpOverWebSocket(
  request: WebSocketRequest,
  record: RequestRecord,
  context: TcpContext,
  target: OriginTarget,
  preface: Preface,
): void {
  const stream = terminateWebSocket(request, record);
  const exchange = new TcpExchange(context, stream, record, {
    opened(socket) {
      record.status = 101;
      stream.respond(acceptingHead(request), false);
      return preface(request, socket);
    },
    refused(outcome) {
      record.status = failureStatus(outcome);
      answerFailure(stream, failureStatus(outcome));
    },
  });
  stream.sink = exchange;
  record.activate(cancellable(stream, exchange));
  exchange.dial([target]);
}
