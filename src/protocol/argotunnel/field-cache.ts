/**
 * Header fields of the requests of one connection, shared where requests have the same ones, as HPACK's table does on HTTP/2: what
 * is known of a field is cached on it. Of each name the last value is kept; most fields that the edge adds never change.
 */
import { HeaderField } from "../bytes/header-field.ts";
import { StreamHeadError } from "./errors.ts";

/** Names that a visitor makes up are the visitor's to choose: then it begins anew. */
const MAX_NAMES = 128;
/** What is longer is rarely the same again, and would be held for nothing. */
const MAX_KEPT_CHARACTERS = 512;

export class FieldCache {
  readonly #byKey = new Map<string, HeaderField>();

  /** `key` is `HttpHeader:<Name>`; the field's name is in lower case. Throws StreamHeadError for another form. */
  field(key: string, value: string): HeaderField {
    const last = this.#byKey.get(key);
    if (last !== undefined && last.value === value) return last;
    const field = new HeaderField(last?.name ?? nameOf(key), value);
    if (key.length + value.length > MAX_KEPT_CHARACTERS) return field;
    if (last === undefined && this.#byKey.size >= MAX_NAMES) this.#byKey.clear();
    this.#byKey.set(key, field);
    return field;
  }
}

function nameOf(key: string): string {
  const colon = key.indexOf(":");
  if (colon < 0 || key.includes(":", colon + 1)) {
    throw new StreamHeadError("the key of a header field is not HttpHeader, a colon and the field's name");
  }
  return key.slice(colon + 1).toLowerCase();
}
