import type { HeaderField } from "../protocol/bytes/header-field.ts";

/** Of the first field of that name, which is in lower case; undefined when there is none. */
export function headerValue(headers: readonly HeaderField[], name: string): string | undefined {
  return headers.find((field) => field.name.length === name.length && field.name.toLowerCase() === name)?.value;
}
