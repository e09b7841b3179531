/** The estimate of a path's round-trip time (RFC 9002 § 5), in milliseconds, and the times that follow from it. */

/** What is assumed before the first sample (RFC 9002 § 6.2.2). */
const INITIAL_RTT = 333;

/** Timers are no finer (RFC 9002 § 6.1.2). */
export const GRANULARITY = 1;

export class RoundTripTime {
  latest = 0;
  /** 0 before the first sample. */
  min = 0;
  smoothed = INITIAL_RTT;
  variance = INITIAL_RTT / 2;
  /** When the first sample was taken. */
  firstSampleAt: number | undefined = undefined;

  /** A packet that needs acknowledging was sent `latest` ago; the peer says that it kept the ACK for `ackDelay` of it. */
  sample(latest: number, ackDelay: number, now: number): void {
    this.latest = latest;
    if (this.firstSampleAt === undefined) {
      this.firstSampleAt = now;
      this.min = latest;
      this.smoothed = latest;
      this.variance = latest / 2;
      return;
    }
    if (latest < this.min) this.min = latest;
    // A delay that would make the path shorter than it ever was is not believed.
    const adjusted = latest >= this.min + ackDelay ? latest - ackDelay : latest;
    this.variance = 0.75 * this.variance + 0.25 * Math.abs(this.smoothed - adjusted);
    this.smoothed = 0.875 * this.smoothed + 0.125 * adjusted;
  }

  /** After persistent congestion the path may be another, and its minimum with it (RFC 9002 § 5.2). */
  forgetMin(): void {
    this.min = this.latest;
  }

  /** Probe timeout without back-off (RFC 9002 § 6.2.1). */
  probeTimeout(maxAckDelay: number): number {
    return this.smoothed + Math.max(4 * this.variance, GRANULARITY) + maxAckDelay;
  }

  /** For how long a packet may be overtaken (RFC 9002 § 6.1.2). */
  lossDelay(factor: number): number {
    return Math.max(factor * Math.max(this.latest, this.smoothed), GRANULARITY);
  }
}
