/** NewReno (RFC 9002 § 7.3), but with CUBIC's back-off: what cloudflared's own stack does. */
import type { CongestionAvoidance } from "./congestion-controller.ts";

const BETA = 0.7;

export class NewReno implements CongestionAvoidance {
  reduce(window: number): number {
    return window * BETA;
  }

  grow(window: number, acked: number, mtu: number): number {
    return window + (mtu * acked) / window;
  }

  idle(): void {}

  restart(): void {}

  /** It has no state. */
  copy(): this {
    return this;
  }
}
