/**
 * One team's keys. They are fetched when the first token asks for one, once for all who wait, and again when they grow old, while
 * they go on serving, or when a token names a key that is not among them. What makes a fetch is bounded in time, so that nobody who
 * makes tokens up can make us ask more often.
 */
import type { Logger } from "../../types.ts";
import { AccessKeysError } from "./errors.ts";
import type { Keys } from "./fetch-keys.ts";
import {
  COOL_DOWN_MS,
  FETCH_TIMEOUT_MS,
  MAX_KEY_AGE_MS,
  MAX_WAITING,
  REFRESH_AFTER_MS,
  RETRY_AFTER_MS,
} from "./limits.ts";

export interface KeySource {
  /** For the log. */
  readonly name: string;
  readonly fetch: (signal: AbortSignal) => Promise<Keys>;
  readonly now: () => number;
  readonly logger: Logger;
  /** Default FETCH_TIMEOUT_MS. */
  readonly timeoutMs?: number;
}

const NO_KEYS: Keys = new Map();

export class KeySet {
  readonly #source: KeySource;
  readonly #closing = new AbortController();
  #keys = NO_KEYS;
  /** When they came; undefined = never. */
  #fetchedAt: number | undefined;
  /** When the last fetch ended, well or not. */
  #triedAt: number | undefined;
  #failure: Error | undefined;
  #underway: Promise<void> | undefined;
  #waiting = 0;

  constructor(source: KeySource) {
    this.#source = source;
  }

  /** Undefined = the team has no such key. Rejects with an AccessKeysError when that can't be known. */
  async find(kid: string): Promise<CryptoKey | undefined> {
    const age = this.#since(this.#fetchedAt);
    const usable = age < MAX_KEY_AGE_MS;
    const key = usable ? this.#keys.get(kid) : undefined;
    if (key !== undefined) {
      // Whoever asks next has newer ones; what went wrong stands in the log.
      if (age >= REFRESH_AFTER_MS && this.#since(this.#triedAt) >= COOL_DOWN_MS) this.#fetch().catch(() => {});
      return key;
    }
    if (this.#underway === undefined && this.#since(this.#triedAt) < (usable ? COOL_DOWN_MS : RETRY_AFTER_MS)) {
      if (this.#failure !== undefined) throw this.#failure;
      return undefined;
    }
    await this.#wait();
    return this.#keys.get(kid);
  }

  /** Nobody asks any more. */
  close(): void {
    this.#closing.abort(new AccessKeysError("nobody needs the keys any more"));
  }

  /** A clock that was set back makes everything old. */
  #since(time: number | undefined): number {
    const passed = time === undefined ? -1 : this.#source.now() - time;
    return passed < 0 ? Number.POSITIVE_INFINITY : passed;
  }

  async #wait(): Promise<void> {
    if (this.#waiting >= MAX_WAITING) throw new AccessKeysError(`${MAX_WAITING} requests wait for the keys already`);
    this.#waiting++;
    try {
      await this.#fetch();
    } finally {
      this.#waiting--;
    }
  }

  /** The fetch under way, or a new one. */
  #fetch(): Promise<void> {
    this.#underway ??= this.#fetchNow().finally(() => {
      this.#underway = undefined;
    });
    return this.#underway;
  }

  async #fetchNow(): Promise<void> {
    const { fetch, logger, name, now, timeoutMs = FETCH_TIMEOUT_MS } = this.#source;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      this.#keys = await fetch(AbortSignal.any([this.#closing.signal, timeout]));
      this.#fetchedAt = now();
      this.#failure = undefined;
      logger.debug("Fetched the keys of Cloudflare Access", { url: name, keys: this.#keys.size });
    } catch (cause) {
      this.#failure = failureOf(cause, timeout.aborted ? timeoutMs : undefined);
      if (!this.#closing.signal.aborted) {
        const usable = this.#since(this.#fetchedAt) < MAX_KEY_AGE_MS;
        logger.warn(
          usable
            ? "Going on with old keys of Cloudflare Access"
            : "Refusing requests that need a token of Cloudflare Access",
          { url: name, error: this.#failure.message },
        );
      }
      throw this.#failure;
    } finally {
      this.#triedAt = now();
    }
  }
}

function failureOf(cause: unknown, timedOutAfter: number | undefined): AccessKeysError {
  if (cause instanceof AccessKeysError) return cause;
  if (timedOutAfter !== undefined) return new AccessKeysError(`the keys did not come within ${timedOutAfter} ms`);
  return new AccessKeysError(`the keys can't be fetched: ${cause instanceof Error ? cause.message : String(cause)}`);
}
