/**
 * One of a tunnel's connections, by its index, over all the transport connections that it has in its life. The loop
 * wants one registered connection: it opens one where there is none, and another beside one that is to be replaced.
 */
import type { CloseReason, EdgeProtocol } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import {
  afterFailure,
  afterLoss,
  afterRegistration,
  freshRetryState,
  type RetryPlan,
  retryWindowMs,
} from "./backoff.ts";
import type { ConnectionFailure, ConnectionResult, RegisteredConnection } from "./connection.ts";
import { asError, ConnectionLostError } from "./errors.ts";

/** What kept a connection from coming about, its way to the edge included. */
export type SlotFailure =
  | ConnectionFailure
  /** No credentials (quick tunnels), or no address of the edge. `final`: retrying is of no use. */
  | { readonly kind: "unprepared"; readonly error: Error; readonly retryAfterMs: number; readonly final: boolean };

export type SlotResult = Exclude<ConnectionResult, ConnectionFailure> | SlotFailure;

/** Why a connection that still serves is replaced: the edge ended its control stream, or sent GOAWAY. */
export type Outlived = "control-ended" | "going-away";

export interface SlotHost {
  readonly retries: number;
  readonly initialProtocol: EdgeProtocol;
  random(): number;
  /** One attempt; `beside` is the connection that serves meanwhile, if any. */
  attempt(slot: Slot, beside: RegisteredConnection | undefined, signal: AbortSignal): Promise<SlotResult>;
  isFinal(failure: SlotFailure): boolean;
  /** The tunnel ends with this failure. */
  gaveUp(slot: Slot, failure: SlotFailure): void;
  failed(slot: Slot, failure: SlotFailure, plan: RetryPlan): void;
  registered(slot: Slot, connection: RegisteredConnection): void;
  /** The registered connection ended by itself; `plan` is undefined when its replacement is already being opened. */
  lost(slot: Slot, connection: RegisteredConnection, error: Error, plan: RetryPlan | undefined): void;
  /** The registered connection serves only until it is replaced. */
  outlived(slot: Slot, why: Outlived, error: Error | undefined): void;
  /** A replacement is registered: `connection` serves what it has and ends. */
  retire(slot: Slot, connection: RegisteredConnection): void;
}

export class Slot {
  readonly connIndex: number;
  /** Where the current attempt goes, or the last one went. */
  edgeAddress: string | undefined;
  readonly #host: SlotHost;
  readonly #abort = new AbortController();
  #current: RegisteredConnection | undefined;
  /** Of the current connection, or the last one. */
  #protocol: EdgeProtocol;
  #replace = false;
  #attempting = false;
  #retry = freshRetryState;
  #nextAttemptAt = 0;
  /** What the edge asked for: no restart comes before it. */
  #notBefore = 0;
  #nudge: () => void = () => {};

  constructor(connIndex: number, host: SlotHost) {
    this.connIndex = connIndex;
    this.#host = host;
    this.#protocol = host.initialProtocol;
  }

  get current(): RegisteredConnection | undefined {
    return this.#current;
  }

  /** Failed attempts in a row. */
  get failures(): number {
    return this.#retry.failures;
  }

  /** Dialling, registering or registered: what cloudflared counts as an HA connection. */
  get active(): boolean {
    return this.#attempting || this.#current !== undefined;
  }

  get info(): ConnectionInfo {
    const connection = this.#current;
    return {
      connIndex: this.connIndex,
      state: this.#state(),
      protocol: this.#protocol,
      edgeAddress: connection?.edge.remoteAddress ?? this.edgeAddress,
      connectionId: connection?.connectionId,
      location: connection?.location,
    };
  }

