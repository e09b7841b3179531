/** What must come in time: the preface, the first SETTINGS, the answer to a PING, the acknowledgement of ours. */
import { Http2ConnectionError } from "./errors.ts";
import { FIRST_SETTINGS_TIMEOUT_MS, PREFACE_TIMEOUT_MS, SETTINGS_ACK_TIMEOUT_MS } from "./limits.ts";
import { ErrorCode, type Http2Options } from "./types.ts";

export class Watchdog {
  readonly #pingInterval: number;
  readonly #pingTimeout: number;
  readonly #startedAt: number;
  #prefaceAt: number;
  #heardAt: number;
  #pings = 0;
  /** PINGs without an answer, oldest first. */
  readonly #pending: { id: number; at: number }[] = [];
  readonly #payload = Buffer.alloc(8);

  constructor(options: Http2Options, now: number) {
    this.#pingInterval = options.pingIntervalMs ?? 0;
    this.#pingTimeout = options.pingTimeoutMs ?? this.#pingInterval;
    this.#startedAt = now;
    this.#prefaceAt = now;
    this.#heardAt = now;
  }

  heard(now: number): void {
    this.#heardAt = now;
  }

  prefaceAt(now: number): void {
    this.#prefaceAt = now;
  }

  /** The payload of the next PING. */
  pinged(now: number): Buffer {
    const id = ++this.#pings;
    this.#payload.writeUInt32BE(id, 4);
    // Further ones while many wait say nothing new.
    if (this.#pending.length < 16) this.#pending.push({ id, at: now });
    return this.#payload;
  }

  /** The round trip in milliseconds, or undefined for an answer to nothing, which is ignored. */
  ponged(payload: Buffer, now: number): number | undefined {
    if (payload.readUInt32BE(0) !== 0) return undefined;
    const index = this.#pending.findIndex((ping) => ping.id === payload.readUInt32BE(4));
    const [ping] = index < 0 ? [] : this.#pending.splice(0, index + 1).slice(-1);
    return ping === undefined ? undefined : now - ping.at;
  }

  deadline(prefaceLeft: number, settingsCame: boolean, unacknowledgedSince: number | undefined): number | undefined {
    if (prefaceLeft > 0) return this.#startedAt + PREFACE_TIMEOUT_MS;
    let due = Number.POSITIVE_INFINITY;
    if (!settingsCame) due = this.#prefaceAt + FIRST_SETTINGS_TIMEOUT_MS;
    if (unacknowledgedSince !== undefined) due = Math.min(due, unacknowledgedSince + SETTINGS_ACK_TIMEOUT_MS);
    const [ping] = this.#pending;
    if (ping !== undefined) due = Math.min(due, ping.at + this.#pingTimeout);
    else if (this.#pingInterval > 0) due = Math.min(due, this.#heardAt + this.#pingInterval);
    return due === Number.POSITIVE_INFINITY ? undefined : due;
  }

  /** Throws when something did not come in time; true when a PING is due. */
  tick(now: number, prefaceLeft: number, settingsCame: boolean, unacknowledgedSince: number | undefined): boolean {
    const due = this.deadline(prefaceLeft, settingsCame, unacknowledgedSince);
    if (due === undefined || now < due) return false;
    if (prefaceLeft > 0) throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the preface did not come in time");
    if (!settingsCame && now >= this.#prefaceAt + FIRST_SETTINGS_TIMEOUT_MS) {
      throw new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first SETTINGS did not come in time");
    }
    if (unacknowledgedSince !== undefined && now >= unacknowledgedSince + SETTINGS_ACK_TIMEOUT_MS) {
      throw new Http2ConnectionError(ErrorCode.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time");
    }
    const [ping] = this.#pending;
    if (ping === undefined) return true;
    throw new Http2ConnectionError(ErrorCode.NO_ERROR, `a PING was not answered within ${this.#pingTimeout} ms`);
  }
}
