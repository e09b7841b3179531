/**
 * CUBIC (RFC 9438): the window grows along a cubic curve of the time since the last congestion, flat where that happened, and never
 * slower than Reno would.
 *
 *   W(t) = C × (t - K)³ + Wmax        t, K in seconds, W in datagrams
 */
import type { CongestionAvoidance } from "./congestion-controller.ts";

const C = 0.4;
const BETA = 0.7;
/** Reno's growth with this back-off, as friendly as Reno's own (RFC 9438 § 4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

export class Cubic implements CongestionAvoidance {
  /** Windows here are in datagrams. */
  #max = 0;
  /** Before the last reduction. */
  #prior = 0;
  #origin = 0;
  #k = 0;
  /** What Reno would have. */
  #reno = 0;
  /** When this stage of growth began; undefined = it has not. */
  #epoch: number | undefined = undefined;
  #idleSince: number | undefined = undefined;

  reduce(window: number, mtu: number): number {
    const packets = window / mtu;
    // Fast convergence (§ 4.7): below the last maximum, there is someone new to make room for.
    this.#max = packets < this.#max ? (packets * (1 + BETA)) / 2 : packets;
    this.#prior = packets;
    this.#epoch = undefined;
    return window * BETA;
  }

  grow(window: number, acked: number, mtu: number, now: number, rtt: number): number {
    const packets = window / mtu;
    const segments = acked / mtu;
    if (this.#epoch === undefined) this.#begin(packets, now);
    else if (this.#idleSince !== undefined) this.#epoch += now - this.#idleSince;
    this.#idleSince = undefined;
    const time = (now - (this.#epoch as number)) / 1000;
    this.#reno += (this.#reno >= this.#prior ? 1 : ALPHA) * (segments / packets);
    if (this.#curve(time) < this.#reno) return Math.max(window, this.#reno * mtu);
    const target = Math.min(Math.max(this.#curve(time + rtt / 1000), packets), 1.5 * packets);
    return window + ((target - packets) / packets) * segments * mtu;
  }

  /** Time in which the window was not used does not count (§ 5.8). */
  idle(now: number): void {
    this.#idleSince ??= now;
  }

  restart(): void {
    this.#epoch = undefined;
  }

  copy(): Cubic {
    const copy = new Cubic();
    copy.#max = this.#max;
    copy.#prior = this.#prior;
    copy.#origin = this.#origin;
    copy.#k = this.#k;
    copy.#reno = this.#reno;
    copy.#epoch = this.#epoch;
    copy.#idleSince = this.#idleSince;
    return copy;
  }

  #begin(packets: number, now: number): void {
    this.#epoch = now;
    this.#reno = packets;
    this.#origin = Math.max(packets, this.#max);
    this.#k = Math.cbrt((this.#origin - packets) / C);
  }

  #curve(seconds: number): number {
    return C * (seconds - this.#k) ** 3 + this.#origin;
  }
}
