/** Tells the edge which sessions have ended here (wire § 6): each in a call of its own, a few at once. */
import { MAX_UNREGISTERING } from "./limits.ts";

/** Calls on the edge, made by whoever has the connection. */
export interface EdgeSessions {
  /** `sessionId` is a UUID. Rejects when the edge does not answer, or the connection is gone. */
  unregisterUdpSession(sessionId: string, message: string): Promise<void>;
}

interface Ended {
  readonly sessionId: string;
  readonly message: string;
}

export class Unregistrations {
  readonly #edge: EdgeSessions;
  readonly #failed: (sessionId: string, error: unknown) => void;
  #waiting: Ended[] = [];
  #running = 0;

  constructor(edge: EdgeSessions, failed: (sessionId: string, error: unknown) => void) {
    this.#edge = edge;
    this.#failed = failed;
  }

  add(sessionId: string, message: string): void {
    this.#waiting.push({ sessionId, message });
    this.#fill();
  }

  /** The connection is gone: nobody is to be told any more. */
  clear(): void {
    this.#waiting = [];
  }

  #fill(): void {
    while (this.#running < MAX_UNREGISTERING) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#running++;
      void this.#tell(next);
    }
  }

  async #tell({ sessionId, message }: Ended): Promise<void> {
    try {
      await this.#edge.unregisterUdpSession(sessionId, message);
    } catch (error) {
      this.#failed(sessionId, error);
    }
    this.#running--;
    this.#fill();
  }
}
