/** How many streams of the private network are open at once, over all connections of a tunnel (wire § 11). */
import { UnderpassError } from "../errors.ts";

export class FlowLimitError extends UnderpassError {
  constructor(limit: number) {
    super(
      "ERR_UNDERPASS_FLOW_LIMIT",
      `all ${limit} flows of the private network are in use; raise maxActiveFlows, or set it to 0 for no limit`,
    );
  }
}

export class FlowLimiter {
  /** 0 = none. A lower one than before cuts nothing: it counts for new flows. */
  limit = 0;
  #active = 0;

  get active(): number {
    return this.#active;
  }

  /** Takes a slot and returns what gives it back, once; undefined when there is none. */
  acquire(): (() => void) | undefined {
    if (this.limit > 0 && this.#active >= this.limit) return undefined;
    this.#active++;
    let held = true;
    return () => {
      if (held) this.#active--;
      held = false;
    };
  }
}
