/** Questions that several can answer, and that nobody may leave open for ever. */
import { EdgeDiscoveryError } from "./errors.ts";

export type Ask<T> = (signal: AbortSignal) => Promise<T>;

/** Settles with the look-up, the signal or the time limit, whichever comes first; the last two abort the look-up. */
export async function within<T>(lookUp: Ask<T>, milliseconds: number, signal: AbortSignal, what: string): Promise<T> {
  signal.throwIfAborted();
  const limited = new AbortController();
  const abort = (): void => limited.abort(signal.reason);
  const late = new EdgeDiscoveryError(`${what}: no answer within ${milliseconds / 1_000} s`);
  const timer = setTimeout(() => limited.abort(late), milliseconds);
  signal.addEventListener("abort", abort, { once: true });
  try {
    const aborted = new Promise<never>((_resolve, reject) => {
      limited.signal.addEventListener("abort", () => reject(limited.signal.reason), { once: true });
    });
    // The abort stands first: a look-up that notices it too must not put its own error before the reason.
    return await Promise.race([aborted, lookUp(limited.signal)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/**
 * The first answer. Each of `asks` starts when the one before has failed, or has said nothing for `headStartMs`; the losers are
 * aborted. Rejects with the errors of all in their order, as an AggregateError, or with the signal's reason.
 */
export function firstAnswer<T>(asks: readonly Ask<T>[], headStartMs: number, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = new AbortController();
    const errors: unknown[] = [];
    let failed = 0;
    let started = 0;
    let timer: NodeJS.Timeout | undefined;
    const settle = (reason: unknown): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      started = asks.length;
      stop.abort(reason);
    };
    const abort = (): void => {
      settle(signal.reason);
      reject(signal.reason);
    };
    const startNext = (): void => {
      clearTimeout(timer);
      const index = started;
      const ask = asks[index];
      if (ask === undefined) return;
      started++;
      if (started < asks.length) timer = setTimeout(startNext, headStartMs);
      ask(stop.signal).then(
        (answer) => {
          settle(new Error("another one has answered"));
          resolve(answer);
        },
        (error: unknown) => {
          if (stop.signal.aborted) return;
          errors[index] = error;
          failed++;
          if (failed === asks.length) {
            settle(error);
            reject(new AggregateError(errors, "none of them could answer"));
          } else if (index === started - 1) startNext();
        },
      );
    };
    signal.addEventListener("abort", abort, { once: true });
    startNext();
  });
}
