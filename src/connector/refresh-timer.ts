/** Looks something up again and again: hourly while that works, sooner while it does not. Chance is an argument. */

export const REFRESH_MS = 3_600_000;
/** After a first failure; it doubles with each further one. */
export const FIRST_RETRY_MS = 60_000;
/** In each direction: a thousand connectors that started together must not ask together. */
const JITTER = 0.1;

export interface RefreshTimerOptions {
  /** In [0, 1). */
  readonly random: () => number;
  /** Looks it up, and says so by `looked`. */
  readonly refresh: () => void;
}

export class RefreshTimer {
  readonly #options: RefreshTimerOptions;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;

  constructor(options: RefreshTimerOptions) {
    this.#options = options;
  }

  /** It was looked up just now: the next time is counted from here. */
  looked(complete: boolean): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#failures = complete ? 0 : this.#failures + 1;
    const delayMs = complete ? REFRESH_MS : Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), REFRESH_MS);
    const jittered = delayMs * (1 - JITTER + 2 * JITTER * this.#options.random());
    this.#timer = setTimeout(this.#options.refresh, jittered);
    // A tunnel lives by its connections.
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
