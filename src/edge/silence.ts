/**
 * Tells when the edge has stopped answering, well before its connection is given up for it, so that another one can be opened
 * beside it. Which of both is right shows by itself: an edge that speaks again takes the suspicion back.
 */

/** An answer to a PING takes a round trip; this is many of them on most ways to the edge, and less than a person waits. */
const PROBE_MS = 2_000;
/** How many round trips it is on long ones. */
const PROBE_ROUND_TRIPS = 4;

interface SilenceOptions {
  /** Something comes at least this often from an edge that is well. */
  readonly limitMs: () => number;
  readonly roundTripMs: () => number | undefined;
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
    this.#askedAt = undefined;
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
    const { limitMs, roundTripMs } = this.#options;
    const due = this.#heardAt + limitMs();
    if (this.#askedAt === undefined) return due;
    return Math.min(due, this.#askedAt + Math.max(PROBE_MS, PROBE_ROUND_TRIPS * (roundTripMs() ?? 0)));
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
