/**
 * One header line (RFC 9112 § 5), and a cache of them: origins repeat most lines, and a line that was seen before costs one
 * look-up instead of a parse, a check and the base64 form that hangs on its HeaderField.
 *
 *   field-line = field-name ":" OWS field-value OWS
 */
import { HeaderField } from "../bytes/header-field.ts";
import { malformed } from "./errors.ts";
import { isReceivableValue, isToken, trimWhitespace } from "./field-syntax.ts";
import { MAX_CACHEABLE_LINE, MAX_CACHED_LINE_BYTES, MAX_CACHED_LINES } from "./limits.ts";

/** What a line means for the framing of its message. */
export const LineRole = {
  PLAIN: 0,
  CONTENT_LENGTH: 1,
  TRANSFER_ENCODING: 2,
  CONNECTION: 3,
  KEEP_ALIVE: 4,
  TRAILER: 5,
} as const;
export type LineRole = (typeof LineRole)[keyof typeof LineRole];

/** Bits of `HeaderLine.number` where the role is CONNECTION. */
export const CONNECTION_CLOSE = 1;
export const CONNECTION_KEEP_ALIVE = 2;

/** `HeaderLine.number` of a Content-Length that is not a number, and of a Keep-Alive without a timeout. */
export const NO_NUMBER = -1;

const ROLES: ReadonlyMap<string, LineRole> = new Map<string, LineRole>([
  ["content-length", LineRole.CONTENT_LENGTH],
  ["transfer-encoding", LineRole.TRANSFER_ENCODING],
  ["connection", LineRole.CONNECTION],
  ["keep-alive", LineRole.KEEP_ALIVE],
  ["trailer", LineRole.TRAILER],
]);

export class HeaderLine {
  readonly field: HeaderField;
  readonly role: LineRole;
  /** Content-Length's length, Connection's bits, Keep-Alive's timeout in seconds. */
  readonly number: number;

  constructor(field: HeaderField, role: LineRole, number: number) {
    this.field = field;
    this.role = role;
    this.number = number;
  }
}

function contentLength(value: string): number {
  if (!/^[0-9]{1,16}$/.test(value)) return NO_NUMBER;
  const length = Number(value);
  return Number.isSafeInteger(length) ? length : NO_NUMBER;
}

function connectionBits(value: string): number {
  let bits = 0;
  for (const token of value.toLowerCase().split(",")) {
    const option = trimWhitespace(token);
    if (option === "close") bits |= CONNECTION_CLOSE;
    else if (option === "keep-alive") bits |= CONNECTION_KEEP_ALIVE;
  }
  return bits;
}

function keepAliveTimeout(value: string): number {
  const match = /(?:^|[,\s])timeout\s*=\s*"?([0-9]{1,6})(?![0-9])/i.exec(value);
  return match === null ? NO_NUMBER : Number(match[1]);
}

function numberOf(role: LineRole, value: string): number {
  switch (role) {
    case LineRole.CONTENT_LENGTH:
      return contentLength(value);
    case LineRole.CONNECTION:
      return connectionBits(value);
    case LineRole.KEEP_ALIVE:
      return keepAliveTimeout(value);
    default:
      return 0;
  }
}

/** Parses one line without its CRLF. Throws on what RFC 9112 § 5 forbids. */
export function parseHeaderLine(line: string): HeaderLine {
  const first = line.charCodeAt(0);
  // RFC 9112 § 5.2: line folding is deprecated, and readers that differ on it are how responses get split.
  if (first === 0x20 || first === 0x09)
    throw malformed("a header line of the origin starts with whitespace (obsolete folding)");
  const colon = line.indexOf(":");
  if (colon < 0) throw malformed("a header line of the origin has no colon");
  const name = line.slice(0, colon);
  // RFC 9112 § 5.1: whitespace before the colon is one of the refused cases; it is no token character.
  if (!isToken(name)) throw malformed("a header name of the origin is not a token");
  const value = trimWhitespace(line.slice(colon + 1));
  if (!isReceivableValue(value)) throw malformed(`the value of the origin's header ${name} holds CR, LF or NUL`);
  const role = ROLES.get(name.toLowerCase()) ?? LineRole.PLAIN;
  return new HeaderLine(new HeaderField(name, value), role, numberOf(role, value));
}

function isCacheable(line: string): boolean {
  // A cookie is one visitor's: it will not come again, and should not outlive its response in memory.
  return line.length <= MAX_CACHEABLE_LINE && !/^set-cookie/i.test(line);
}

/** A detached copy: a slice would keep the whole head that it was cut from alive. */
function detached(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** Two generations: a full young one becomes the old one, and what is used again moves up; the rest goes with the next turn. */
export class HeaderLineCache {
  #young = new Map<string, HeaderLine>();
  #old = new Map<string, HeaderLine>();
  #youngBytes = 0;

  get(line: string): HeaderLine {
    const young = this.#young.get(line);
    if (young !== undefined) return young;
    const old = this.#old.get(line);
    if (old !== undefined) {
      this.#keep(detached(line), old);
      return old;
    }
    if (!isCacheable(line)) return parseHeaderLine(line);
    const key = detached(line);
    const parsed = parseHeaderLine(key);
    this.#keep(key, parsed);
    return parsed;
  }

  /** Lines held in both generations. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  #keep(line: string, parsed: HeaderLine): void {
    if (this.#young.size >= MAX_CACHED_LINES || this.#youngBytes + line.length > MAX_CACHED_LINE_BYTES) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(line, parsed);
    this.#youngBytes += line.length;
  }
}
