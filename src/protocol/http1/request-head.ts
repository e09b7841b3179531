/**
 * The head of a request (RFC 9112 §§ 3, 5), line by line. What would end a line early, or start another one, is refused:
 *
 *   request-line = method SP request-target SP "HTTP/1.1" CRLF
 *   field-line   = field-name ":" SP field-value CRLF
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { Http1RequestError } from "./errors.ts";
import { canonicalName, isSendableValue, isToken } from "./field-syntax.ts";
import { MAX_CACHED_NAME, MAX_CACHED_NAMES } from "./limits.ts";

/** Control characters, space, DEL: the request line is split at spaces. */
const FORBIDDEN_IN_TARGET = /[\x00-\x20\x7f]/;

/** A host may not hold what ends it in a URL either. */
const FORBIDDEN_IN_HOST = /[\x00-\x20\x7f/?#@\\]/;

const COMMON_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** @param target the request target as received: never normalised */
export function requestLine(method: string, target: string): string {
  if (!COMMON_METHODS.has(method) && !isToken(method)) {
    throw new Http1RequestError("the request method is not a token (RFC 9110 § 9.1)");
  }
  if (target === "" || FORBIDDEN_IN_TARGET.test(target)) {
    throw new Http1RequestError("the request path is empty or holds a space or a control character");
  }
  return `${method} ${target} HTTP/1.1\r\n`;
}

export function hostLine(host: string): string {
  if (FORBIDDEN_IN_HOST.test(host)) {
    throw new Http1RequestError("the request's host holds a space, a control character, or one of / ? # @ \\");
  }
  return `Host: ${host}\r\n`;
}

/** Names repeat with ever new values: their first half of the line is worked out once, for as many as MAX_CACHED_NAMES. */
const prefixes = new Map<string, string>();

function linePrefix(name: string): string {
  const known = prefixes.get(name);
  if (known !== undefined) return known;
  if (!isToken(name)) throw new Http1RequestError("a header name of the request is not a token (RFC 9110 § 5.1)");
  const prefix = `${canonicalName(name)}: `;
  if (name.length <= MAX_CACHED_NAME) {
    if (prefixes.size >= MAX_CACHED_NAMES) prefixes.clear();
    prefixes.set(name, prefix);
  }
  return prefix;
}

/** `Name: value\r\n`, the name in canonical case. */
export function fieldLine(name: string, value: string): string {
  const prefix = linePrefix(name);
  if (!isSendableValue(value)) {
    throw new Http1RequestError(`the value of the request's header ${name} holds a control character`);
  }
  return `${prefix}${value}\r\n`;
}

/** Fields that would change the framing or the routing of a message if they came after its body (RFC 9110 § 6.5.1). */
const FORBIDDEN_IN_TRAILERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export function isTrailerField(field: HeaderField): boolean {
  return !FORBIDDEN_IN_TRAILERS.has(field.name.toLowerCase());
}
