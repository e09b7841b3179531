/**
 * HyStart++ (RFC 9406): leaves the first slow start when the round-trip time grows, before the queue overflows. In between it grows
 * conservatively (CSS), and returns if the growth was a passing one.
 */

const MIN_RTT_THRESHOLD = 4;
const MAX_RTT_THRESHOLD = 16;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

export class HyStart {
  /** A round ends with the acknowledgement of a packet that was sent in it. */
  #roundStart: number | undefined = undefined;
  #lastMin = Number.POSITIVE_INFINITY;
  #currentMin = Number.POSITIVE_INFINITY;
  #samples = 0;
  /** The round-trip time at which CSS began; undefined = it is not on. */
  #baseline: number | undefined = undefined;
  #cssRounds = 0;

  /** By what the growth of slow start is divided. */
  get divisor(): number {
    return this.#baseline === undefined ? 1 : CSS_GROWTH_DIVISOR;
  }

  /** A sample of the round-trip time, of a packet sent at `sentAt`. True = slow start is over. */
  onSample(rtt: number, sentAt: number, now: number): boolean {
    this.#roundStart ??= now;
    if (sentAt >= this.#roundStart) {
      this.#roundStart = now;
      this.#lastMin = this.#currentMin;
      this.#currentMin = Number.POSITIVE_INFINITY;
      this.#samples = 0;
      if (this.#baseline !== undefined && ++this.#cssRounds >= CSS_ROUNDS) return true;
    }
    if (rtt < this.#currentMin) this.#currentMin = rtt;
    this.#samples++;
    if (this.#samples < RTT_SAMPLES) return false;
    if (this.#baseline !== undefined) {
      if (this.#currentMin < this.#baseline) this.#baseline = undefined;
    } else if (this.#lastMin !== Number.POSITIVE_INFINITY) {
      const threshold = Math.min(Math.max(this.#lastMin / MIN_RTT_DIVISOR, MIN_RTT_THRESHOLD), MAX_RTT_THRESHOLD);
      if (this.#currentMin >= this.#lastMin + threshold) {
        this.#baseline = this.#currentMin;
        this.#cssRounds = 0;
      }
    }
    return false;
  }
}
