/** Spreads what the congestion window allows over the round-trip time (RFC 9002 § 7.7), by tokens of one byte each. */

/** No burst is larger, in datagrams, than what a connection may begin with (RFC 9002 § 7.7). */
const BURST_PACKETS = 10;

/** Nor smaller than what goes out within this time: timers are a millisecond coarse, and late. */
const BURST_TIME = 2;

/** Faster than the window in a round-trip time, so that the window stays the limit; in slow start it doubles within one. */
const GAIN = 1.25;
const SLOW_START_GAIN = 2;

export class Pacer {
  #tokens: number;
  #at: number | undefined = undefined;
  /** Bytes in a millisecond. */
  #rate = Number.POSITIVE_INFINITY;

  constructor(mtu: number) {
    this.#tokens = BURST_PACKETS * mtu;
  }

  setRate(window: number, smoothedRtt: number, inSlowStart: boolean): void {
    this.#rate = ((inSlowStart ? SLOW_START_GAIN : GAIN) * window) / Math.max(smoothedRtt, Number.EPSILON);
  }

  /** Bytes that may go out now; below 0 after probes, which do not wait. */
  available(now: number, mtu: number): number {
    const burst = Math.max(BURST_PACKETS * mtu, BURST_TIME * this.#rate);
    const elapsed = now - (this.#at ?? now);
    this.#at = now;
    // Not 0 × Infinity.
    if (elapsed > 0) this.#tokens += elapsed * this.#rate;
    this.#tokens = Math.min(this.#tokens, burst);
    return this.#tokens;
  }

  onSent(size: number): void {
    this.#tokens -= size;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** When there are tokens for a datagram again. */
  deadline(mtu: number): number | undefined {
    if (this.#at === undefined) return undefined;
    return this.#tokens >= mtu ? this.#at : this.#at + Math.max(1, (mtu - this.#tokens) / this.#rate);
  }
}
