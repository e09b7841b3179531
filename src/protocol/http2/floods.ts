/** Token buckets over frames that cost the peer nothing and us something. */
import { Http2ConnectionError } from "./errors.ts";
import type { RateBudget } from "./limits.ts";
import { ErrorCode } from "./types.ts";

export class RateLimit {
  readonly #budget: RateBudget;
  #tokens: number;
  #at: number;

  constructor(budget: RateBudget, now: number) {
    this.#budget = budget;
    this.#tokens = budget.burst;
    this.#at = now;
  }

  /** Takes one token; throws ENHANCE_YOUR_CALM when there is none. */
  take(now: number): void {
    const { burst, perSecond, what } = this.#budget;
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * perSecond) - 1;
    this.#at = now;
    if (this.#tokens < 0) throw new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `too many ${what}`);
  }
}
