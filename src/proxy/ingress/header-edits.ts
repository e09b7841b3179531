/** `requestHeaders` and `responseHeaders`: fields that a rule sets and removes. */
import { describeValue } from "./redact.ts";
import type { HeaderEdits } from "../../types.ts";
import type { Scope } from "./problems.ts";
import { readFields, readTable, readTexts } from "./values.ts";

const FIELD_NAME = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/;
/** They frame a message or belong to one connection (RFC 9110 § 7.6.1): an edit would let two parties disagree on where it ends. */
const FRAMING = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export function readHeaderEdits(value: unknown, scope: Scope): HeaderEdits {
  const set: { readonly name: string; readonly value: string }[] = [];
  const remove: string[] = [];
  const seen = new Set<string>();
  const take = (name: string, at: Scope): boolean => {
    if (!isEditable(name, at)) return false;
    const known = seen.has(name.toLowerCase());
    if (known) at.problem(`found ${name} a second time; once would be right`);
    seen.add(name.toLowerCase());
    return !known;
  };
  readFields(value, scope, {
    set(field, at) {
      for (const [name, text] of Object.entries(readTable(field, at) ?? {})) {
        const fieldValue = readFieldValue(text, at.at(name));
        if (take(name, at.at(name)) && fieldValue !== undefined) set.push({ name, value: fieldValue });
      }
    },
    remove(field, at) {
      (readTexts(field, at, "a list of header names") ?? []).forEach((name, index) => {
        if (take(name, at.at(index))) remove.push(name.toLowerCase());
      });
    },
  });
  return { set, remove };
}

function isEditable(name: string, scope: Scope): boolean {
  if (!FIELD_NAME.test(name)) {
    scope.problem(`found the header name ${describeValue(name)}; letters, digits and - would be right`);
    return false;
  }
  const lower = name.toLowerCase();
  if (lower === "host") {
    scope.problem("Host is not set or removed here; httpHostHeader would be right");
    return false;
  }
  if (FRAMING.has(lower)) {
    scope.problem(`${name} belongs to the connection and can't be edited; leaving it out would be right`);
    return false;
  }
  return true;
}

/** The value is never shown: it may be a credential. UTF-8 becomes a byte string, as fields are. */
function readFieldValue(value: unknown, scope: Scope): string | undefined {
  const isScalar = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
  const text = isScalar ? String(value).trim() : undefined;
  if (text !== undefined && !/[\0-\x08\x0a-\x1f\x7f]/.test(text)) return Buffer.from(text, "utf8").toString("latin1");
  scope.problem("the header's value is not a single line of text, which would be right");
  return undefined;
}
