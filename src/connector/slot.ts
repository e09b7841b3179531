/**
 * One of a tunnel's connections, by its index, over all the transport connections that it has in its life: a state machine that
 * wants one registered connection. It opens one where there is none, and another beside one that is to be replaced.
 *
 *     waiting ──▶ connecting ──▶ serving ──▶ outlived ──▶ replacing ──▶ serving
 *        ▲            │             │            ▲             │
 *        └────────────┴──── lost ───┘            └─── failed ──┘         any ──▶ stopped
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
import type { RegisteredConnection } from "./connection.ts";
import { asError, ConnectionLostError } from "./errors.ts";
import {
  type Beside,
  type Grievance,
  retryAfterOf,
  type SlotFailure,
  type SlotHost,
  type SlotResult,
} from "./slot-host.ts";
import { SlotRecord } from "./slot-record.ts";

/** A suspicion is acted upon before the connection is given up for it, and not by all connections at once. */
const SILENT_WINDOW_MS = 1_000;

interface Attempt {
  readonly abort: AbortController;
  isRegistering: boolean;
}

/** Times are those of `performance.now()`. */
type Life =
  /** There is none; the next attempt follows. */
  | { readonly kind: "waiting"; readonly at: number }
  | { readonly kind: "connecting"; readonly attempt: Attempt }
  | { readonly kind: "serving"; readonly connection: RegisteredConnection }
  /** It serves, and an attempt to replace it follows. */
  | ({ readonly kind: "outlived"; readonly at: number } & Beside)
  | ({ readonly kind: "replacing"; readonly attempt: Attempt } & Beside)
  /** No attempt follows; the connection, if any, is drained by the host. */
  | { readonly kind: "stopped"; readonly connection: RegisteredConnection | undefined };

export class Slot {
  readonly connIndex: number;
  /** Where the current attempt goes, or the last one went. */
  edgeAddress: string | undefined;
  readonly #host: SlotHost;
  readonly #record = new SlotRecord();
  readonly #attempts = new Set<Promise<void>>();
  #life: Life = { kind: "waiting", at: 0 };
  #timer: NodeJS.Timeout | undefined;
  /** Of the current connection, or the last one. */
  #protocol: EdgeProtocol;
  #retry = freshRetryState;
  /** What the edge asked for: no restart comes before it. */
  #notBefore = 0;

  constructor(connIndex: number, host: SlotHost) {
    this.connIndex = connIndex;
    this.#host = host;
    this.#protocol = host.initialProtocol;
  }

  get current(): RegisteredConnection | undefined {
    return "connection" in this.#life ? this.#life.connection : undefined;
  }

  /** Failed attempts in a row. */
  get failures(): number {
    return this.#retry.failures;
  }

  get isWaiting(): boolean {
    return this.#life.kind === "waiting";
  }

  /** Dialling, registering or registered: what cloudflared counts as an HA connection. */
  get active(): boolean {
    return this.#life.kind === "connecting" || this.current !== undefined;
  }

  get info(): ConnectionInfo {
    const connection = this.current;
    return {
      connIndex: this.connIndex,
      state: this.#state(),
      protocol: this.#protocol,
      edgeAddress: connection?.edge.remoteAddress ?? this.edgeAddress,
      connectionId: connection?.connectionId,
      location: connection?.location,
      ...this.#record.report(connection),
    };
  }

