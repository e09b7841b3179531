interface Running<T> {
  readonly done: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

/** A task that several wait for at once: it runs once for all of them, and is given up when nobody waits any more. */
export class SharedTask<T> {
  readonly #start: (signal: AbortSignal) => Promise<T>;
  #running: Running<T> | undefined;

  constructor(start: (signal: AbortSignal) => Promise<T>) {
    this.#start = start;
  }

  /** Joins the task, or starts it. Rejects as it does, or with the reason of `signal`, which ends this wait alone. */
  join(signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    this.#running ??= this.#run();
    const running = this.#running;
    running.waiting++;
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        running.waiting--;
        if (running.waiting === 0) {
          // Whoever comes next must not join what has been given up.
          if (this.#running === running) this.#running = undefined;
          running.abort.abort(signal.reason);
        }
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      running.done.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
    });
  }

  #run(): Running<T> {
    const abort = new AbortController();
    const done = this.#start(abort.signal).finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    const running: Running<T> = { done, abort, waiting: 0 };
    return running;
  }
}
