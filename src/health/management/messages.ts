/**
 * What the two sides of a log stream say, one JSON object a text frame (operations § 10):
 *
 *   client  {"type":"start_streaming","filters":{"events":["http",…],"level":"info","sampling":0.5}}
 *           {"type":"stop_streaming"}
 *   server  {"type":"logs","logs":[{"time","level","message","event","fields"}]}
 *
 * In entries `level` is left out for debug and `event` for cloudflared, as cloudflared does.
 */
import { MAX_ENTRY_BYTES } from "./limits.ts";
import { LOG_EVENTS, LOG_LEVELS, type LogEvent, type LogLevel, type LogRecord } from "./log-tap.ts";

/** Which entries a client wants. */
export interface LogFilters {
  /** Empty = all. */
  readonly events: readonly LogEvent[];
  /** This one and those above it. */
  readonly level: LogLevel;
  /** Which part of the entries that pass the others, above 0, up to 1. */
  readonly sampling: number;
}

export const NO_FILTERS: LogFilters = { events: [], level: "debug", sampling: 1 };

export type ClientMessage =
  | { readonly kind: "start"; readonly filters: LogFilters }
  /** A start that can't be read; `problem` says why. */
  | { readonly kind: "bad-start"; readonly problem: string }
  | { readonly kind: "stop" }
  | { readonly kind: "unknown" };

export function readClientMessage(text: string): ClientMessage {
  const message = parse(text);
  const type = property(message, "type");
  if (type === "stop_streaming") return { kind: "stop" };
  if (type !== "start_streaming") return { kind: "unknown" };
  const filters = property(message, "filters") ?? {};
  if (typeof filters !== "object") return badStart("filters", "an object");
  const events = property(filters, "events") ?? [];
  if (!Array.isArray(events) || !events.every(isEvent)) return badStart("events", `a list of ${LOG_EVENTS.join(", ")}`);
  const wanted = property(filters, "level") ?? NO_FILTERS.level;
  const level = LOG_LEVELS.find((each) => each === wanted);
  if (level === undefined) return badStart("level", LOG_LEVELS.join(", "));
  const sampling = property(filters, "sampling") ?? 1;
  if (typeof sampling !== "number") return badStart("sampling", "a number from 0 to 1");
  // 0 is what clients send that want no sampling.
  return { kind: "start", filters: { events, level, sampling: sampling > 0 ? Math.min(1, sampling) : 1 } };
}

function badStart(name: string, expected: string): ClientMessage {
  return { kind: "bad-start", problem: `start_streaming: ${name} must be ${expected}` };
}

function isEvent(value: unknown): value is LogEvent {
  return LOG_EVENTS.some((each) => each === value);
}

export function startMessage(filters: LogFilters): string {
  return JSON.stringify({ type: "start_streaming", filters });
}

/** One entry, never longer than clients take. */
export function logsMessage(record: LogRecord): string {
  const text = encode(record);
  const excess = Buffer.byteLength(text) - MAX_ENTRY_BYTES;
  return excess <= 0 ? text : encode({ ...record, fields: shortened(record.fields, excess) });
}

function encode({ event, fields, level, message, time }: LogRecord): string {
  const entry = {
    time,
    ...(level === "debug" ? {} : { level }),
    message,
    ...(event === "cloudflared" ? {} : { event }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  };
  return JSON.stringify({ type: "logs", logs: [entry] });
}

/** The longest fields give way to their lengths, until so many bytes are saved. */
function shortened(fields: LogRecord["fields"], excess: number): LogRecord["fields"] {
  const sizes = Object.entries(fields).map(([name, value]) => ({ name, bytes: jsonBytes(value) }));
  const result = { ...fields };
  let left = excess;
  for (const { bytes, name } of sizes.sort((a, b) => b.bytes - a.bytes)) {
    if (left <= 0) break;
    const length = `[${bytes} bytes]`;
    result[name] = length;
    left -= bytes - jsonBytes(length);
  }
  return result;
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? "");
}

/** The entries of a server's message, or undefined where it is none of logs. What is missing gets what it stands for. */
export function readLogs(text: string): readonly LogRecord[] | undefined {
  const message = parse(text);
  const logs = property(message, "logs");
  if (property(message, "type") !== "logs" || !Array.isArray(logs)) return undefined;
  return logs.map((entry: unknown): LogRecord => {
    const event = property(entry, "event");
    const level = property(entry, "level");
    const fields = property(entry, "fields");
    return {
      time: textOf(property(entry, "time")),
      level: LOG_LEVELS.find((each) => each === level) ?? "debug",
      message: textOf(property(entry, "message")),
      event: isEvent(event) ? event : "cloudflared",
      fields: typeof fields === "object" && fields !== null ? { ...fields } : {},
    };
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name] ?? undefined;
}
