/** Validation of header lists (RFC 9113 § 8.2, § 8.3). A verdict on a field is cached on it, so a field of the HPACK tables is checked once. */
import type { HeaderField } from "../bytes/header-field.ts";
import type { RequestHead, ResponseHeadFields } from "./types.ts";

/** `HeaderField.kind`. */
const Kind = {
  REGULAR: 1,
  MALFORMED: 2,
  CONTENT_LENGTH: 3,
  METHOD: 4,
  SCHEME: 5,
  AUTHORITY: 6,
  PATH: 7,
  STATUS: 8,
} as const;

const PSEUDO = new Map<string, number>([
  [":method", Kind.METHOD],
  [":scheme", Kind.SCHEME],
  [":authority", Kind.AUTHORITY],
  [":path", Kind.PATH],
  [":status", Kind.STATUS],
]);

/** RFC 9113 § 8.2.2. */
const CONNECTION_SPECIFIC = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Token characters (RFC 9110 § 5.6.2) without upper case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 9113 § 8.2.1: no NUL, CR, LF; no white space at either end. */
const VALUE = /^(?![ \t])[^\0\r\n]*(?<![ \t])$/;
const DIGITS = /^[0-9]{1,15}$/;
/** Nothing that could end or split the request line of an HTTP/1.1 request. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const LINE_PART = /^[^\0-\x20\x7f]+$/;

function classify(field: HeaderField): number {
  const { name, value } = field;
  if (name.charCodeAt(0) === 0x3a) return VALUE.test(value) ? (PSEUDO.get(name) ?? Kind.MALFORMED) : Kind.MALFORMED;
  if (!NAME.test(name) || !VALUE.test(value) || CONNECTION_SPECIFIC.has(name)) return Kind.MALFORMED;
  if (name === "te") return value === "trailers" ? Kind.REGULAR : Kind.MALFORMED;
  if (name === "content-length") return DIGITS.test(value) ? Kind.CONTENT_LENGTH : Kind.MALFORMED;
  return Kind.REGULAR;
}

function kindOf(field: HeaderField): number {
  if (field.kind === 0) field.kind = classify(field);
  return field.kind;
}

/** The request head of a header list, or undefined when it is malformed (RFC 9113 § 8.1.1). Takes `list` apart. */
export function requestHead(list: HeaderField[]): RequestHead | undefined {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let contentLength: string | undefined;
  let pseudo = 0;
  for (const field of list) {
    switch (kindOf(field)) {
      case Kind.METHOD:
        if (method !== undefined) return undefined;
        method = field.value;
        break;
      case Kind.SCHEME:
        if (scheme !== undefined) return undefined;
        scheme = field.value;
        break;
      case Kind.AUTHORITY:
        if (authority !== undefined) return undefined;
        authority = field.value;
        break;
      case Kind.PATH:
        if (path !== undefined) return undefined;
        path = field.value;
        break;
      case Kind.CONTENT_LENGTH:
        if (contentLength !== undefined && contentLength !== field.value) return undefined;
        contentLength = field.value;
        continue;
      case Kind.REGULAR:
        continue;
      default:
        return undefined;
    }
    // Pseudo fields stand before all others (RFC 9113 § 8.3).
    if (list[pseudo] !== field) return undefined;
    pseudo++;
  }
  if (method === undefined || !LINE_PART.test(method)) return undefined;
  if (method === "CONNECT") {
    if (scheme !== undefined || path !== undefined || authority === undefined) return undefined;
  } else if (scheme === undefined || path === undefined || !LINE_PART.test(path)) {
    return undefined;
  }
  return {
    method,
    scheme,
    authority: authority ?? "",
    path: path ?? "",
    fields: list.slice(pseudo),
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
  };
}

/** The response head of a header list, or undefined when it is malformed. */
export function responseHead(
  list: HeaderField[],
): (ResponseHeadFields & { contentLength: number | undefined }) | undefined {
  let contentLength: number | undefined;
  const [first] = list;
  if (first === undefined || kindOf(first) !== Kind.STATUS || !/^[1-9][0-9]{2}$/.test(first.value)) return undefined;
  const fields = list.slice(1);
  for (const field of fields) {
    const kind = kindOf(field);
    if (kind === Kind.CONTENT_LENGTH) contentLength = Number(field.value);
    else if (kind !== Kind.REGULAR) return undefined;
  }
  return { status: Number(first.value), fields, contentLength };
}

/** Whether a list may be a trailer section: no pseudo field, nothing malformed (RFC 9113 § 8.1). */
export function validTrailers(list: readonly HeaderField[]): boolean {
  return list.every((field) => {
    const kind = kindOf(field);
    return kind === Kind.REGULAR || kind === Kind.CONTENT_LENGTH;
  });
}
