/** What one connection index has been through since the tunnel was started, whatever transport connections it had. */
import { UnderpassError } from "../errors.ts";
import type { ConnectionReport } from "./api.ts";
import type { RegisteredConnection } from "./connection.ts";

export class SlotRecord {
  #registrations = 0;
  #lastError: Error | undefined;
  /** Of connections that are gone. */
  #requests = 0;
  #resets = 0;
  /** The one that serves, and those that are drained. */
  readonly #live = new Set<RegisteredConnection>();

  registered(connection: RegisteredConnection): void {
    this.#registrations++;
    this.#live.add(connection);
    void connection.edge.closed.then(() => {
      this.#live.delete(connection);
      this.#requests += connection.requests;
      this.#resets += connection.edge.resets;
    });
  }

  failed(error: Error): void {
    this.#lastError = error;
  }

  /** `connection` is the one that serves. */
  report(connection: RegisteredConnection | undefined): ConnectionReport {
    let requests = this.#requests;
    let resets = this.#resets;
    let activeStreams = 0;
    for (const live of this.#live) {
      requests += live.requests;
      resets += live.edge.resets;
      activeStreams += live.edge.openStreams;
    }
    const lastError = this.#lastError;
    return {
      roundTripMs: connection?.edge.roundTripMs,
      ageMs: connection === undefined ? undefined : Math.round(performance.now() - connection.registeredAt),
      activeStreams,
      requests,
      resets,
      reconnects: Math.max(0, this.#registrations - 1),
      lastError: lastError === undefined ? undefined : { code: codeOf(lastError), message: lastError.message },
    };
  }
}

function codeOf(error: Error): string | undefined {
  return error instanceof UnderpassError ? error.code : undefined;
}
