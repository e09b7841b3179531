/** Those who wait for something to be so. */
import { MockEdgeError } from "./visits.ts";

interface Waiter {
  check(): void;
  fail(error: Error): void;
}

export class Waiters {
  readonly #waiters = new Set<Waiter>();

  /** Resolves as soon as `condition` holds at a `wake`; rejects with MockEdgeError after `timeoutMs`, saying what `describe` says then. */
  until(condition: () => boolean, timeoutMs: number, describe: () => string): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        check: () => {
          if (!condition()) return;
          done();
          resolve();
        },
        fail: (error) => {
          done();
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiter.fail(new MockEdgeError(`what was waited for did not come within ${timeoutMs} ms; ${describe()}`));
      }, timeoutMs);
      this.#waiters.add(waiter);
      waiter.check();
    });
  }

  /** Something has changed. */
  wake(): void {
    for (const waiter of this.#waiters) waiter.check();
  }

  /** Nothing will change any more. */
  fail(message: string): void {
    for (const waiter of this.#waiters) waiter.fail(new MockEdgeError(message));
  }
}
