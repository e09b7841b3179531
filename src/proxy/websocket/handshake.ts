/** The server's answer to a WebSocket handshake (RFC 6455 § 4.2.2), and to requests that are none. */
import { HeaderField } from "../../protocol/bytes/header-field.ts";
import { acceptKey } from "../../protocol/websocket/frames.ts";
import type { HttpRequest, ResponseHead, WebSocketRequest } from "../../types.ts";
import { BadRequestError } from "../bad-request.ts";
import { discardingSink } from "../direct-answers.ts";
import { headerValue } from "../header-value.ts";
import type { RequestRecord } from "../request-record.ts";

const VERSION = "13";

/** What clients that carry bytes over WebSockets offer, as noVNC does; browsers give up when the one they offer is not taken. */
const BYTES_SUBPROTOCOL = "binary";

const HINT =
  "this hostname carries TCP over WebSocket: connect with `cloudflared access tcp --hostname <this hostname> --url localhost:<port>`, or any WebSocket client";

/** The request as a WebSocket; undefined when it can't be taken as one, and has been answered. */
export function webSocketOrAnswer(
  request: HttpRequest | WebSocketRequest,
  record: RequestRecord,
): WebSocketRequest | undefined {
  if (request.kind !== "websocket") {
    answerUpgradeRequired(request, HINT, record);
    return undefined;
  }
  const version = headerValue(request.headers, "sec-websocket-version");
  if (version === undefined || version === VERSION) return request;
  answerUpgradeRequired(request, `only version ${VERSION} of WebSocket is spoken here`, record);
  return undefined;
}

export function acceptingHead({ headers }: WebSocketRequest): ResponseHead {
  const key = headerValue(headers, "sec-websocket-key");
  const fields: HeaderField[] = [];
  if (key !== undefined) {
    fields.push(
      new HeaderField("Connection", "Upgrade"),
      new HeaderField("Sec-Websocket-Accept", acceptKey(key)),
      new HeaderField("Upgrade", "websocket"),
    );
    const offered = headerValue(headers, "sec-websocket-protocol")?.split(",") ?? [];
    if (offered.some((name) => name.trim() === BYTES_SUBPROTOCOL)) {
      fields.push(new HeaderField("Sec-Websocket-Protocol", BYTES_SUBPROTOCOL));
    }
  }
  return { status: 101, headers: fields, contentLength: undefined, source: "origin" };
}

/** 426 (RFC 9110 § 15.5.22), with the reason for whoever looks at it in a browser. */
function answerUpgradeRequired(request: HttpRequest | WebSocketRequest, problem: string, record: RequestRecord): void {
  const { stream } = request;
  const body = Buffer.from(`Upgrade Required: ${problem}.\n`);
  stream.sink = discardingSink(request);
  const head: ResponseHead = {
    status: 426,
    headers: [
      new HeaderField("Connection", "Upgrade"),
      new HeaderField("Content-Length", String(body.length)),
      new HeaderField("Content-Type", "text/plain; charset=utf-8"),
      new HeaderField("Sec-Websocket-Version", VERSION),
      new HeaderField("Upgrade", "websocket"),
    ],
    contentLength: body.length,
    source: "origin",
  };
  const withoutBody = request.method === "HEAD";
  stream.respond(head, withoutBody);
  if (!withoutBody) stream.write(body, true);
  record.status = head.status;
  record.finish("bad-request", "match", new BadRequestError(problem));
}
