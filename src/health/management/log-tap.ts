/** A logger that hands what it is told to whoever follows the log from afar, too. Nobody attached costs one check a line. */
import { redactLikely } from "../../proxy/ingress/redact.ts";
import type { LogFields, Logger } from "../../types.ts";
import { MAX_TEXT, plainFields } from "./plain-fields.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line is about, as cloudflared tells its lines apart. */
export const LOG_EVENTS = ["cloudflared", "http", "tcp", "udp"] as const;
export type LogEvent = (typeof LOG_EVENTS)[number];

export interface LogRecord {
  /** RFC 3339. */
  readonly time: string;
  readonly level: LogLevel;
  readonly message: string;
  readonly event: LogEvent;
  /** Plain JSON without secrets. */
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface LogListener {
  /** Asked first: nobody pays for a record that is not wanted. */
  wants(level: LogLevel, event: LogEvent): boolean;
  record(record: LogRecord): void;
}

export interface LogTapOptions {
  readonly target: Logger;
  /** Takes the secrets out that this process knows of. */
  readonly scrub?: ((text: string) => string) | undefined;
  readonly now?: () => number;
}

export class LogTap {
  /** Writes to the target and to whoever is attached. */
  readonly logger: Logger;
  /** Writes to whoever is attached, and nowhere else. */
  readonly followers: Logger;
  readonly #listeners = new Set<LogListener>();
  readonly #scrub: (text: string) => string;
  readonly #now: () => number;

  constructor({ now = Date.now, scrub = redactLikely, target }: LogTapOptions) {
    this.#scrub = scrub;
    this.#now = now;
    const both =
      (level: LogLevel) =>
      (message: string, fields?: LogFields): void => {
        target[level](message, fields);
        if (this.#listeners.size > 0) this.#tell(level, message, fields);
      };
    const alone =
      (level: LogLevel) =>
      (message: string, fields?: LogFields): void => {
        if (this.#listeners.size > 0) this.#tell(level, message, fields);
      };
    this.logger = { debug: both("debug"), info: both("info"), warn: both("warn"), error: both("error") };
    this.followers = { debug: alone("debug"), info: alone("info"), warn: alone("warn"), error: alone("error") };
  }

  get attached(): boolean {
    return this.#listeners.size > 0;
  }

  /** From now on the listener gets every line, until the returned function is called. */
  attach(listener: LogListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(level: LogLevel, message: string, fields: LogFields | undefined): void {
    try {
      const event = eventOf(message, fields);
      // An error that was logged as something else is still what somebody who looks for errors wants.
      const raised = fields?.["error"] === undefined ? level : "error";
      let record: LogRecord | undefined;
      for (const listener of this.#listeners) {
        if (listener.wants(raised, event)) listener.record((record ??= this.#record(raised, event, message, fields)));
      }
    } catch {
      // A field whose getter throws must not end the tunnel.
    }
  }

  #record(level: LogLevel, event: LogEvent, message: string, fields: LogFields | undefined): LogRecord {
    const plain: Record<string, unknown> = fields === undefined ? {} : plainFields(fields, false);
    // A number in `event` is what the console shows of it, as cloudflared's does.
    delete plain["event"];
    return {
      time: new Date(this.#now()).toISOString(),
      level,
      message: this.#scrub(message.slice(0, MAX_TEXT)),
      event,
      fields: JSON.parse(this.#scrub(JSON.stringify(plain))) as Record<string, unknown>,
    };
  }
}

/** Requests say by their fields what they are; UDP by the words of its lines. */
function eventOf(message: string, fields: LogFields | undefined): LogEvent {
  // What the connector serves itself, such as this log, is no request of a visitor's.
  const isVisit = fields?.["outcome"] !== undefined && fields["ingressRule"] !== -1;
  const kind = isVisit ? fields["kind"] : undefined;
  if (kind === "http" || kind === "websocket") return "http";
  if (kind === "tcp") return "tcp";
  return /\bUDP session|\bdatagram\b/.test(message) ? "udp" : "cloudflared";
}
