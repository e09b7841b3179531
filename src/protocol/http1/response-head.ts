/**
 * The head of a response (RFC 9112 §§ 4, 5):
 *
 *   status-line = HTTP-version SP status-code [ SP reason-phrase ] CRLF
 *   *( field-line CRLF )
 *   CRLF
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { malformed, Http1ResponseError } from "./errors.ts";
import { CONNECTION_CLOSE, CONNECTION_KEEP_ALIVE, type HeaderLineCache, LineRole, NO_NUMBER } from "./header-line.ts";
import { MAX_FIELD_LINES } from "./limits.ts";

export interface ResponseHeadMessage {
  readonly status: number;
  /** Without Transfer-Encoding and Trailer, which the framing consumes; Content-Length once. */
  readonly fields: HeaderField[];
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
  /** The connection may carry another request once this response has ended. */
  readonly persistent: boolean;
  /** From `Keep-Alive: timeout=…`: how long the origin keeps the connection idle. */
  readonly keepAliveSeconds: number | undefined;
}

const SPACE = 0x20;
const ZERO = 0x30;

/** `HTTP/1.` minor SP status; the digit at 7 is the minor version. */
const MINOR_AT = 7;
const STATUS_AT = 9;
const STATUS_END = 12;

function statusCode(line: string): number {
  const hundreds = line.charCodeAt(STATUS_AT) - ZERO;
  const tens = line.charCodeAt(STATUS_AT + 1) - ZERO;
  const ones = line.charCodeAt(STATUS_AT + 2) - ZERO;
  const valid = hundreds >= 1 && hundreds <= 9 && tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9;
  if (!valid) throw malformed("the status code of the origin's response is not three digits from 100 on");
  return hundreds * 100 + tens * 10 + ones;
}

/** Checks a status line and returns its status; the reason phrase has no meaning and is dropped. */
function parseStatusLine(line: string): { status: number; minor: number } {
  const minor = line.charCodeAt(MINOR_AT) - ZERO;
  if (!line.startsWith("HTTP/1.") || (minor !== 0 && minor !== 1) || line.charCodeAt(MINOR_AT + 1) !== SPACE) {
    throw malformed("the origin's response does not start with HTTP/1.0 or HTTP/1.1 and a status code");
  }
  const status = statusCode(line);
  // The space before an empty reason is mandatory in the RFC and left out by many servers.
  if (line.length > STATUS_END && line.charCodeAt(STATUS_END) !== SPACE) {
    throw malformed("the status code of the origin's response is not followed by a space");
  }
  if (/[\0\r\n]/.test(line)) throw malformed("the status line of the origin's response holds CR, LF or NUL");
  return { status, minor };
}

/** Parses a whole head, `text` ending before its empty line (with the CRLF of its last line). */
export function parseResponseHead(text: string, lines: HeaderLineCache): ResponseHeadMessage {
  const statusEnd = text.indexOf("\r\n");
  const { status, minor } = parseStatusLine(text.slice(0, statusEnd));
  const fields: HeaderField[] = [];
  let contentLength: number | undefined;
  let transferEncoding: string | undefined;
  let connection = 0;
  let keepAliveSeconds: number | undefined;
  let count = 0;
  let at = statusEnd + 2;
  while (at < text.length) {
    const end = text.indexOf("\r\n", at);
    if (++count > MAX_FIELD_LINES) {
      throw new Http1ResponseError("limit", `the origin's response has more than ${MAX_FIELD_LINES} header lines`);
    }
    const line = lines.get(text.slice(at, end));
    at = end + 2;
    switch (line.role) {
      case LineRole.PLAIN:
        fields.push(line.field);
        break;
      case LineRole.CONTENT_LENGTH:
        if (line.number === NO_NUMBER) throw malformed("the origin's Content-Length is not a decimal number");
        if (contentLength === undefined) {
          contentLength = line.number;
          fields.push(line.field);
        } else if (contentLength !== line.number) {
          // RFC 9112 § 6.3: unrecoverable; whoever believes the other one sees a second response.
          throw malformed("the origin sent two different Content-Length headers");
        }
        break;
      case LineRole.TRANSFER_ENCODING:
        transferEncoding =
          transferEncoding === undefined ? line.field.value : `${transferEncoding},${line.field.value}`;
        break;
      case LineRole.CONNECTION:
        connection |= line.number;
        fields.push(line.field);
        break;
      case LineRole.KEEP_ALIVE:
        if (line.number !== NO_NUMBER) keepAliveSeconds = line.number;
        fields.push(line.field);
        break;
      case LineRole.TRAILER:
        break;
    }
  }
  if (transferEncoding !== undefined) checkTransferEncoding(transferEncoding, minor, contentLength);
  const close = (connection & CONNECTION_CLOSE) !== 0;
  const persistent = minor === 1 ? !close : !close && (connection & CONNECTION_KEEP_ALIVE) !== 0;
  return { status, fields, contentLength, chunked: transferEncoding !== undefined, persistent, keepAliveSeconds };
}

function checkTransferEncoding(value: string, minor: number, contentLength: number | undefined): void {
  // RFC 9112 § 6.1: framing of an HTTP/1.0 message with Transfer-Encoding is faulty.
  if (minor === 0) throw malformed("the origin sent Transfer-Encoding in an HTTP/1.0 response");
  // RFC 9112 § 6.3: an attempt at response splitting, or a server that is broken in the same way.
  if (contentLength !== undefined) throw malformed("the origin sent both Content-Length and Transfer-Encoding");
  if (value.toLowerCase() !== "chunked") {
    throw malformed("the origin's Transfer-Encoding is something else than chunked, which was not asked for");
  }
}

/** The fields of a trailer section (RFC 9112 § 7.1.2); `text` as for a head, without a status line. */
export function parseTrailers(text: string, lines: HeaderLineCache): HeaderField[] {
  const fields: HeaderField[] = [];
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf("\r\n", at);
    if (fields.length >= MAX_FIELD_LINES) {
      throw new Http1ResponseError("limit", `the origin's trailer section has more than ${MAX_FIELD_LINES} lines`);
    }
    fields.push(lines.get(text.slice(at, end)).field);
    at = end + 2;
  }
  return fields;
}

const PREFIX = "HTTP/1.";

/** How many bytes of `HTTP/1.` stand at `from`, `matched` of them having come before. Throws on other bytes, saying what they look like. */
export function matchPrefix(bytes: Buffer, from: number, matched: number): number {
  let count = matched;
  for (let at = from; at < bytes.length && count < PREFIX.length; at++, count++) {
    if (bytes[at] !== PREFIX.charCodeAt(count)) throw misdirected(bytes, from);
  }
  return count;
}

function misdirected(bytes: Buffer, from: number): Http1ResponseError {
  const first = bytes[from];
  if (first === 0x15 || first === 0x16) {
    return malformed("the origin answered with TLS, not HTTP; would https:// be right?");
  }
  if (bytes.toString("latin1", from, Math.min(bytes.length, from + 4)) === "SSH-") {
    return malformed("the origin answered with SSH, not HTTP; this address is not a web server");
  }
  return malformed("the origin's answer is not HTTP/1.1: it does not start with a status line");
}
