/**
 * Handlers that still work though their request has ended. A visitor who opens requests and cancels them gives the stream back at
 * once: without a bound a handler that does not heed it could be made to run any number of times side by side.
 */
import { UnderpassError } from "../../errors.ts";
import { MAX_ACTIVE_STREAMS } from "../../protocol/http2/limits.ts";

/** So many handlers go on without a visitor that no other is started. */
export class AbandonedHandlersError extends UnderpassError {
  constructor(count: number) {
    super(
      "ERR_UNDERPASS_ABANDONED_HANDLERS",
      `${count} calls of the origin's handler go on though their visitors have left; it should stop at request.signal, or at the response's close`,
    );
  }
}

export class AbandonedHandlers {
  readonly #most: number;
  #count = 0;

  /** @param most as many as streams of one connection may have work going on */
  constructor(most = MAX_ACTIVE_STREAMS) {
    this.#most = most;
  }

  /** Why no other handler may be started, if so. */
  get refusal(): AbandonedHandlersError | undefined {
    return this.#count < this.#most ? undefined : new AbandonedHandlersError(this.#count);
  }

  add(): void {
    this.#count++;
  }

  /** One has come to its end. */
  remove(): void {
    this.#count--;
  }
}
