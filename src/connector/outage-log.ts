/** Tells once that something is down, reminds of it now and then, and tells when it is over. */
import type { LogFields, Logger } from "../types.ts";

/** Often enough for who looks into the log, seldom enough for who keeps it. */
export const REMINDER_MS = 600_000;

export class OutageLog {
  readonly #logger: Logger;
  readonly #recovered: string;
  #outage: { readonly since: number; toldAt: number } | undefined;

  /** @param recovered what is told at the end */
  constructor(logger: Logger, recovered: string) {
    this.#logger = logger;
    this.#recovered = recovered;
  }

  failed(message: string, fields: LogFields, now: number): void {
    if (this.#outage === undefined) {
      this.#outage = { since: now, toldAt: now };
      this.#logger.warn(message, fields);
    } else if (now - this.#outage.toldAt >= REMINDER_MS) {
      this.#outage.toldAt = now;
      this.#logger.warn(message, { ...fields, forMinutes: Math.round((now - this.#outage.since) / 60_000) });
    } else {
      this.#logger.debug(message, fields);
    }
  }

  worked(now: number): void {
    if (this.#outage === undefined) return;
    this.#logger.info(this.#recovered, { afterSeconds: Math.round((now - this.#outage.since) / 1_000) });
    this.#outage = undefined;
  }
}
