/**
 * Which transport a connection takes (`protocol`: quic, http2 or auto). `auto` tries both, QUIC a little earlier, and takes what
 * answers first: a network that drops UDP costs a moment and not the minutes of a fallback after failures. What worked is
 * remembered for the next connection; while that is HTTP/2, QUIC is asked for again from time to time, and connections move
 * back to it one by one.
 */
import type { EdgeAddress, EdgeConnection, EdgeProtocol, Logger } from "../types.ts";
import { asError, EdgeUnreachableError } from "./errors.ts";

/** QUIC's start before HTTP/2: more than a handshake takes on most ways to the edge, little to wait where UDP is dropped. */
export const HEAD_START_MS = 300;

/** A QUIC connection that breaks so soon has shown that its network has no use for it: not all of its datagrams get through. */
export const SHORT_LIFE_MS = 60_000;
const SHORT_LIVES = 2;

export interface DialAttempt {
  readonly connIndex: number;
  readonly address: EdgeAddress;
  readonly signal: AbortSignal;
}

export type Dial = (attempt: DialAttempt) => Promise<EdgeConnection>;

export interface ProtocolDialerOptions {
  readonly dials: Readonly<Record<EdgeProtocol, Dial>>;
  readonly logger: Logger;
  /** Cloudflare has said that nobody is to use QUIC: it is tried only where HTTP/2 fails. Default: it has not. */
  readonly isQuicWithdrawn?: () => boolean;
}

export class ProtocolDialer {
  readonly #options: ProtocolDialerOptions;
  /** What answered last; undefined before anything did. */
  #known: EdgeProtocol | undefined;
  /** QUIC connections, one after the other, that broke soon after they began; and when the last of them did. */
  #shortLives = 0;
  #lastShortEnd = Number.NEGATIVE_INFINITY;

  constructor(options: ProtocolDialerOptions) {
    this.#options = options;
  }

  /** HTTP/2 is in use because QUIC did not answer. */
  get fellBack(): boolean {
    return this.#known === "http2";
  }

  /** Rejects with EdgeUnreachableError, or with the signal's reason. */
  async dial(attempt: DialAttempt): Promise<EdgeConnection> {
    const withdrawn = this.#isQuicWithdrawn;
    const http2First = withdrawn || this.#known === "http2";
    const order: readonly [EdgeProtocol, EdgeProtocol] = http2First ? ["http2", "quic"] : ["quic", "http2"];
    const connection = await this.#race(attempt, order, withdrawn ? undefined : HEAD_START_MS);
    const { protocol } = connection;
    if (protocol !== this.#known && !withdrawn) {
      const { connIndex } = attempt;
      if (protocol === "http2") {
        this.#options.logger.info("QUIC does not get through: using HTTP/2", { connIndex, protocol });
      } else if (this.#known === "http2") {
        this.#options.logger.info("QUIC gets through again", { connIndex, protocol });
      }
    }
    this.#known = protocol;
    if (protocol === "quic") this.#watch(connection);
    return connection;
  }

  get #isQuicWithdrawn(): boolean {
    return this.#options.isQuicWithdrawn?.() === true;
  }

  #watch(connection: EdgeConnection): void {
    const since = performance.now();
    void connection.closed.then((reason) => {
      // Those that an outage ends together are one: it may have been of the whole network.
      if (since < this.#lastShortEnd) return;
      const now = performance.now();
      const isShort = reason.kind === "error" && now - since < SHORT_LIFE_MS;
      this.#shortLives = isShort ? this.#shortLives + 1 : 0;
      if (isShort) this.#lastShortEnd = now;
      if (this.#shortLives < SHORT_LIVES || this.#known !== "quic") return;
      this.#shortLives = 0;
      this.#known = "http2";
      this.#options.logger.info("QUIC connections break soon after they begin: trying HTTP/2 first", {
        connIndex: connection.connIndex,
      });
    });
  }

  /** Whether QUIC reaches the edge now. Where it does, the next connections take it. */
  async probe(attempt: DialAttempt): Promise<boolean> {
    if (this.#isQuicWithdrawn) return false;
    try {
      const connection = await this.#options.dials.quic(attempt);
      this.#known = "quic";
      await connection.close({ kind: "shutdown" });
      return true;
    } catch {
      return false;
    }
  }

  /** The second starts after the head start, if there is one, or as soon as the first has failed. The loser is broken off. */
  #race(
    attempt: DialAttempt,
    order: readonly [EdgeProtocol, EdgeProtocol],
    headStartMs: number | undefined,
  ): Promise<EdgeConnection> {
    const { signal } = attempt;
    return new Promise((resolve, reject) => {
      const giveUp = { quic: new AbortController(), http2: new AbortController() };
      const errors: Partial<Record<EdgeProtocol, Error>> = {};
      let won = false;
      let second = false;
      let timer: NodeJS.Timeout | undefined;
      const settle = (): void => {
        won = true;
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      };
      const abort = (): void => {
        if (won) return;
        settle();
        giveUp.quic.abort(signal.reason);
        giveUp.http2.abort(signal.reason);
        reject(signal.reason);
      };
      const startSecond = (): void => {
        if (won || second) return;
        second = true;
        clearTimeout(timer);
        start(order[1]);
      };
      const failed = (protocol: EdgeProtocol, reason: unknown): void => {
        if (won) return;
        errors[protocol] = asError(reason);
        startSecond();
        const { quic, http2 } = errors;
        if (quic === undefined || http2 === undefined) return;
        settle();
        reject(new EdgeUnreachableError(quic, http2));
      };
      const start = (protocol: EdgeProtocol): void => {
        this.#options.dials[protocol]({ ...attempt, signal: giveUp[protocol].signal }).then(
          (connection) => {
            if (won) {
              void connection.close({ kind: "shutdown" });
              return;
            }
            settle();
            giveUp[protocol === "quic" ? "http2" : "quic"].abort(new Error("the other transport was faster"));
            resolve(connection);
          },
          (reason: unknown) => failed(protocol, reason),
        );
      };
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      signal.addEventListener("abort", abort, { once: true });
      if (headStartMs !== undefined) timer = setTimeout(startSecond, headStartMs);
      start(order[0]);
    });
  }
}
