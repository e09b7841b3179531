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

/**
 * Why a connection that still serves is replaced: the edge ended its control stream, sent GOAWAY, or does not answer; or someone
 * wants it. `recovered`: it need not be any more, but its replacement may have registered already.
 */
export type Outlived = "control-ended" | "going-away" | "silent" | "asked" | "recovered";

/** Those that are worth telling. */
export type Grievance = Exclude<Outlived, "asked" | "recovered">;

/** What an attempt is told, and tells. */
export interface AttemptOptions {
  readonly signal: AbortSignal;
  /** From now on the edge may count it as registered. */
  readonly onRegistering: () => void;
}

export interface SlotHost {
  readonly retries: number;
  readonly initialProtocol: EdgeProtocol;
  random(): number;
  /** One attempt; `beside` is the connection that serves meanwhile, if any. */
  attempt(slot: Slot, beside: Beside | undefined, options: AttemptOptions): Promise<SlotResult>;
  isFinal(failure: SlotFailure, plan: RetryPlan): boolean;
  /** The tunnel ends with this failure. */
  gaveUp(slot: Slot, failure: SlotFailure): void;
  failed(slot: Slot, failure: SlotFailure, plan: RetryPlan): void;
  registered(slot: Slot, connection: RegisteredConnection): void;
  /** The registered connection ended by itself; `plan` is undefined when its replacement is already being opened. */
  lost(slot: Slot, connection: RegisteredConnection, error: Error, plan: RetryPlan | undefined): void;
  /** The registered connection serves only until it is replaced. */
  outlived(slot: Slot, why: Grievance, error: Error | undefined): void;
  /** A connection that did not answer does so again. */
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