  #state(): ConnectionInfo["state"] {
    if (this.#abort.signal.aborted) return this.#current === undefined ? "closed" : "unregistering";
    if (this.#current !== undefined) return "registered";
    return this.#attempting ? "connecting" : "waiting";
  }

  /** Runs until `stop`, or until a failure is final. Resolves then; never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const wait = this.#current === undefined || this.#replace ? this.#nextAttemptAt - performance.now() : undefined;
      if (wait !== undefined && wait <= 0) await this.#attempt(signal);
      else await this.#sleep(wait);
    }
  }

  /**
   * Opens a new connection now: in place of a wait, or beside the registered one, which ends afterwards. Wherever the
   * connection stood in its back-off, it starts afresh.
   */
  restart(): void {
    this.#retry = freshRetryState;
    this.#replace = this.#current !== undefined;
    this.#nextAttemptAt = this.#notBefore;
    this.#nudge();
  }

  /** Ends attempts and waits; the registered connection is the caller's to drain. */
  stop(): void {
    this.#abort.abort();
    this.#nudge();
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const beside = this.#current;
    this.#attempting = true;
    const result = await this.#host
      .attempt(this, beside, signal)
      // A defect of ours costs this attempt, not the connection for good.
      .catch((error: unknown): SlotFailure => ({ kind: "unregistered", error: asError(error) }));
    this.#attempting = false;
    if (result.kind === "registered") {
      if (signal.aborted) await result.connection.close({ kind: "shutdown" });
      else this.#succeeded(result.connection);
    } else if (result.kind !== "aborted" && !signal.aborted) {
      this.#failed(result);
    }
  }

  #succeeded(connection: RegisteredConnection): void {
    const old = this.#current;
    this.#current = connection;
    this.#protocol = connection.edge.protocol;
    this.#replace = false;
    this.#retry = afterRegistration(this.#retry);
    this.#notBefore = 0;
    void connection.edge.closed.then((reason) => this.#closed(connection, reason));
    // A connection that is gone ends its control stream too: that is seen first, and tells less.
    void connection.client.ended.then((error) => setImmediate(() => this.#controlEnded(connection, error)));
    void connection.edge.goingAway?.then(() => setImmediate(() => this.#outlived(connection, "going-away", undefined)));
    this.#host.registered(this, connection);
    if (old !== undefined) this.#host.retire(this, old);
  }

  #failed(failure: SlotFailure): void {
    if (this.#host.isFinal(failure)) {
      this.stop();
      this.#host.gaveUp(this, failure);
      return;
    }
    if (failure.kind === "duplicate" && this.#retry.failures > 0) this.#makeWay();
    const retryAfterMs = retryAfterOf(failure);
    const plan = afterFailure(this.#retry, this.#host.retries, retryAfterMs, this.#host.random());
    this.#follow(plan);
    if (retryAfterMs > 0) this.#notBefore = this.#nextAttemptAt;
    this.#host.failed(this, failure, plan);
  }

  /** No address takes a second connection of this index: the one that is to be replaced has to go first. */
  #makeWay(): void {
    const old = this.#current;
    if (old === undefined) return;
    this.#current = undefined;
    this.#replace = false;
    this.#host.retire(this, old);
  }

  #closed(connection: RegisteredConnection, reason: CloseReason): void {
    connection.client.close();
    // A connection that was replaced, or that is drained for shutdown, has its end told by whoever ends it.
    if (this.#current !== connection) return;
    this.#current = undefined;
    this.#replace = false;
    if (this.#abort.signal.aborted) return;
    const plan = this.#attempting
      ? undefined
      : afterLoss(this.#retry, performance.now() - connection.registeredAt, this.#host.random());
    if (plan !== undefined) this.#follow(plan);
    this.#host.lost(this, connection, lossOf(reason), plan);
    this.#nudge();
  }

  #controlEnded(connection: RegisteredConnection, error: Error | undefined): void {
    connection.controlEnded = true;
    this.#outlived(connection, "control-ended", error);
  }

  /** The connection serves, but not for long. */
  #outlived(connection: RegisteredConnection, why: Outlived, error: Error | undefined): void {
    if (this.#current !== connection || this.#abort.signal.aborted || this.#replace) return;
    this.#replace = true;
    // The edge may have done it to many at once.
    this.#nextAttemptAt = performance.now() + this.#host.random() * retryWindowMs(1);
    this.#host.outlived(this, why, error);
    this.#nudge();
  }

  #follow(plan: RetryPlan): void {
    this.#retry = plan.state;
    this.#nextAttemptAt = performance.now() + plan.delayMs;
  }

  #sleep(delayMs: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = delayMs === undefined ? undefined : setTimeout(resolve, Math.ceil(delayMs));
      this.#nudge = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function retryAfterOf(failure: SlotFailure): number {
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

function lossOf(reason: CloseReason): Error {
  if (reason.kind === "error") {
    return new ConnectionLostError(`lost connection with the edge: ${reason.error.message}`, { cause: reason.error });
  }
  return new ConnectionLostError("the edge closed the connection");
}
