/** The command's logger: pino, written as cloudflared's console lines or as JSON, with every secret blanked. */
import { type DestinationStream, pino } from "pino";
import { REDACTED, type Scrubber } from "../proxy/ingress/redact.ts";
import { Secret } from "../config/secret.ts";
import type { LogFields, Logger } from "../types.ts";
import { formatConsole } from "./console-format.ts";
import type { OutputStream } from "./io.ts";
import { FileSink, type LogSink, RollingSink, StreamSink } from "./log-sinks.ts";
import type { LogSettings } from "./log-settings.ts";

export interface CommandLogger extends Logger {
  /** Resolves when all lines are out; never rejects, and waits a second at most. */
  end(): Promise<void>;
}

/** Longer texts in fields come from outside: a visitor's path, an origin's error. */
const MAX_TEXT = 4096;
const MAX_DEPTH = 4;
const MAX_ITEMS = 50;
/** What every line has of its own. */
const RESERVED: ReadonlySet<string> = new Set(["level", "time", "message"]);

export function createLogger(settings: LogSettings, stderr: OutputStream, scrubber: Scrubber): CommandLogger {
  const show = (json: string) => (settings.format === "json" ? json : formatConsole(json, settings.colours));
  const notice = (count: number) =>
    show(
      `${JSON.stringify({ level: "warn", time: timestamp(), count, message: "Log lines were dropped: stderr is not being read" })}\n`,
    );
  const console = new StreamSink(stderr, notice);
  const { sink: file, problem } = openFile(settings);
  const destination: DestinationStream = {
    write(line) {
      const clean = scrubber.scrub(line);
      console.write(show(clean));
      file?.write(clean);
    },
  };
  const logger = pino(
    {
      level: settings.level,
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${timestamp()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    destination,
  );
  const debugging = settings.level === "debug";
  const write = (level: "debug" | "info" | "warn" | "error") => (message: string, fields?: LogFields) => {
    if (!logger.isLevelEnabled(level)) return;
    try {
      logger[level](fields === undefined ? {} : plainFields(fields, debugging), message.slice(0, MAX_TEXT));
    } catch {
      // A field whose getter throws must not end the tunnel.
    }
  };
  const result = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    end: async () => {
      await Promise.all([console.end(), file?.end()]);
    },
  };
  if (problem !== undefined) result.error(problem);
  for (const warning of settings.warnings) result.error(warning);
  return result;
}

/** RFC 3339 in UTC with whole seconds, as cloudflared has it. */
function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function openFile({ logfile, logDirectory }: LogSettings): { sink?: LogSink; problem?: string } {
  try {
    if (logfile !== undefined) return { sink: new FileSink(logfile) };
    return logDirectory === undefined ? {} : { sink: new RollingSink(logDirectory) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { problem: `The log file can't be written, logging goes on without it: ${reason}` };
  }
}

/** Fields as plain JSON: errors as text with their code, nothing secret, nothing endless. */
function plainFields(fields: LogFields, debugging: boolean): Record<string, unknown> {
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
function errorText(error: Error, depth = 0): string {
  const own = (error.message === "" ? error.name : error.message).slice(0, MAX_TEXT);
  const cause = error.cause instanceof Error && depth < MAX_DEPTH ? errorText(error.cause, depth + 1) : "";
  return cause === "" || own.includes(cause) ? own : `${own}: ${cause}`;
}
