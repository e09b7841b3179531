/** The grammar of field names and values (RFC 9110 §§ 5.1, 5.5, 5.6.2) over byte strings. */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** What a recipient must not take (RFC 9110 § 5.5). */
const FORBIDDEN_RECEIVED = /[\0\r\n]/;

/** What a sender must not generate: every control character but HTAB. */
const FORBIDDEN_SENT = /[\x00-\x08\x0a-\x1f\x7f]/;

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

export function isReceivableValue(value: string): boolean {
  return !FORBIDDEN_RECEIVED.test(value);
}

export function isSendableValue(value: string): boolean {
  return !FORBIDDEN_SENT.test(value);
}

/** `cf-ray` → `Cf-Ray`: the case in which Go writes names, and so cloudflared. Some origins compare case-sensitively. */
export function canonicalName(name: string): string {
  return name
    .split("-")
    .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1).toLowerCase())
    .join("-");
}

function isWhitespace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Drops optional whitespace (SP and HTAB only; `trim` would take bytes such as 0xa0 too). */
export function trimWhitespace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhitespace(text.charCodeAt(start))) start++;
  while (end > start && isWhitespace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}
