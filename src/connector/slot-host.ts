/** What a connection's slot needs of the tunnel, and what it tells it. */
import type { EdgeProtocol } from "../types.ts";
import type { RetryPlan } from "./backoff.ts";
import type { ConnectionFailure, ConnectionResult, RegisteredConnection } from "./connection.ts";
import type { Slot } from "./slot.ts";

/** What kept a connection from coming about, its way to the edge included. */
export type SlotFailure =
  | ConnectionFailure
  /** No credentials (quick tunnels), or no address of the edge. `final`: retrying is of no use. */
  | { readonly kind: "unprepared"; readonly error: Error; readonly retryAfterMs: number; readonly final: boolean };

export type SlotResult = Exclude<ConnectionResult, ConnectionFailure> | SlotFailure;

/** Why a connection that still serves is replaced: the edge ended its control stream, sent GOAWAY, or does not answer; or someone wants it. */
export type Outlived = "control-ended" | "going-away" | "silent" | "asked";

export interface SlotHost {
  readonly retries: number;
  readonly initialProtocol: EdgeProtocol;
  random(): number;
  /** One attempt; `beside` is the connection that serves meanwhile, if any. */
  attempt(slot: Slot, beside: Beside | undefined, signal: AbortSignal): Promise<SlotResult>;
  isFinal(failure: SlotFailure, plan: RetryPlan): boolean;
  /** The tunnel ends with this failure. */
  gaveUp(slot: Slot, failure: SlotFailure): void;
  failed(slot: Slot, failure: SlotFailure, plan: RetryPlan): void;
  registered(slot: Slot, connection: RegisteredConnection): void;
  /** The registered connection ended by itself; `plan` is undefined when its replacement is already being opened. */
  lost(slot: Slot, connection: RegisteredConnection, error: Error, plan: RetryPlan | undefined): void;
  /** The registered connection serves only until it is replaced. */
  outlived(slot: Slot, why: Exclude<Outlived, "asked">, error: Error | undefined): void;
  /** A connection that did not answer does so again: it stays. */
  recovered(slot: Slot): void;
  /** A replacement is registered: `connection` serves what it has and ends. */
  retire(slot: Slot, connection: RegisteredConnection): void;
}

/** A connection that serves, while another is opened in its place. */
export interface Beside {
  readonly connection: RegisteredConnection;
  readonly why: Outlived;
}

/** What the edge, or who gives the credentials, asked to wait. */
export function retryAfterOf(failure: SlotFailure): number {
  switch (failure.kind) {
    case "refused":
    case "duplicate":
      return failure.error.retryAfterMs;
    case "unprepared":
      return failure.retryAfterMs;
    default:
      return 0;
  }
}
