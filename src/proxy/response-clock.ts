/** `responseHeaderTimeout` and `idleTimeout` of one request: exists only where one of them is set. */
import type { OriginRequestOptions } from "../types.ts";
import { MAX_TIMER_MS } from "./origin-connection.ts";
import { OriginError } from "./origin-errors.ts";

export class ResponseClock {
  readonly #options: OriginRequestOptions;
  readonly #where: string;
  readonly #onExpired: (error: OriginError) => void;
  #timer: NodeJS.Timeout | undefined;
  #responded = false;

  private constructor(options: OriginRequestOptions, where: string, onExpired: (error: OriginError) => void) {
    this.#options = options;
    this.#where = where;
    this.#onExpired = onExpired;
  }

  /** Undefined when there is nothing to watch. */
  static create(
    options: OriginRequestOptions,
    where: string,
    onExpired: (error: OriginError) => void,
  ): ResponseClock | undefined {
    if (options.responseHeaderTimeoutMs <= 0 && options.idleTimeoutMs <= 0) return undefined;
    return new ResponseClock(options, where, onExpired);
  }

  /** The origin has the whole request. */
  requestSent(): void {
    const { responseHeaderTimeoutMs: limit } = this.#options;
    if (this.#responded || limit <= 0) return;
    const problem = `no answer from ${this.#where} within ${limit} ms (responseHeaderTimeout)`;
    this.#arm(limit, () => new OriginError("origin-timeout", "response-head", problem));
  }

  /** The response has begun. */
  responded(isSplice: boolean): void {
    this.#responded = true;
    clearTimeout(this.#timer);
    const { idleTimeoutMs: limit } = this.#options;
    if (limit <= 0) return;
    const problem = `not a byte from or to ${this.#where} for ${limit} ms (idleTimeout)`;
    this.#arm(limit, () => new OriginError("origin-timeout", isSplice ? "splice" : "response-body", problem));
  }

  /** Bytes moved. */
  moved(): void {
    if (this.#responded) this.#timer?.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(milliseconds: number, error: () => OriginError): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onExpired(error()), Math.min(milliseconds, MAX_TIMER_MS));
  }
}
