/**
 * Whether the peer is still there (RFC 9000 § 10.1): idle timeout, keep-alive, and the limits of time of the handshake. It is idle
 * from the last packet that opened, or from the first ack-eliciting one that we sent since.
 */
import { HANDSHAKE_IDLE_TIMEOUT, HANDSHAKE_TIMEOUT } from "../limits.ts";

/**
 * How much more often than at rest a peer is asked that has not answered: a network that was away for a moment and is back has to
 * be noticed before either side's idle time is over.
 */
const UNANSWERED = 5;

export interface LivenessOptions {
  /** What we announced; 0 = none. */
  readonly maxIdleTimeout: number;
  /** Silence after which a PING goes out; undefined = none. */
  readonly keepAlive: number | undefined;
  readonly handshakeTimeout: number | undefined;
  readonly handshakeIdleTimeout: number | undefined;
}

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #startedAt: number;
  #idleTimeout: number;
  #handshaking = true;
  /** The idle time counts from here. */
  #since: number;
  #receivedAt: number;
  /** Something ack-eliciting was sent since the last packet came. */
  #sentSince = false;
  #pingedAt: number | undefined;

  constructor(options: LivenessOptions, now: number) {
    this.#options = options;
    this.#startedAt = now;
    this.#since = now;
    this.#receivedAt = now;
    this.#idleTimeout = options.handshakeIdleTimeout ?? HANDSHAKE_IDLE_TIMEOUT;
  }

  /** From now on the idle timeout is the smaller of both sides' (§ 10.1); 0 = none. */
  handshakeCompleted(peerMaxIdleTimeout: number): void {
    const own = this.#options.maxIdleTimeout;
    this.#handshaking = false;
    this.#idleTimeout =
      own === 0 || peerMaxIdleTimeout === 0 ? Math.max(own, peerMaxIdleTimeout) : Math.min(own, peerMaxIdleTimeout);
  }

  onReceived(now: number): void {
    this.#since = now;
    this.#receivedAt = now;
    this.#sentSince = false;
    this.#pingedAt = undefined;
  }

  onSentAckEliciting(now: number): void {
    if (this.#sentSince) return;
    this.#sentSince = true;
    this.#since = now;
  }

  /** When the connection is given up; undefined = never. At least 3 PTO, so that a loss alone does not end it. */
  deadline(pto: number): number | undefined {
    if (this.#handshaking) {
      const idle = this.#since + this.#idleTimeout;
      return Math.min(idle, this.#startedAt + (this.#options.handshakeTimeout ?? HANDSHAKE_TIMEOUT));
    }
    return this.#idleTimeout === 0 ? undefined : this.#since + Math.max(this.#idleTimeout, 3 * pto);
  }

  /** When a PING is due; undefined = none. */
  keepAliveDeadline(pto: number): number | undefined {
    const { keepAlive } = this.#options;
    if (keepAlive === undefined || this.#handshaking) return undefined;
    return this.#pingedAt === undefined
      ? this.#receivedAt + Math.max(keepAlive, 1.5 * pto)
      : this.#pingedAt + Math.max(keepAlive / UNANSWERED, 1.5 * pto);
  }

  onKeepAlive(now: number): void {
    this.#pingedAt = now;
  }
}
