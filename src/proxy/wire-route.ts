/** One origin that is reached over sockets, whatever protocol it speaks. */
import type { HttpRequest, WebSocketRequest } from "../types.ts";
import type { OriginError } from "./origin-errors.ts";
import type { RequestRecord } from "./request-record.ts";

/** What becomes of a request whose origin can't be reached: no connection could be opened, so that nothing of it was sent. */
export interface NextOrigin {
  /** A connection was opened. */
  reached(): void;
  /** True = somebody else has taken the request: its stream, of which no byte has been given out yet, and its record. */
  unreachable(error: OriginError, request: HttpRequest | WebSocketRequest): boolean;
}

export interface WireRoute {
  readonly service: string;
  readonly where: string;
  /** As `Backend.serve`. */
  serve(request: HttpRequest | WebSocketRequest, record: RequestRecord, next: NextOrigin | undefined): void;
  /** As `Backend.retire`. */
  retire(): void;
}
