/** What must come in time: the preface, the first SETTINGS, the acknowledgement of ours, the answer to a PING. */
import { Http2ConnectionError, protocolError } from "./errors.ts";
import * as limits from "./limits.ts";
import { ErrorCode, type Http2Options } from "./types.ts";

const NEVER = Number.POSITIVE_INFINITY;

interface Ping {
  readonly number: number;
  readonly sentAt: number;
  /** Of the watchdog's own: the connection is judged by it. */
  readonly judged: boolean;
}

export class Watchdog {
  readonly #pingInterval: number;
  readonly #pingTimeout: number;
  #prefaceDue: number;
  #settingsDue = NEVER;
  #acknowledgementDue = NEVER;
  #startAcknowledgement = false;
  #pingDue = NEVER;
  /** When the judged PING is given up, if one is under way. */
  #answerDue = NEVER;
  #extensions = 0;
  /** Bytes moved, in or out, since the answer's time was last set. */
  #moved = false;
  #excusedLate = false;
  #pings = 0;
  readonly #pending: Ping[] = [];

  constructor(options: Http2Options, isServer: boolean, now: number) {
    this.#pingInterval = options.pingIntervalMs ?? 0;
    this.#pingTimeout = options.pingTimeoutMs ?? this.#pingInterval;
    // A client speaks first; a server's SETTINGS are due as soon as its preface would be.
    this.#prefaceDue = now + limits.PREFACE_TIMEOUT;
    if (!isServer) this.prefaceCame(now, limits.PREFACE_TIMEOUT);
    if (this.#pingInterval > 0) this.#pingDue = now + this.#pingInterval;
  }

  get deadline(): number | undefined {
    const due = Math.min(this.#prefaceDue, this.#settingsDue, this.#acknowledgementDue, this.#pingDue, this.#answerDue);
    return due === NEVER ? undefined : due;
  }

  /** Bytes came. */
  heard(now: number): void {
    this.#moved = true;
    this.#excusedLate = false;
    this.#hearTime(now);
    if (this.#pingDue !== NEVER) this.#pingDue = now + this.#pingInterval;
  }

  /** The socket took bytes. */
  moved(): void {
    this.#moved = true;
  }

  prefaceCame(now: number, timeout: number = limits.SETTINGS_TIMEOUT): void {
    this.#prefaceDue = NEVER;
    this.#settingsDue = now + timeout;
  }

  settingsCame(): void {
    this.#settingsDue = NEVER;
  }

  /** SETTINGS of ours went out. They may do so at any time (the budget is shared), so the time runs from when we next hear it. */
  awaitAcknowledgement(): void {
    this.#startAcknowledgement = true;
  }

  acknowledged(): void {
    this.#startAcknowledgement = false;
    this.#acknowledgementDue = NEVER;
  }

  /** A PING goes out: its number, or undefined when enough are unanswered. */
  ping(now: number, judged: boolean): number | undefined {
    if (!judged && this.#pending.length >= limits.MAX_OUTSTANDING_PINGS) return undefined;
    this.#pings = (this.#pings + 1) >>> 0;
    this.#pending.push({ number: this.#pings, sentAt: now, judged });
    if (judged) {
      this.#pingDue = NEVER;
      this.#answerDue = now + this.#pingTimeout;
      this.#extensions = 0;
      this.#moved = false;
    }
    return this.#pings;
  }

  /** The round trip of a PING that the user asked for; undefined for others, and for an answer to nothing. */
  ponged(number: number, now: number): number | undefined {
    const index = this.#pending.findIndex((ping) => ping.number === number);
    const ping = this.#pending[index];
    if (ping === undefined) return undefined;
    this.#pending.splice(index, 1);
    if (!ping.judged) return now - ping.sentAt;
    this.#answerDue = NEVER;
    this.#pingDue = now + this.#pingInterval;
    return undefined;
  }

  /** Throws when something did not come in time; true when a PING is due. */
  tick(now: number): boolean {
    this.#hearTime(now);
    const due = Math.min(this.#prefaceDue, this.#settingsDue, this.#acknowledgementDue, this.#answerDue);
    if (now >= due) {
      if (now >= due + limits.LATE_TICK && !this.#excusedLate) {
        // The process stood still. What came meanwhile waits in the socket and is read before the next tick.
        this.#excusedLate = true;
        this.#putOff(now + limits.LATE_TICK);
      } else {
        this.#judge(now);
      }
    }
    return now >= this.#pingDue;
  }

  #hearTime(now: number): void {
    if (!this.#startAcknowledgement) return;
    this.#startAcknowledgement = false;
    this.#acknowledgementDue = now + limits.SETTINGS_ACK_TIMEOUT;
  }

  #judge(now: number): void {
    if (now >= this.#prefaceDue) throw protocolError("the preface did not come in time");
    if (now >= this.#settingsDue) throw protocolError("the first SETTINGS did not come in time");
    if (now >= this.#acknowledgementDue) {
      throw new Http2ConnectionError(ErrorCode.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time");
    }
    if (!this.#moved || this.#extensions >= limits.MAX_PING_EXTENSIONS) {
      throw new Http2ConnectionError(ErrorCode.NO_ERROR, `a PING was not answered within ${this.#pingTimeout} ms`);
    }
    this.#moved = false;
    this.#extensions++;
    this.#answerDue = now + this.#pingTimeout;
  }

  #putOff(due: number): void {
    const later = (was: number): number => (was === NEVER ? NEVER : Math.max(was, due));
    this.#prefaceDue = later(this.#prefaceDue);
    this.#settingsDue = later(this.#settingsDue);
    this.#acknowledgementDue = later(this.#acknowledgementDue);
    this.#answerDue = later(this.#answerDue);
  }
}
