/**
 * Tells when the edge has stopped answering, well before its connection is given up for it, so that another one can be opened
 * beside it. Which of both is right shows by itself: an edge that speaks again takes the suspicion back.
 */

/** An answer to a PING takes a round trip; this is many of them, and less than a person waits. */
const PROBE_MS = 2_000;

interface SilenceOptions {
  /** Something comes at least this often from an edge that is well. */
  readonly limitMs: number;
  readonly onChange: (silent: boolean) => void;
}

export class SilenceWatch {
  readonly #options: SilenceOptions;
  #heardAt = performance.now();
  /** When the edge was asked for an answer that has not come. */
  #askedAt: number | undefined;
  #silent = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: SilenceOptions) {
    this.#options = options;
    this.#arm();
  }

  /** Something came, or the edge made room for what waits here. */
  heard(now: number): void {
    this.#heardAt = now;
    if (!this.#silent) return;
    this.#silent = false;
    this.#options.onChange(false);
    this.#arm();
  }

  /** The edge was asked to answer. */
  asked(): void {
    if (this.#silent || this.#stopped) return;
    this.#askedAt ??= performance.now();
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #due(): number {
    const due = this.#heardAt + this.#options.limitMs;
    if (this.#askedAt !== undefined && this.#heardAt >= this.#askedAt) this.#askedAt = undefined;
    return this.#askedAt === undefined ? due : Math.min(due, this.#askedAt + PROBE_MS);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const delayMs = Math.ceil(Math.max(0, this.#due() - performance.now()));
    // Behind what waits in the socket: this process may have been busy, or stood still, and not the edge.
    this.#timer = setTimeout(() => setImmediate(() => this.#look()), delayMs);
    this.#timer.unref();
  }

  #look(): void {
    if (this.#stopped || this.#silent) return;
    if (performance.now() < this.#due()) {
      this.#arm();
      return;
    }
    this.#askedAt = undefined;
    this.#silent = true;
    this.#options.onChange(true);
  }
}
