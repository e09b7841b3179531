/** What one connection index has been through since the tunnel was started, whatever transport connections it had. */
import { UnderpassError } from "../errors.ts";
import type { EdgeConnection } from "../types.ts";
import type { ConnectionInfo, ConnectionReport } from "./api.ts";
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
      roundTripMs: connection === undefined ? undefined : roundTripOf(connection.edge),
      ageMs: connection === undefined ? undefined : ageOf(connection),
      activeStreams,
      requests,
      resets,
      reconnects: Math.max(0, this.#registrations - 1),
      lastError: lastError === undefined ? undefined : { code: codeOf(lastError), message: lastError.message },
    };
  }
}

/** A connection that is gone: its own numbers, not those of its index. */
export function endedInfo(connection: RegisteredConnection): ConnectionInfo {
  const { edge, connectionId, location, requests } = connection;
  const { connIndex, protocol, remoteAddress, openStreams, resets } = edge;
  return {
    connIndex,
    state: "closed",
    protocol,
    edgeAddress: remoteAddress,
    connectionId,
    location,
    roundTripMs: roundTripOf(edge),
    ageMs: ageOf(connection),
    activeStreams: openStreams,
    requests,
    resets,
    reconnects: 0,
    lastError: undefined,
  };
}

/** To the hundredth: more is noise. */
function roundTripOf({ roundTripMs }: EdgeConnection): number | undefined {
  return roundTripMs === undefined ? undefined : Math.round(roundTripMs * 100) / 100;
}

function ageOf({ registeredAt }: RegisteredConnection): number {
  return Math.round(performance.now() - registeredAt);
}

function codeOf(error: Error): string | undefined {
  return error instanceof UnderpassError ? error.code : undefined;
}
