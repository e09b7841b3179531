/**
 * What a received field is (RFC 9113 §§ 8.2, 8.3), cached on the field: those of the HPACK tables are handed out again and
 * again, and are judged once. Names are cached apart, as most fields repeat only their name.
 */
import type { HeaderField } from "../bytes/header-field.ts";
import { MAX_CACHED_NAMES } from "./limits.ts";

/** Values of `HeaderField.kind`; 0 = not judged yet. */
export const Kind = {
  REGULAR: 1,
  MALFORMED: 2,
  CONTENT_LENGTH: 3,
  METHOD: 4,
  SCHEME: 5,
  AUTHORITY: 6,
  PATH: 7,
  STATUS: 8,
  TE: 9,
} as const;

const KNOWN: readonly (readonly [name: string, kind: number])[] = [
  [":method", Kind.METHOD],
  [":scheme", Kind.SCHEME],
  [":authority", Kind.AUTHORITY],
  [":path", Kind.PATH],
  [":status", Kind.STATUS],
  ["content-length", Kind.CONTENT_LENGTH],
  ["te", Kind.TE],
  // RFC 9113 § 8.2.2.
  ["connection", Kind.MALFORMED],
  ["keep-alive", Kind.MALFORMED],
  ["proxy-connection", Kind.MALFORMED],
  ["transfer-encoding", Kind.MALFORMED],
  ["upgrade", Kind.MALFORMED],
];

/** A token (RFC 9110 § 5.6.2) without upper case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

/** NUL, CR, LF; white space at either end. */
const FORBIDDEN_IN_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;

/** A token: anything else could end the request line of an HTTP/1.1 request. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+\-.]*$/;

/** Control characters and space, which would end or split a line of an HTTP/1.1 request. */
const FORBIDDEN_IN_LINE = /[\0-\x20\x7f]/;

/** At most 15: what a number holds exactly. */
const DIGITS = /^[0-9]{1,15}$/;
const STATUS = /^[1-9][0-9]{2}$/;

const names = new Map<string, number>(KNOWN);

function kindOfName(name: string): number {
  const cached = names.get(name);
  if (cached !== undefined) return cached;
  if (!NAME.test(name)) return Kind.MALFORMED;
  if (names.size >= MAX_CACHED_NAMES) {
    names.clear();
    for (const [known, kind] of KNOWN) names.set(known, kind);
  }
  names.set(name, Kind.REGULAR);
  return Kind.REGULAR;
}

function valueFits(kind: number, value: string): boolean {
  switch (kind) {
    case Kind.CONTENT_LENGTH:
      return DIGITS.test(value);
    case Kind.METHOD:
      return METHOD.test(value);
    case Kind.SCHEME:
      return SCHEME.test(value);
    case Kind.AUTHORITY:
      return !FORBIDDEN_IN_LINE.test(value);
    case Kind.PATH:
      return value !== "" && !FORBIDDEN_IN_LINE.test(value);
    case Kind.STATUS:
      return STATUS.test(value);
    case Kind.TE:
      return value === "trailers";
    default:
      return !FORBIDDEN_IN_VALUE.test(value);
  }
}

export function kindOf(field: HeaderField): number {
  if (field.kind !== 0) return field.kind;
  const kind = kindOfName(field.name);
  field.kind = kind !== Kind.MALFORMED && valueFits(kind, field.value) ? kind : Kind.MALFORMED;
  return field.kind;
}

/** Whether a field from elsewhere, in whatever case, may be sent in a trailer section (RFC 9113 §§ 8.1, 8.2). */
export function isSendableTrailer(field: HeaderField): boolean {
  const kind = kindOfName(field.name.toLowerCase());
  return (kind === Kind.REGULAR || kind === Kind.TE) && valueFits(kind, field.value);
}
