/** The command's logger: pino, written as cloudflared's console lines or as JSON, with every secret blanked. */
import { type DestinationStream, pino } from "pino";
import { errorText, MAX_TEXT, plainFields } from "../health/management/plain-fields.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { LogFields, Logger } from "../types.ts";
import { escapeInvisible, formatConsole } from "./console-format.ts";
import type { OutputStream } from "./io.ts";
import { type FileEvents, FileSink, type LogSink, RollingSink, StreamSink } from "./log-sinks.ts";
import { type CommandLogLevel, LEVELS, type LogSettings } from "./log-settings.ts";
import { RepeatLimiter } from "./repeat-limiter.ts";

export interface CommandLogger extends Logger {
  /** Resolves when all lines are out; never rejects, and waits a second at most. */
  end(): Promise<void>;
}

type Level = keyof Logger;

export function createLogger(settings: LogSettings, stderr: OutputStream, scrubber: Scrubber): CommandLogger {
  const onConsole = (json: string) => (settings.format === "json" ? json : formatConsole(json, settings.colours));
  const inFile = (json: string) => (settings.fileFormat === "json" ? json : formatConsole(json, false));
  const console = new StreamSink(stderr, (count) =>
    onConsole(ownLine({ level: "warn", count, message: "Log lines were dropped: stderr is not being read" })),
  );
  const { sink: file, problem } = openFile(settings, {
    onTrouble: ({ message }) =>
      console.write(
        onConsole(
          ownLine({ level: "error", error: message, message: "The log file can't be written: lines are lost" }),
        ),
      ),
    lostNotice: (count) =>
      inFile(ownLine({ level: "warn", count, message: "Log lines are missing: the file could not be written" })),
  });
  /** Of the line that is being written; pino hands its text on, not its level. */
  let at = 0;
  const consoleLevel = LEVELS.indexOf(settings.level);
  const fileLevel = LEVELS.indexOf(settings.fileLevel);
  const lowest = file === undefined ? consoleLevel : Math.min(consoleLevel, fileLevel);
  const destination: DestinationStream = {
    write(line) {
      const clean = escapeInvisible(scrubber.scrub(line));
      if (at >= consoleLevel) console.write(onConsole(clean));
      if (at >= fileLevel) file?.write(inFile(clean));
    },
  };
  const logger = pino(
    {
      level: LEVELS[lowest] ?? settings.level,
      base: null,
      messageKey: "message",
      timestamp: () => `,"time":"${timestamp()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    destination,
  );
  const debugging = lowest === 0;
  const put = (level: Level, message: string, fields: LogFields | undefined): void => {
    at = LEVELS.indexOf(level);
    try {
      logger[level](fields === undefined ? {} : plainFields(fields, debugging), message.slice(0, MAX_TEXT));
    } catch {
      // A field whose getter throws must not end the tunnel.
    }
  };
  const repeats = limitRepeats(put);
  const write = (level: Level) => (message: string, fields?: LogFields) => {
    if (LEVELS.indexOf(level) >= lowest) repeats.write(level, message, fields);
  };
  const result = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    end: async () => {
      repeats.end();
      await Promise.all([console.end(), file?.end()]);
    },
  };
  if (problem !== undefined) result.error(problem);
  for (const warning of settings.warnings) result.error(warning);
  return result;
}

/** A line about the log itself. */
function ownLine({ level, ...rest }: { readonly level: CommandLogLevel } & LogFields): string {
  return `${JSON.stringify({ level, time: timestamp(), ...rest })}\n`;
}

type Put = (level: Level, message: string, fields: LogFields | undefined) => void;

/** Requests that went well are a record of each one, and whoever debugs wants all. */
function isRecord(level: Level, fields: LogFields | undefined): boolean {
  return level === "debug" || fields?.["outcome"] === "ok" || fields?.["outcome"] === "client-abort";
}

/** What tells a line from others with the same message. */
function detailOf({ connIndex, error, originService, outcome }: LogFields): string {
  const text = error instanceof Error ? errorText(error) : error;
  return [outcome ?? connIndex, originService, text]
    .map((part) => (typeof part === "string" || typeof part === "number" ? String(part).slice(0, 200) : ""))
    .filter((part) => part !== "")
    .join(", ");
}

function limitRepeats(put: Put): { readonly write: Put; end(): void } {
  const limiter = new RepeatLimiter<Level>();
  let timer: NodeJS.Timeout | undefined;
  const tell = (now: number): void => {
    for (const { count, detail, level, message } of limiter.due(now)) {
      put(level, "Lines like one before were left out", { repeated: message, detail, count });
    }
  };
  const tellLater = (now: number): void => {
    const { deadline } = limiter;
    if (timer !== undefined || deadline === undefined) return;
    const told = (): void => {
      timer = undefined;
      tell(performance.now());
      tellLater(performance.now());
    };
    timer = setTimeout(told, Math.ceil(Math.max(0, deadline - now))).unref();
  };
  return {
    write(level, message, fields) {
      if (!isRecord(level, fields)) {
        const now = performance.now();
        const detail = fields === undefined ? "" : detailOf(fields);
        tell(now);
        if (!limiter.admits(level, message, detail, now)) {
          tellLater(now);
          return;
        }
      }
      put(level, message, fields);
    },
    end() {
      clearTimeout(timer);
      tell(Number.POSITIVE_INFINITY);
    },
  };
}

/** RFC 3339 in UTC with whole seconds, as cloudflared has it. */
function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function openFile({ logfile, logDirectory }: LogSettings, events: FileEvents): { sink?: LogSink; problem?: string } {
  try {
    if (logfile !== undefined) return { sink: new FileSink(logfile, events) };
    return logDirectory === undefined ? {} : { sink: new RollingSink(logDirectory, events) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { problem: `The log file can't be written, logging goes on without it: ${reason}` };
  }
}
