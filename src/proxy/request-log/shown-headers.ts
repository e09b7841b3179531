/** Headers for a log: what identifies a visitor, or lets somebody in, is left out of them. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";

const REDACTED = "[redacted]";

/** Credentials by the names that they go by; a few harmless ones more are no loss. */
const SECRET_NAME =
  /authorization|cookie|token|secret|api-?key|passw|credential|signature|session|jwt|csrf|xsrf|^cf-access-|^x-auth|^x-amz-|^x-goog-|^x-ms-/;

/** Values that are URLs; their queries and fragments may hold what the names above say. */
const URL_NAME = /^(?:referer|location|content-location|refresh|link|.*-ur[il])$/;

const MAX_HEADERS = 64;
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
  if (SECRET_NAME.test(name)) return REDACTED;
  const safe = URL_NAME.test(name) ? value.replaceAll(/[?#][^\s>"',;]*/g, (rest) => `${rest[0]}…`) : value;
  return safe.length > MAX_VALUE ? `${safe.slice(0, MAX_VALUE)}…` : safe;
}
