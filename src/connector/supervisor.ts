/**
 * A tunnel's connections as a whole (wire § 10): connection 0 alone until it has registered, then the others; what is
 * final and what is retried; replacing, restarting, and the drain at the end.
 */
import { EdgeDiscoveryError } from "../edge/errors.ts";
import type { EdgeAddress, EdgeProtocol, EdgeRequest, Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import { type RetryPlan, retryWindowMs } from "./backoff.ts";
import { connectToEdge, type RegisteredConnection } from "./connection.ts";
import { ConnectionLog } from "./connection-log.ts";
import { Deadline, drain } from "./drain.ts";
import { asError, type RegistrationRefusedError } from "./errors.ts";
import { hasLeft, type NetworkChange } from "./network-watch.ts";
import type { ConnectorParts } from "./parts.ts";
import { Slot } from "./slot.ts";
import type { AttemptOptions, Beside, Grievance, SlotFailure, SlotHost, SlotResult } from "./slot-host.ts";
import { endedInfo } from "./slot-record.ts";

/** Between the starts of two connections: their handshakes don't compete, and four are up within a second. */
const STAGGER_MS = 250;

export interface SupervisorOptions {
  readonly haConnections: number;
  readonly retries: number;
  readonly rpcTimeoutMs: number;
  readonly gracePeriodMs: number;
  /** A connection that failed as often as `retries` says, while none is registered, ends the tunnel. Default: it goes on. */
  readonly exitOnFailure?: boolean;
  readonly connectorId: string;
  /** What a connection announces, for each attempt anew. */
  readonly features: (accountTag: string) => readonly string[];
  readonly version: string;
  readonly arch: string;
  readonly onRequest: (request: EdgeRequest, connIndex: number) => void;
}

/** What the tunnel wants to know; every method is called synchronously and must not throw. */
export interface SupervisorEvents {
  registered(info: ConnectionInfo, connection: RegisteredConnection): void;
  disconnected(info: ConnectionInfo, error: Error | undefined): void;
  /** The edge was asked to unregister a connection. */
  unregistered?(ok: boolean): void;
  failed(info: ConnectionInfo, failure: SlotFailure): void;
  /** A registered connection does not answer any more, or does again. */
  silence?(info: ConnectionInfo): void;
  retrying(info: ConnectionInfo, delayMs: number, error: Error): void;
  /** The tunnel can't go on. */
  gaveUp(error: Error): void;
}

interface Drain {
  readonly deadline: Deadline;
  readonly done: Promise<void>;
}

export class Supervisor implements SlotHost {
  readonly #parts: ConnectorParts;
  readonly #options: SupervisorOptions;
  readonly #events: SupervisorEvents;
  readonly #log: ConnectionLog;
  readonly #slots: Slot[] = [];
  readonly #drains = new Set<Drain>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #everRegistered = false;
  #stopped = false;
  #wanted: number | undefined;

  constructor(parts: ConnectorParts, options: SupervisorOptions, events: SupervisorEvents, logger: Logger) {
    this.#parts = parts;
    this.#options = options;
    this.#events = events;
    this.#log = new ConnectionLog(logger);
  }

  get retries(): number {
    return this.#options.retries;
  }

  get initialProtocol(): EdgeProtocol {
    return this.#parts.initialProtocol;
  }

  get connections(): readonly ConnectionInfo[] {
    return this.#slots.map((slot) => slot.info);
  }

  /** Connections that have registered; none from the moment that the tunnel is stopped. */
  get registeredConnections(): number {
    return this.#stopped ? 0 : this.#slots.filter((slot) => slot.current !== undefined).length;
  }

  /** Of those, the ones whose edge answers. */
  get readyConnections(): number {
    return this.#stopped ? 0 : this.#slots.filter((slot) => slot.current?.silent === false).length;
  }

  /** How many there are to be. */
  get wantedConnections(): number {
    return this.#wanted ?? this.#options.haConnections;
  }

  /** Connections that are dialling, registering or serving. */
  get activeConnections(): number {
    return this.#slots.filter((slot) => slot.active).length;
  }

  start(): void {
    this.#parts.addresses.onMore = () => {
      if (this.#wanted !== undefined && !this.#stopped) this.#startOthers();
    };
    this.#startSlot();
  }

  /** Opens a new connection for every index, and only then ends the old one. */
  restart(): void {
    this.replaceAll();
  }

  /** This process stood still: the machine may be in another network, and no connection can be relied on. */
  thawed(): void {
    if (this.#stopped) return;
    this.#parts.addresses.networkChanged?.();
    this.replaceAll();
  }

  /** False where there is none. `pauseMs` as in `replace`. */
  replaceAll(pauseMs = 0): boolean {
    if (this.#stopped) return false;
    for (const { connIndex } of this.#slots) {
      this.#later(connIndex * STAGGER_MS, () => void this.replace(connIndex, pauseMs));
    }
    return this.#slots.length > 0;
  }

  /**
   * The same for one index; false where there is none. With `pauseMs` the old connection ends first, in order, and the new one
   * comes that much later.
   */
  replace(connIndex: number, pauseMs = 0): boolean {
    const slot = this.#stopped ? undefined : this.#slots[connIndex];
    if (pauseMs > 0) slot?.pause(pauseMs);
    else slot?.restart();
    return slot !== undefined;
  }

  /**
   * This machine's addresses have changed. Each connection shows whether it still reaches the edge, and is replaced where it
   * does not; where there is a new address, who waits for another attempt need not wait any longer.
   */
  networkChanged(change: NetworkChange): void {
    if (this.#stopped) return;
    this.#parts.addresses.networkChanged?.();
    const isGone = hasLeft(change);
    for (const slot of this.#slots) {
      if (!slot.isWaiting) slot.suspect(isGone);
      else if (change.appeared.length > 0) {
        this.#later(slot.connIndex * STAGGER_MS, () => slot.isWaiting && slot.restart());
      }
    }
  }

  /** Drains every connection; resolves when all are closed. `deadline` may be brought forward meanwhile. Never rejects. */
  async stop(deadline: Deadline): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true;
      for (const timer of this.#timers) clearTimeout(timer);
      for (const { deadline: own } of this.#drains) void deadline.reached.then(() => own.bringForward(0));
      for (const { current } of this.#slots) if (current !== undefined) this.#drain(current, "shutdown", deadline);
    }
    await Promise.all([...this.#slots.map((slot) => slot.stop()), ...[...this.#drains].map(({ done }) => done)]);
  }

  random(): number {
    return this.#parts.random();
  }

  async attempt(
    slot: Slot,
    beside: Beside | undefined,
    { onRegistering, signal }: AttemptOptions,
  ): Promise<SlotResult> {
    const { connIndex } = slot;
    // A quick tunnel's request and the discovery of the edge need not wait for each other.
    const identifying = this.#parts.identity.credentials(signal);
    const address = await this.#address(connIndex, beside, signal).catch(asError);
    const identified = await identifying;
    if (signal.aborted) return { kind: "aborted" };
    if (identified.kind === "unavailable") return { ...identified, kind: "unprepared" };
    if (address instanceof Error) return { kind: "unprepared", error: address, retryAfterMs: 0, final: false };
    slot.edgeAddress = formatAddress(address);
    this.#log.registering(connIndex, address.ip);
    return await connectToEdge(this.#parts, {
      ...this.#options,
      connIndex,
      address,
      credentials: identified.credentials,
      features: this.#options.features(identified.credentials.accountTag),
      previousAttempts: slot.failures,
      onRegistering,
      signal,
    });
  }

  async #address(connIndex: number, beside: Beside | undefined, signal: AbortSignal): Promise<EdgeAddress> {
    const { addresses } = this.#parts;
    const address = await addresses.assign(connIndex, signal);
    if (beside === undefined || formatAddress(address) !== beside.connection.edge.remoteAddress) return address;
    addresses.rotate(connIndex, beside.why === "silent" ? "silent" : "replacement");
    return await addresses.assign(connIndex, signal);
  }

  isFinal(failure: SlotFailure, plan: RetryPlan): boolean {
    if (this.#options.exitOnFailure === true && plan.kind === "restart" && this.registeredConnections === 0)
      return true;
    if (failure.kind === "unprepared") return failure.final;
    if (failure.kind !== "refused" || this.#everRegistered) return false;
    return this.#isForGood(failure.error) && !this.#parts.identity.replaceable;
  }

  #isForGood({ reason, shouldRetry }: RegistrationRefusedError): boolean {
    // The edge says this also of a tunnel that it does not know yet; cloudflared retries it too (wire § 10.4).
    return !shouldRetry && (this.#everRegistered || !reason.includes("Unauthorized"));
  }

  gaveUp(slot: Slot, failure: SlotFailure): void {
    this.#events.failed(slot.info, failure);
    if (failure.kind === "refused") this.#log.refused(slot, failure.error);
    this.#events.gaveUp(failure.error);
  }

  failed(slot: Slot, failure: SlotFailure, plan: RetryPlan): void {
    const { addresses, identity } = this.#parts;
    if (failure.kind === "unreachable" || failure.kind === "duplicate") {
      addresses.rotate(slot.connIndex, failure.kind);
    } else if (failure.kind === "refused") {
      if (this.#isForGood(failure.error)) identity.refused("for-good");
      else if (plan.kind === "restart") identity.refused("often");
    }
    this.#events.failed(slot.info, failure);
    if (failure.error instanceof EdgeDiscoveryError) this.#log.lookingAgain(slot.connIndex, plan);
    else this.#log.retrying(slot, failure.error, plan, this.registeredConnections === 0);
    this.#events.retrying(slot.info, plan.delayMs, failure.error);
  }

  registered(slot: Slot, connection: RegisteredConnection): void {
    this.#log.registered(connection);
    this.#everRegistered = true;
    this.#parts.identity.registered();
    this.#parts.addresses.registered?.();
    this.#events.registered(slot.info, connection);
    if (this.#wanted === undefined) this.#startOthers();
    else if (this.registeredConnections === 1) this.#hurryOthers();
  }

  lost(slot: Slot, connection: RegisteredConnection, error: Error, plan: RetryPlan | undefined): void {
    const { connIndex } = slot;
    this.#log.lost(connIndex, error);
    this.#ended(connection, error);
    if (plan === undefined) return;
    if (connection.silent) this.#parts.addresses.rotate(connIndex, "silent");
    this.#log.retrying(slot, error, plan, this.registeredConnections === 0);
    this.#events.retrying(slot.info, plan.delayMs, error);
  }

  outlived(slot: Slot, why: Grievance, error: Error | undefined): void {
    this.#log.outlived(slot.connIndex, why, error);
    if (why === "silent") this.#events.silence?.(slot.info);
  }

  recovered(slot: Slot): void {
    this.#log.recovered(slot.connIndex);
    this.#events.silence?.(slot.info);
  }

  retire(_slot: Slot, connection: RegisteredConnection): void {
    this.#drain(connection, "replaced", new Deadline(this.#options.gracePeriodMs));
  }

  #startSlot(): void {
    const slot = new Slot(this.#slots.length, this);
    this.#slots.push(slot);
    slot.start();
  }

  /** As many as there are addresses for: once the first has registered, and again when there are more. */
  #startOthers(): void {
    const { haConnections } = this.#options;
    const { size } = this.#parts.addresses;
    const before = this.#wanted ?? 1;
    const wanted = Math.max(before, Math.min(haConnections, size));
    if (this.#wanted === undefined && wanted < haConnections) {
      this.#log.tooFewAddresses(haConnections, size, wanted);
    }
    this.#wanted = wanted;
    for (let index = before; index < wanted; index++) {
      this.#later((index - before) * STAGGER_MS, () => this.#startSlot());
    }
  }

  /** The edge is there again: who waits for it need not wait for minutes. At random, as after any loss. */
  #hurryOthers(): void {
    for (const slot of this.#slots) slot.hurry(this.random() * retryWindowMs(1));
  }

  #later(delayMs: number, action: () => void): void {
    if (delayMs === 0) {
      action();
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
  }

  #drain(connection: RegisteredConnection, kind: "shutdown" | "replaced", deadline: Deadline): void {
    const unregisterTimeoutMs = kind === "shutdown" ? deadline.leftMs : this.#options.rpcTimeoutMs;
    const done = drain(connection, {
      reason: { kind },
      deadline,
      unregisterTimeoutMs,
      onUnregistered: (ok) => {
        this.#events.unregistered?.(ok);
        if (ok) this.#log.unregistered(connection);
      },
    }).then(() => {
      if (kind === "replaced") deadline.clear();
      this.#drains.delete(entry);
      this.#ended(connection, undefined);
    });
    const entry: Drain = { deadline, done };
    this.#drains.add(entry);
  }

  #ended(connection: RegisteredConnection, error: Error | undefined): void {
    const info = endedInfo(connection);
    this.#log.ended(info);
    this.#events.disconnected(info, error);
  }
}

function formatAddress({ ip, port, family }: EdgeAddress): string {
  return family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}
