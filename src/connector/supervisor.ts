/**
 * A tunnel's connections as a whole (wire § 10): connection 0 alone until it has registered, then the others; what is
 * final and what is retried; replacing, restarting, and the drain at the end.
 */
import type { EdgeAddress, EdgeProtocol, EdgeRequest, LogFields, Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import type { RetryPlan } from "./backoff.ts";
import { connectToEdge, type RegisteredConnection } from "./connection.ts";
import { Deadline, drain } from "./drain.ts";
import { asError, type RegistrationRefusedError } from "./errors.ts";
import type { ConnectorParts } from "./parts.ts";
import { type Outlived, Slot, type SlotFailure, type SlotHost, type SlotResult } from "./slot.ts";

/** Between the starts of two connections: their handshakes don't compete, and four are up within a second. */
const STAGGER_MS = 250;

export interface SupervisorOptions {
  readonly haConnections: number;
  readonly retries: number;
  readonly rpcTimeoutMs: number;
  readonly gracePeriodMs: number;
  readonly connectorId: string;
  readonly features: readonly string[];
  readonly version: string;
  readonly arch: string;
  readonly onRequest: (request: EdgeRequest, connIndex: number) => void;
}

/** What the tunnel wants to know; every method is called synchronously and must not throw. */
export interface SupervisorEvents {
  registered(info: ConnectionInfo, connection: RegisteredConnection): void;
  disconnected(info: ConnectionInfo, error: Error | undefined): void;
  /** The edge was asked to unregister a connection. */
  unregistered(ok: boolean): void;
  failed(info: ConnectionInfo, failure: SlotFailure): void;
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
  readonly #logger: Logger;
  readonly #slots: Slot[] = [];
  readonly #runs: Promise<void>[] = [];
  readonly #drains = new Set<Drain>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #everRegistered = false;
  #stopped = false;
  #wanted: number | undefined;

  constructor(parts: ConnectorParts, options: SupervisorOptions, events: SupervisorEvents, logger: Logger) {
    this.#parts = parts;
    this.#options = options;
    this.#events = events;
    this.#logger = logger;
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

  /** Connections that are ready for requests; none from the moment that the tunnel is stopped. */
  get registeredConnections(): number {
    return this.#stopped ? 0 : this.#slots.filter((slot) => slot.current !== undefined).length;
  }

  /** Connections that are dialling, registering or serving. */
  get activeConnections(): number {
    return this.#slots.filter((slot) => slot.active).length;
  }

  start(): void {
    this.#startSlot();
  }

  /** Opens a new connection for every index, and only then ends the old one. */
  restart(): void {
    if (this.#stopped) return;
    this.#slots.forEach((slot, position) => this.#later(position * STAGGER_MS, () => slot.restart()));
  }

  /** The same for one index. */
  replace(connIndex: number): void {
    if (!this.#stopped) this.#slots[connIndex]?.restart();
  }

  /** Drains every connection; resolves when all are closed. `deadline` may be brought forward meanwhile. Never rejects. */
  async stop(deadline: Deadline): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true;
      for (const timer of this.#timers) clearTimeout(timer);
      for (const { deadline: own } of this.#drains) void deadline.reached.then(() => own.bringForward(0));
      for (const slot of this.#slots) {
        slot.stop();
        if (slot.current !== undefined) this.#drain(slot, slot.current, "shutdown", deadline);
      }
    }
    await Promise.all([...this.#runs, ...[...this.#drains].map(({ done }) => done)]);
  }

  random(): number {
    return this.#parts.random();
  }

  async attempt(slot: Slot, beside: RegisteredConnection | undefined, signal: AbortSignal): Promise<SlotResult> {
    const { connIndex } = slot;
    // A quick tunnel's request and the discovery of the edge need not wait for each other.
    const identifying = this.#parts.identity.credentials(signal);
    const address = await this.#address(connIndex, beside, signal).catch(asError);
    const identified = await identifying;
    if (signal.aborted) return { kind: "aborted" };
    if (identified.kind === "unavailable") return { ...identified, kind: "unprepared" };
    if (address instanceof Error) return { kind: "unprepared", error: address, retryAfterMs: 0, final: false };
    slot.edgeAddress = formatAddress(address);
    this.#logger.debug("Registering tunnel connection", { connIndex, event: 0, ip: address.ip });
    return await connectToEdge(this.#parts, {
      ...this.#options,
      connIndex,
      address,
      credentials: identified.credentials,
      previousAttempts: slot.failures,
      signal,
    });
  }

  async #address(
    connIndex: number,
    beside: RegisteredConnection | undefined,
    signal: AbortSignal,
  ): Promise<EdgeAddress> {
    const { addresses } = this.#parts;
    const address = await addresses.assign(connIndex, signal);
    if (beside === undefined || formatAddress(address) !== beside.edge.remoteAddress) return address;
    addresses.rotate(connIndex, "replacement");
    return await addresses.assign(connIndex, signal);
  }

  isFinal(failure: SlotFailure): boolean {
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
    if (failure.kind === "refused") {
      this.#logger.error("Register tunnel error from server side", this.#failureFields(slot, failure.error));
    }
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
    this.#logRetry(slot, failure.error, plan);
    this.#events.retrying(slot.info, plan.delayMs, failure.error);
  }

  registered(slot: Slot, connection: RegisteredConnection): void {
    const { edge, connectionId, location } = connection;
    const { connIndex } = slot;
    this.#logger.info("Registered tunnel connection", {
      connIndex,
      connection: connectionId,
      event: 0,
      ip: ipOf(edge.remoteAddress),
      location,
      protocol: edge.protocol,
    });
    // What scripts written for other versions wait for.
    this.#logger.info("Connection registered", { connIndex, location });
    this.#everRegistered = true;
    this.#parts.identity.registered();
    this.#events.registered(slot.info, connection);
    this.#startOthers();
  }

  lost(slot: Slot, connection: RegisteredConnection, error: Error, plan: RetryPlan | undefined): void {
    this.#logger.info("Lost connection with the edge", { connIndex: slot.connIndex, error: error.message });
    this.#events.disconnected(endedInfo(connection), error);
    if (plan === undefined) return;
    this.#logRetry(slot, error, plan);
    this.#events.retrying(slot.info, plan.delayMs, error);
  }

  outlived({ connIndex }: Slot, why: Outlived, error: Error | undefined): void {
    const what = why === "going-away" ? "is going away" : "ended the control stream";
    this.#logger.info(`The edge ${what}: replacing the connection`, {
      connIndex,
      ...(error === undefined ? {} : { error: error.message }),
    });
  }

  retire(slot: Slot, connection: RegisteredConnection): void {
    this.#drain(slot, connection, "replaced", new Deadline(this.#options.gracePeriodMs));
  }

  #startSlot(): void {
    const slot = new Slot(this.#slots.length, this);
    this.#slots.push(slot);
    this.#runs.push(slot.run());
  }

  #startOthers(): void {
    if (this.#wanted !== undefined) return;
    const { haConnections } = this.#options;
    const { size } = this.#parts.addresses;
    this.#wanted = Math.min(haConnections, Math.max(1, size));
    if (this.#wanted < haConnections) {
      this.#logger.info(
        `You requested ${haConnections} HA connections but the edge has ${size} addresses: using ${this.#wanted}`,
      );
    }
    for (let index = 1; index < this.#wanted; index++) {
      this.#later((index - 1) * STAGGER_MS, () => this.#startSlot());
    }
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

  #drain(slot: Slot, connection: RegisteredConnection, kind: "shutdown" | "replaced", deadline: Deadline): void {
    const { connIndex } = slot;
    const unregisterTimeoutMs = kind === "shutdown" ? deadline.leftMs : this.#options.rpcTimeoutMs;
    const done = drain(connection, {
      reason: { kind },
      deadline,
      unregisterTimeoutMs,
      onUnregistered: (ok) => {
        this.#events.unregistered(ok);
        if (!ok) return;
        this.#logger.info("Unregistered tunnel connection", {
          connIndex,
          event: 0,
          ip: ipOf(connection.edge.remoteAddress),
        });
      },
    }).then(() => {
      if (kind === "replaced") deadline.clear();
      this.#drains.delete(entry);
      this.#events.disconnected(endedInfo(connection), undefined);
    });
    const entry: Drain = { deadline, done };
    this.#drains.add(entry);
  }

  #failureFields({ connIndex, edgeAddress }: Slot, error: Error): LogFields {
    return { connIndex, event: 0, ip: edgeAddress === undefined ? "" : ipOf(edgeAddress), error: error.message };
  }

  #logRetry(slot: Slot, error: Error, plan: RetryPlan): void {
    const fields = this.#failureFields(slot, error);
    if (plan.kind === "restart") {
      const level = this.registeredConnections === 0 ? "error" : "warn";
      this.#logger[level]("Serve tunnel error", { ...fields, retryInMs: Math.round(plan.delayMs) });
      return;
    }
    this.#logger.warn(`Retrying connection in up to ${Math.ceil(plan.upToMs / 1000)}s`, fields);
  }
}

function endedInfo({ edge, connectionId, location }: RegisteredConnection): ConnectionInfo {
  const { connIndex, protocol, remoteAddress } = edge;
  return { connIndex, state: "closed", protocol, edgeAddress: remoteAddress, connectionId, location };
}

function formatAddress({ ip, port, family }: EdgeAddress): string {
  return family === 6 ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function ipOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}
