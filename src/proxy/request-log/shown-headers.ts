/** Headers for a log: what identifies a visitor, or lets somebody in, is left out of them. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";

const REDACTED = "[redacted]";

/** Credentials by the names that they go by; a few harmless ones more are no loss. Browsers can hand a token on as a subprotocol alone. */
const SECRET_NAME =
  /auth(?!or(?!iz))|cookie|token|secret|passw|passphrase|passcode|credential|signature|session|jwt|csrf|xsrf|dpop|assertion|client-cert|api-?key|(?:^|[-_])(?:key|otp|totp|pin|sid|pwd)(?:[-_]|$)|^sec-websocket-protocol$|^cf-access-|^x-amz-|^x-goog-|^x-ms-/;

/** Credentials by the scheme that they begin with (RFC 9110 § 11.4), whatever the header is called. */
const SECRET_VALUE =
  /^(?:bearer|basic|digest|negotiate|ntlm|hoba|mutual|vapid|token|apikey|key|aws4-hmac-sha256)\s+\S/i;

/** Values that are URLs, relative ones too. */
const URL_NAME = /^(?:referer|location|content-location|refresh|link|.*-ur[il])$/;
/** What queries, fragments and user information hold may be what the names above say. A query may well contain a comma or semicolon. */
const QUERY = /[?#][^\s>"]+/g;
const USER_INFORMATION = /:\/\/[^/@\s]*@/g;

/** As many as a log line holds of one object. */
const MAX_HEADERS = 50;
const MAX_VALUE = 256;

/** By lower-case name; several of one name as a list. */
export function shownHeaders(headers: readonly HeaderField[]): Record<string, string | string[]> {
  const shown = new Map<string, string[]>();
  for (const { name, value } of headers.slice(0, MAX_HEADERS)) {
    const key = name.toLowerCase();
    const values = shown.get(key);
    if (values === undefined) shown.set(key, [shownValue(key, value)]);
    else values.push(shownValue(key, value));
  }
  const entries = Array.from(shown, ([name, values]) => [name, values.length === 1 ? (values[0] ?? "") : values]);
  return Object.fromEntries(entries) as Record<string, string | string[]>;
}

function shownValue(name: string, value: string): string {
  if (SECRET_NAME.test(name) || SECRET_VALUE.test(value)) return REDACTED;
  const isUrl = URL_NAME.test(name) || value.includes("/");
  const safe = isUrl ? value.replace(QUERY, (rest) => `${rest[0]}…`).replace(USER_INFORMATION, "://…@") : value;
  return safe.length > MAX_VALUE ? `${safe.slice(0, MAX_VALUE)}…` : safe;
}
