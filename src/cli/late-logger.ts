import type { LogFields, Logger } from "../types.ts";

type Level = keyof Logger;

/**
 * Keeps lines until the real logger is there. pino takes some 20 ms to load; a tunnel that starts first uses them to
 * wait for the edge's answers.
 */
export class LateLogger implements Logger {
  #kept: (readonly [Level, string, LogFields | undefined])[] = [];
  #logger: Logger | undefined;

  attach(logger: Logger): void {
    this.#logger = logger;
    for (const [level, message, fields] of this.#kept) logger[level](message, fields);
    this.#kept = [];
  }

  debug(message: string, fields?: LogFields): void {
    this.#write("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write("warn", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write("error", message, fields);
  }

  #write(level: Level, message: string, fields: LogFields | undefined): void {
    if (this.#logger === undefined) this.#kept.push([level, message, fields]);
    else this.#logger[level](message, fields);
  }
}
