/**
 * How many bytes may be in flight (RFC 9002 § 7). Slow start, recovery periods, persistent congestion and the undoing of losses that
 * were none are the same for all algorithms; how the window grows afterwards, and how far it goes back, is theirs.
 *
 *   slow start ──loss, or HyStart++──▶ congestion avoidance ──loss──▶ recovery (until what was sent since is acknowledged)
 *        ▲                                      ▲ └────────────────────────────┘
 *        └───────── persistent congestion ──────┴── every loss of it was spurious: as before
 */
import { MAX_CONGESTION_WINDOW_PACKETS } from "../limits.ts";
import { Cubic } from "./cubic.ts";
import { HyStart } from "./hystart.ts";
import { NewReno } from "./new-reno.ts";

export type CongestionAlgorithm = "cubic" | "new-reno";

/** Windows in bytes, times in milliseconds. */
export interface CongestionAvoidance {
  /** The window after congestion. */
  reduce(window: number, mtu: number): number;
  /** The window after `acked` bytes were acknowledged. */
  grow(window: number, acked: number, mtu: number, now: number, rtt: number): number;
  /** The window is not used: its not growing is no one's fault. */
  idle(now: number): void;
  /** Slow start begins anew. */
  restart(): void;
  /** Its state, to return to. */
  copy(): CongestionAvoidance;
}

interface Before {
  readonly window: number;
  readonly threshold: number;
  readonly avoidance: CongestionAvoidance;
}

/** RFC 9002 § 7.2. */
const MIN_PACKETS = 2;
const INITIAL_PACKETS = 10;
const INITIAL_BYTES = 14_720;

export class CongestionController {
  window: number;
  /** Nothing that was sent since the last loss has been acknowledged. */
  inRecovery = false;
  #mtu: number;
  #threshold = Number.POSITIVE_INFINITY;
  #avoidance: CongestionAvoidance;
  readonly #hystart = new HyStart();
  /** Losses of packets sent until then are one event. */
  #recoveryStart = Number.NEGATIVE_INFINITY;
  /** Number of congestion events. */
  #events = 0;
  /** Packets that were lost in the last one, and have not turned up. */
  #missing = 0;
  #before: Before | undefined = undefined;

  constructor(algorithm: CongestionAlgorithm, mtu: number) {
    this.#avoidance = algorithm === "cubic" ? new Cubic() : new NewReno();
    this.#mtu = mtu;
    this.window = Math.min(INITIAL_PACKETS * mtu, Math.max(INITIAL_BYTES, MIN_PACKETS * mtu));
  }

  get minimum(): number {
    return MIN_PACKETS * this.#mtu;
  }

  get inSlowStart(): boolean {
    return this.window < this.#threshold;
  }

  setMtu(mtu: number): void {
    this.#mtu = mtu;
    this.window = Math.max(this.window, this.minimum);
  }

  onRttSample(rtt: number, sentAt: number, now: number): void {
    // For the first slow start only (RFC 9406 § 4.3).
    if (this.#threshold === Number.POSITIVE_INFINITY && this.#hystart.onSample(rtt, sentAt, now)) {
      this.#threshold = this.window;
    }
  }

  /** `used`: the window was the limit, or would have been without pacing (RFC 9002 § 7.8). */
  onAcked(size: number, sentAt: number, used: boolean, now: number, rtt: number): void {
    if (sentAt > this.#recoveryStart) this.inRecovery = false;
    if (!used) {
      this.#avoidance.idle(now);
      return;
    }
    if (sentAt <= this.#recoveryStart) return;
    const grown = this.inSlowStart
      ? Math.min(this.window + size / this.#hystart.divisor, Math.max(this.#threshold, this.window))
      : this.#avoidance.grow(this.window, size, this.#mtu, now, rtt);
    this.window = Math.min(grown, MAX_CONGESTION_WINDOW_PACKETS * this.#mtu);
  }

  /** A packet was lost. Returns the number of the event that it belongs to. */
  onLost(sentAt: number, now: number): number {
    if (sentAt > this.#recoveryStart) {
      this.#before = { window: this.window, threshold: this.#threshold, avoidance: this.#avoidance.copy() };
      this.#recoveryStart = now;
      this.inRecovery = true;
      this.#events++;
      this.#missing = 0;
      this.window = Math.max(this.#avoidance.reduce(this.window, this.#mtu), this.minimum);
      this.#threshold = this.window;
    }
    this.#missing++;
    return this.#events;
  }

  /** A packet that was lost in `event` has arrived after all. When it was the last one, there was no congestion (RFC 9438 § 4.9). */
  onSpuriousLoss(event: number): void {
    if (event !== this.#events || --this.#missing > 0 || this.#before === undefined) return;
    const { window, threshold, avoidance } = this.#before;
    this.#before = undefined;
    this.#recoveryStart = Number.NEGATIVE_INFINITY;
    this.inRecovery = false;
    if (window <= this.window) return;
    this.window = Math.max(window, this.minimum);
    this.#threshold = threshold;
    this.#avoidance = avoidance;
  }

  onPersistentCongestion(): void {
    this.window = this.minimum;
    this.#recoveryStart = Number.NEGATIVE_INFINITY;
    this.inRecovery = false;
    this.#before = undefined;
    this.#avoidance.restart();
  }
}
