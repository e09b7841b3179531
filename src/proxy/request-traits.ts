/** What a request's own head says of how it may be treated. */
import { HeaderField } from "../protocol/bytes/header-field.ts";
import { isTrailerField } from "../protocol/http1/request-head.ts";
import type { HttpRequest, WebSocketRequest } from "../types.ts";
import { headerValue } from "./header-value.ts";

/** What the origin may have acted on already is repeated only when that does no harm (RFC 9110 § 9.2.2). */
const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

export function isIdempotent({ method, headers }: HttpRequest | WebSocketRequest): boolean {
  if (IDEMPOTENT_METHODS.has(method)) return true;
  return ["idempotency-key", "x-idempotency-key"].some((name) => headerValue(headers, name) !== undefined);
}

export function expectsContinue({ headers }: HttpRequest | WebSocketRequest): boolean {
  return headerValue(headers, "expect")?.toLowerCase() === "100-continue";
}

/** HTTP/2 has lower-case names and no hop-by-hop fields (RFC 9113 § 8.2). */
export function forwardedTrailers(trailers: readonly HeaderField[]): HeaderField[] {
  return trailers.filter(isTrailerField).map((field) => new HeaderField(field.name.toLowerCase(), field.value));
}
