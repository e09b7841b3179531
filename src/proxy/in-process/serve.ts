/**
 * Requests to origins that live in this process, without any local port: an `http.Server`, a `(req, res)` listener, or a
 * `(Request) => Response` handler. The first two get real HTTP/1.1 over a connection in memory, the last one real fetch objects.
 */
import { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { HttpRequest, OutcomeClass, RequestPhase, WebSocketRequest } from "../../types.ts";
import { discardingSink } from "../direct-answers.ts";
import type { AbandonedHandlers } from "./abandoned-handlers.ts";
import { endpointOf, type InProcessOrigin, takesUpgrades } from "./endpoint.ts";
import { NoUpgradeHandlerError } from "./errors.ts";
import { FetchExchange } from "./fetch-exchange.ts";
import { answerPlainly } from "./plain-answer.ts";
import { ServerExchange } from "./server-exchange.ts";

export interface InProcessContext {
  /** Final request fields for the origin, in canonical case: what a head on the wire would hold, Host and framing included. */
  readonly forwarded: readonly HeaderField[];
  readonly connIndex: number;
  /** Of this origin. */
  readonly abandoned: AbandonedHandlers;
  /** Called exactly once, when the request has ended. */
  readonly report: (result: { class: OutcomeClass; status: number; phase?: RequestPhase; error?: Error }) => void;
}

const RETRY_AFTER = new HeaderField("Retry-After", "5");

/** Sets `request.stream.sink` before it returns. */
export function serveInProcess(
  request: HttpRequest | WebSocketRequest,
  origin: InProcessOrigin,
  context: InProcessContext,
): void {
  const busy = context.abandoned.refusal;
  if (busy !== undefined) {
    request.stream.sink = discardingSink(request);
    answerPlainly(request, 503, [RETRY_AFTER]);
    context.report({ class: "handler-error", status: 503, phase: "match", error: busy });
  } else if (request.kind === "websocket" && !takesUpgrades(origin)) {
    request.stream.sink = discardingSink(request);
    answerPlainly(request, 501);
    context.report({ class: "no-origin", status: 501, phase: "match", error: new NoUpgradeHandlerError() });
  } else if (request.kind === "http" && origin.kind === "fetch") {
    void new FetchExchange(request, context).run(origin.fetch);
  } else {
    new ServerExchange(request, endpointOf(origin), context).start();
  }
}
