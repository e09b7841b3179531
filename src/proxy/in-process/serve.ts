/** Requests to origins that live in this process. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { HttpRequest, Origin, OutcomeClass, RequestPhase, WebSocketRequest } from "../../types.ts";

export interface InProcessContext {
  /** Final request fields for the origin, in canonical case: what a head on the wire would hold, Host and framing included. */
  readonly forwarded: readonly HeaderField[];
  readonly connIndex: number;
  readonly report: (result: { class: OutcomeClass; status: number; phase?: RequestPhase; error?: Error }) => void;
}

export function serveInProcess(
  request: HttpRequest | WebSocketRequest,
  _origin: Extract<Origin, { kind: "server" | "listener" | "fetch" }>,
  context: InProcessContext,
): void {
  request.stream.abort();
  context.report({ class: "no-origin", status: 502, phase: "match" });
}
