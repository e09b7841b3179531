/** What a log line says beside its message, as plain JSON that anybody may see. */
import { Secret } from "../../config/secret.ts";
import { REDACTED } from "../../proxy/ingress/redact.ts";
import type { LogFields } from "../../types.ts";

/** Longer texts in fields come from outside: a visitor's path, an origin's error. */
export const MAX_TEXT = 4096;
const MAX_DEPTH = 4;
const MAX_ITEMS = 50;
/** What every line has of its own. */
const RESERVED: ReadonlySet<string> = new Set(["level", "time", "message"]);

/** Fields as plain JSON: errors as text with their code, nothing secret, nothing endless. */
export function plainFields(fields: LogFields, debugging: boolean): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const name = RESERVED.has(key) ? `${key}_` : key;
    plain[name] = plainValue(value, 0);
    if (value instanceof Error) {
      if ("code" in value && plain["code"] === undefined) plain["code"] = plainValue(value.code, 0);
      if (debugging && value.stack !== undefined) plain["stack"] = value.stack.slice(0, MAX_TEXT);
    }
  }
  return plain;
}

function plainValue(value: unknown, depth: number): unknown {
  if (typeof value === "string") return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
  if (typeof value === "bigint" || typeof value === "symbol") return String(value);
  if (typeof value === "function") return "[function]";
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return errorText(value, 0);
  if (value instanceof Secret) return REDACTED;
  if (value instanceof URL) return value.href;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (depth >= MAX_DEPTH) return "[…]";
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => plainValue(item, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([name, item]) => [name, plainValue(item, depth + 1)]));
}

/** The message with those of its causes that say something new. */
export function errorText(error: Error, depth = 0): string {
  const own = (error.message === "" ? error.name : error.message).slice(0, MAX_TEXT);
  const cause = error.cause instanceof Error && depth < MAX_DEPTH ? errorText(error.cause, depth + 1) : "";
  return cause === "" || own.includes(cause) ? own : `${own}: ${cause}`;
}