  #state(): ConnectionInfo["state"] {
    const life = this.#life;
    switch (life.kind) {
      case "waiting":
      case "connecting":
        return life.kind;
      case "stopped":
        return life.connection === undefined ? "closed" : "unregistering";
      default:
        return life.connection.silent ? "silent" : "registered";
    }
  }

  start(): void {
    this.#open();
  }

  /**
   * Opens a new connection now: in place of a wait, or beside the registered one, which ends afterwards. Wherever the
   * connection stood in its back-off, it starts afresh.
   */
  restart(): void {
    const life = this.#life;
    this.#retry = freshRetryState;
    const at = this.#notBefore;
    if (life.kind === "waiting") this.#become({ kind: "waiting", at });
    else if (life.kind === "serving" || life.kind === "outlived") {
      this.#become({ kind: "outlived", connection: life.connection, why: "asked", at });
    } else return;
    if (at <= performance.now()) this.#open();
  }

  /** A wait that is longer than this ends then, but not before the edge may be asked again. The back-off goes on where it stood. */
  hurry(delayMs: number): void {
    const life = this.#life;
    if (life.kind !== "waiting") return;
    const at = Math.max(this.#notBefore, performance.now() + delayMs);
    if (at < life.at) this.#become({ kind: "waiting", at });
  }

  /** Ends the connection in order, and opens another after that time. */
  pause(delayMs: number): void {
    const life = this.#life;
    if (life.kind === "stopped") return;
    if ("attempt" in life) life.attempt.abort.abort();
    this.#become({ kind: "waiting", at: Math.max(this.#notBefore, performance.now() + delayMs) });
    if ("connection" in life) this.#host.retire(this, life.connection);
  }

  /** The edge may not answer on it any more: it is asked, or replaced at once where the answer is known. */
  suspect(isGone: (localAddress: string) => boolean): void {
    const connection = this.current;
    if (connection === undefined || this.#life.kind === "stopped") return;
    if (isGone(connection.edge.localAddress)) this.#silent(connection, true);
    else connection.edge.probe();
  }

  /** Ends attempts and waits; the registered connection is the caller's to drain. Resolves when nothing is under way; never rejects. */
  async stop(): Promise<void> {
    const life = this.#life;
    if ("attempt" in life) life.attempt.abort.abort();
    this.#become({ kind: "stopped", connection: this.current });
    await Promise.all(this.#attempts);
  }

  #become(life: Life): void {
    clearTimeout(this.#timer);
    this.#life = life;
    if ("at" in life) {
      this.#timer = setTimeout(() => this.#open(), Math.ceil(Math.max(0, life.at - performance.now())));
    }
  }

  #open(): void {
    const life = this.#life;
    const attempt: Attempt = { abort: new AbortController(), isRegistering: false };
    const { signal } = attempt.abort;
    const onRegistering = (): void => {
      attempt.isRegistering = true;
    };
    let beside: Beside | undefined;
    if (life.kind === "outlived") {
      const { connection, why } = life;
      beside = { connection, why };
      this.#become({ kind: "replacing", attempt, connection, why });
    } else if (life.kind === "waiting") {
      this.#become({ kind: "connecting", attempt });
    } else return;
    const running = this.#host
      .attempt(this, beside, { signal, onRegistering })
      // A defect of ours costs this attempt, not the connection for good.
      .catch((error: unknown): SlotFailure => ({ kind: "unregistered", error: asError(error) }))
      .then((result) => this.#attempted(signal, result))
      .finally(() => this.#attempts.delete(running));
    this.#attempts.add(running);
  }

  async #attempted(signal: AbortSignal, result: SlotResult): Promise<void> {
    if (result.kind === "registered") {
      if (signal.aborted) await result.connection.close({ kind: "shutdown" });
      else this.#succeeded(result.connection);
    } else if (result.kind !== "aborted" && !signal.aborted) {
      this.#failed(result);
    }
  }

  #succeeded(connection: RegisteredConnection): void {
    const old = this.current;
    if ("why" in this.#life && this.#life.why === "silent") {
      this.#record.failed(new ConnectionLostError("the edge did not answer"));
    }
    this.#become({ kind: "serving", connection });
    this.#protocol = connection.edge.protocol;
    this.#retry = afterRegistration(this.#retry);
    this.#notBefore = 0;
    this.#record.registered(connection);
    connection.edge.onSilence = (silent) => this.#silent(connection, silent);
    void connection.edge.closed.then((reason) => this.#closed(connection, reason));
    // A connection that is gone ends its control stream too: that is seen first, and tells less.
    void connection.client.ended.then((error) => setImmediate(() => this.#controlEnded(connection, error)));
    void connection.edge.goingAway?.then(() => setImmediate(() => this.#outlived(connection, "going-away", undefined)));
    this.#host.registered(this, connection);
    if (old !== undefined) this.#host.retire(this, old);
  }

  #failed(failure: SlotFailure): void {
    this.#record.failed(failure.error);
    if (this.#keepsRecovered()) return;
    const retryAfterMs = retryAfterOf(failure);
    const plan = afterFailure(this.#retry, this.#host.retries, retryAfterMs, this.#host.random());
    if (this.#host.isFinal(failure, plan)) {
      void this.stop();
      this.#host.gaveUp(this, failure);
      return;
    }
    const life = this.#life;
    const old = this.current;
    // No address takes a second connection of this index: the one that is to be replaced has to go first.
    const makesWay = failure.kind === "duplicate" && this.#retry.failures > 0 && old !== undefined;
    this.#retry = plan.state;
    const at = performance.now() + plan.delayMs;
    if (retryAfterMs > 0) this.#notBefore = at;
    this.#become(life.kind === "replacing" && !makesWay ? { ...life, kind: "outlived", at } : { kind: "waiting", at });
    if (makesWay) this.#host.retire(this, old);
    this.#host.failed(this, failure, plan);
  }

  #closed(connection: RegisteredConnection, reason: CloseReason): void {
    connection.client.close();
    // A connection that was replaced, or that is drained for shutdown, has its end told by whoever ends it.
    const life = this.#life;
    if (!("connection" in life) || life.connection !== connection) return;
    if (life.kind === "stopped") {
      this.#become({ kind: "stopped", connection: undefined });
      return;
    }
    const error = lossOf(reason);
    this.#record.failed(error);
    let plan: RetryPlan | undefined;
    if (life.kind === "replacing") this.#become({ kind: "connecting", attempt: life.attempt });
    else {
      plan = afterLoss(this.#retry, performance.now() - connection.registeredAt, this.#host.random());
      this.#retry = plan.state;
      this.#become({ kind: "waiting", at: performance.now() + plan.delayMs });
    }
    this.#host.lost(this, connection, error, plan);
  }

  #controlEnded(connection: RegisteredConnection, error: Error | undefined): void {
    connection.controlEnded = true;
    this.#outlived(connection, "control-ended", error);
  }

  #silent(connection: RegisteredConnection, silent: boolean): void {
    connection.silent = silent;
    if (silent) {
      this.#outlived(connection, "silent", undefined);
      return;
    }
    const life = this.#life;
    if (!("why" in life) || life.connection !== connection || life.why !== "silent" || connection.controlEnded) return;
    if (life.kind === "replacing" && life.attempt.isRegistering) {
      // The edge may send requests to the other one already: breaking it off would cost them.
      this.#life = { ...life, why: "recovered" };
    } else {
      if (life.kind === "replacing") life.attempt.abort.abort();
      this.#stay(connection);
    }
    this.#host.recovered(this);
  }

  /** The replacement of a connection that answers again has failed, and is not needed. */
  #keepsRecovered(): boolean {
    const life = this.#life;
    if (life.kind !== "replacing" || life.why !== "recovered" || life.connection.silent) return false;
    this.#stay(life.connection);
    return true;
  }

  #stay(connection: RegisteredConnection): void {
    this.#retry = afterRegistration(this.#retry);
    this.#become({ kind: "serving", connection });
  }

  /** The connection serves, but not for long. */
  #outlived(connection: RegisteredConnection, why: Grievance, error: Error | undefined): void {
    const life = this.#life;
    if (life.kind !== "serving" || life.connection !== connection) return;
    if (error !== undefined) this.#record.failed(error);
    // The edge may have done it to many at once.
    const window = why === "silent" ? SILENT_WINDOW_MS : retryWindowMs(1);
    this.#become({ kind: "outlived", connection, why, at: performance.now() + this.#host.random() * window });
    this.#host.outlived(this, why, error);
  }
}

function lossOf(reason: CloseReason): Error {
  if (reason.kind === "error") {
    return new ConnectionLostError(`lost connection with the edge: ${reason.error.message}`, { cause: reason.error });
  }
  return new ConnectionLostError("the edge closed the connection");
}
