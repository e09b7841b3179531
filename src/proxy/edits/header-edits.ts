/** requestHeaders and responseHeaders of a rule: fields removed, and set. */
import { HeaderField } from "../../protocol/bytes/header-field.ts";
import { isSendableValue, isToken } from "../../protocol/http1/field-syntax.ts";
import type { HeaderEdits } from "../../types.ts";

/** They frame a message or belong to one connection: whoever edits them lets two parties disagree on where a message ends. Rules that name them are refused when they are read. */
const NEVER_EDITED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export type EditHeaders = (headers: readonly HeaderField[]) => readonly HeaderField[];

function isEditable(name: string): boolean {
  return isToken(name) && !NEVER_EDITED.has(name.toLowerCase());
}

/** In lower case. */
export function editedNames({ remove, set }: HeaderEdits): ReadonlySet<string> {
  const names = [...remove, ...set.map(({ name }) => name)];
  return new Set(names.filter(isEditable).map((name) => name.toLowerCase()));
}

/** Undefined when there is nothing to do. */
export function headerEdit(edits: HeaderEdits): EditHeaders | undefined {
  const names = editedNames(edits);
  if (names.size === 0) return undefined;
  const added = edits.set
    .filter(({ name, value }) => isEditable(name) && isSendableValue(value))
    .map(({ name, value }) => new HeaderField(name.toLowerCase(), value));
  return (headers) => [...headers.filter(({ name }) => !names.has(name.toLowerCase())), ...added];
}
