/** Token buckets over what costs the peer nothing and us something. The numbers and their reasons are in limits.ts. */
import { floodError } from "./errors.ts";
import * as limits from "./limits.ts";

class Bucket {
  readonly #rate: limits.Rate;
  readonly #what: string;
  #tokens: number;
  #at: number;

  constructor(rate: limits.Rate, what: string, now: number) {
    this.#rate = rate;
    this.#what = what;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Throws ENHANCE_YOUR_CALM when there are not `cost` tokens left. */
  take(cost: number, now: number): void {
    if (now > this.#at) {
      const { burst, perSecond } = this.#rate;
      this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * perSecond);
      this.#at = now;
    }
    this.#tokens -= cost;
    if (this.#tokens < 0) throw floodError(`too many ${this.#what}`);
  }

  put(tokens: number): void {
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + tokens);
  }
}

export class Floods {
  /** When bytes or time last came in. */
  now: number;
  readonly #overhead: Bucket;
  readonly #prematureResets: Bucket;
  readonly #streamErrors: Bucket;
  #windowUpdates = 0;

  constructor(now: number) {
    this.now = now;
    this.#overhead = new Bucket(limits.OVERHEAD_RATE, "frames that ask for nothing", now);
    this.#prematureResets = new Bucket(limits.PREMATURE_RESET_RATE, "requests that are reset at once", now);
    this.#streamErrors = new Bucket(limits.STREAM_ERROR_RATE, "streams that break the protocol", now);
  }

  /** A frame that makes us work and moves nothing. */
  overhead(cost = 1): void {
    this.#overhead.take(cost, this.now);
  }

  request(): void {
    this.#overhead.put(limits.OVERHEAD_PER_REQUEST);
  }

  dataSent(bytes: number): void {
    const explained = limits.WINDOW_UPDATES_PER_DATA + bytes / limits.BYTES_PER_WINDOW_UPDATE;
    this.#windowUpdates = Math.min(limits.MAX_WINDOW_UPDATE_CREDIT, this.#windowUpdates + explained);
  }

  windowUpdate(): void {
    if (this.#windowUpdates >= 1) this.#windowUpdates--;
    else this.#overhead.take(1, this.now);
  }

  /** The peer reset a stream that was opened at `openedAt`. */
  reset(openedAt: number, answered: boolean): void {
    if (!answered && this.now - openedAt < limits.PREMATURE_RESET) this.#prematureResets.take(1, this.now);
  }

  /** The peer made us reset a stream. */
  streamError(cost = 1): void {
    this.#streamErrors.take(cost, this.now);
  }
}
