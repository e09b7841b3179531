/** How long a connection waits before it tries again (wire § 10.3). Pure: chance is an argument. */

/** Cloudflared's base: the n-th wait is drawn from [0, 1 s · 2^n). */
const BASE_MS = 1_000;
/** No wait is longer, so that a tunnel is back within minutes of its network. */
const LONGEST_MS = 300_000;
const FIRST_RESTART_MS = 5_000;

/** An edge that asks for more has sent nonsense: a tunnel must not stay down for years because of one number. */
const LONGEST_RETRY_AFTER_MS = 24 * 3_600_000;

/** A connection that lived shorter has not proved that its edge is well: the next wait grows, up to 32 s. */
export const STABLE_AFTER_MS = 10_000;
const MOST_SHORT_LIVES = 5;

/** The window of the n-th retry in a row, n from 1: 2 s, 4 s, 8 s … 5 min. */
export function retryWindowMs(attempt: number): number {
  return Math.min(BASE_MS * 2 ** Math.max(1, attempt), LONGEST_MS);
}

/** The n-th restart in a row, n from 0: 5 s, 10 s, 20 s, 40 s … 5 min. */
export function restartDelayMs(step: number): number {
  return Math.min(FIRST_RESTART_MS * 2 ** step, LONGEST_MS);
}

export interface RetryState {
  /** Failed attempts in a row. */
  readonly failures: number;
  /** Connections in a row that registered and were lost before STABLE_AFTER_MS. */
  readonly shortLives: number;
  /** Restarts in a row, each after `retries` failures. */
  readonly restarts: number;
}

export const freshRetryState: RetryState = { failures: 0, shortLives: 0, restarts: 0 };

export interface RetryPlan {
  readonly state: RetryState;
  /** `retry` is the usual back-off; `restart` means that the connection gave up and was handed to the restart ladder. */
  readonly kind: "retry" | "restart";
  readonly delayMs: number;
  /** The most that `delayMs` can be. */
  readonly upToMs: number;
}

/** An attempt has failed. `retryAfterMs` is what the edge asked for, 0 for nothing. */
export function afterFailure(state: RetryState, retries: number, retryAfterMs: number, random: number): RetryPlan {
  const failures = state.failures + 1;
  if (failures >= retries) {
    const delayMs = restartDelayMs(state.restarts);
    const next = { ...state, failures: 0, restarts: state.restarts + 1 };
    return notBefore({ state: next, kind: "restart", delayMs, upToMs: delayMs }, retryAfterMs);
  }
  const window = retryWindowMs(failures + state.shortLives);
  return notBefore(
    { state: { ...state, failures }, kind: "retry", delayMs: random * window, upToMs: window },
    retryAfterMs,
  );
}

/** A registered connection was lost after `livedMs`. Full jitter: connections that fall together don't come back together. */
export function afterLoss(state: RetryState, livedMs: number, random: number): RetryPlan {
  const shortLives = livedMs < STABLE_AFTER_MS ? Math.min(state.shortLives + 1, MOST_SHORT_LIVES) : 0;
  const window = retryWindowMs(shortLives);
  return { state: { ...state, shortLives }, kind: "retry", delayMs: random * window, upToMs: window };
}

/** A connection has registered: success resets both the back-off and the ladder. */
export function afterRegistration(state: RetryState): RetryState {
  return { ...freshRetryState, shortLives: state.shortLives };
}

/** What the edge asks for comes first; the jitter stays on top, so that four connections don't return as one. */
function notBefore(plan: RetryPlan, retryAfterMs: number): RetryPlan {
  const asked = Number.isFinite(retryAfterMs) ? Math.min(Math.max(0, retryAfterMs), LONGEST_RETRY_AFTER_MS) : 0;
  return asked === 0 ? plan : { ...plan, delayMs: plan.delayMs + asked, upToMs: plan.upToMs + asked };
}
