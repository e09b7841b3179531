/** Takes out of a report what its readers may not see: logs and configurations of a machine travel to strangers. */
import { REDACTED, redactLikely } from "../../proxy/ingress/redact.ts";

/** `token=…` in a query or a log line, `"password": "…"` in JSON. */
const NAMED =
  /(\b[\w-]{0,40}(?:token|secret|passw(?:or)?d|api[_-]?key|credential|signature|jwt)[\w-]{0,40}(?:\\?["'])?\s{0,4}[=:]\s{0,4}(?:\\?["'])?)([^\s"'&,;\\}\]]+)/gi;
/** Of a URL's query alone: elsewhere these are harmless words. */
const QUERY = /([?&](?:code|sig|auth|key)=)[^\s"'&#\\]+/gi;
const HEADERS =
  /(\b(?:(?:proxy-)?authorization|(?:set-)?cookie|cf-access-[\w-]{1,40}|x-api-key)(?:\\?["'])?\s{0,4}[=:]\s{0,4}(?:\\?["'])?)([^"'\r\n\\]+)/gi;
const USER_INFO = /\b([a-z][a-z\d+.-]{0,20}:\/\/)[^/?#@\s"',]*@/gi;
const BEARER = /\b(Bearer|Basic)\s+[\w+/=.~-]{6,}/gi;
/** A private key that somebody logged. */
const PEM = /-----BEGIN [A-Z ]{0,40}(?:PRIVATE KEY|TOKEN)-----[\s\S]{0,20000}?-----END [A-Z ]{0,40}-----/g;
/** What stands behind such a name and is harmless: masks, booleans, numbers. */
const HARMLESS = /^(?:\*+|\[redacted\]?|true|false|null|undefined|\d{1,6})$/i;
/** `token-file: /run/secrets/tunnel` says where, not what. */
const NAMES_FILE = /file["'\\]*\s*[=:]/i;

/** `known` blanks the secrets that this command knows. */
export function redactReport(text: string, known: (text: string) => string): string {
  return redactLikely(known(text))
    .replace(PEM, REDACTED)
    .replace(USER_INFO, `$1${REDACTED}@`)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(HEADERS, `$1${REDACTED}`)
    .replace(QUERY, `$1${REDACTED}`)
    .replace(NAMED, (whole: string, name: string, value: string) =>
      HARMLESS.test(value) || NAMES_FILE.test(name) ? whole : name + REDACTED,
    );
}
