/** A tunnel that runs: its connections, its proxy, its health check and its metrics, and their common end. */
import { randomUUID } from "node:crypto";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { OriginReading } from "../health/monitor.ts";
import type { HealthReading } from "../health/server.ts";
import type { TunnelState } from "../health/state.ts";
import { TunnelMetrics } from "../health/tunnel-metrics.ts";
import type { DatagramProxy } from "../proxy/datagrams.ts";
import { isVirtualDnsAddress } from "../proxy/local-resolvers.ts";
import type { Proxy, ProxyOptions } from "../proxy/proxy.ts";
import type { EdgeConnection, EdgeRequest, Ingress, Logger, RequestOutcome } from "../types.ts";
import type { ConnectionInfo, LocalTunnel, TunnelEvents, TunnelRuntime } from "./api.ts";
import { architecture, datagramVersion, featuresOf } from "./client-info.ts";
import type { RegisteredConnection } from "./connection.ts";
import { deferred } from "./deferred.ts";
import { Deadline } from "./drain.ts";
import { serveEdgeCalls } from "./edge-calls.ts";
import { AbortError } from "./errors.ts";
import { watchMachine } from "./machine-watch.ts";
import type { TunnelManagement } from "./management.ts";
import { measured } from "./measured-client.ts";
import { MetricsListener } from "./metrics-listener.ts";
import type { IngressUpdate } from "./orchestrator.ts";
import type { FeaturedDial, IdentitySource, TunnelParts } from "./parts.ts";
import { QuicReturn } from "./quic-return.ts";
import { Supervisor } from "./supervisor.ts";
import { TunnelEmitter } from "./tunnel-emitter.ts";
import { TunnelHealth } from "./tunnel-health.ts";
import { TunnelRules } from "./tunnel-rules.ts";

/** Node's timers can't wait longer. */
const LONGEST_PAUSE_MS = 2 ** 31 - 1;

type Listener<E extends keyof TunnelEvents> = (...args: TunnelEvents[E]) => void;

export class RunningTunnel implements LocalTunnel {
  readonly connectorId = randomUUID();
  readonly #config: TunnelConfig;
  readonly #runtime: TunnelRuntime;
  readonly #parts: TunnelParts;
  readonly #logger: Logger;
  readonly #emitter: TunnelEmitter;
  readonly #metrics: TunnelMetrics;
  readonly #identity: IdentitySource;
  readonly #management: TunnelManagement | undefined;
  readonly #proxy: Proxy;
  readonly #datagrams: DatagramProxy;
  readonly #rules: TunnelRules;
  readonly #supervisor: Supervisor;
  readonly #quicReturn: QuicReturn | undefined;
  readonly #health: TunnelHealth;
  readonly #registered = deferred();
  readonly #finished = deferred();
  readonly #metricsListener: MetricsListener;
  readonly #stopWatching: () => void;
  #quickHostname = "";
  #deadline: Deadline | undefined;

  constructor(config: TunnelConfig, runtime: TunnelRuntime, parts: TunnelParts) {
    const { logger } = parts;
    this.#config = config;
    this.#runtime = runtime;
    this.#parts = parts;
    this.#logger = logger;
    this.#emitter = new TunnelEmitter(logger);
    this.#metrics = new TunnelMetrics(parts.version);
    this.#identity = parts.createIdentity((hostname) => this.#announce(hostname));
    const { connectorId } = this;
    this.#management = parts.createManagement?.({
      connectorId,
      tunnelId: () => this.tunnelId,
      metrics: () => this.#metrics.render(),
    });
    const internal = this.#management?.origin;
    this.#proxy = parts.createProxy({ connectorId, logger, observer: this.#observer(), internal });
    this.#datagrams = this.#createDatagrams();
    this.#rules = this.#createRules();
    this.#supervisor = this.#createSupervisor();
    this.#quicReturn = this.#createQuicReturn();
    this.#health = this.#createHealth();
    this.#metricsListener = this.#createMetricsListener();
    this.#metrics.watch(() => ({
      active: this.#supervisor.activeConnections,
      registered: this.#supervisor.registeredConnections,
      ready: this.#supervisor.readyConnections,
      wanted: this.#supervisor.wantedConnections,
      connections: this.#supervisor.connections,
      state: this.#health.state.state,
      memory: parts.memory,
    }));
    this.#stopWatching = watchMachine({
      connections: this.#supervisor,
      networkInterfaces: parts.networkInterfaces,
      logger,
    });
    runtime.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Called once. */
  start(): void {
    if (this.#runtime.signal?.aborted === true) {
      this.#onAbort();
      return;
    }
    this.#metricsListener.start();
    this.#supervisor.start();
    void this.#parts.records?.refresh();
    this.#health.start();
  }

  get tunnelId(): string | undefined {
    return this.#identity.tunnelId;
  }

  get url(): string | undefined {
    return this.#identity.url;
  }

  get connections(): readonly ConnectionInfo[] {
    return this.#supervisor.connections;
  }

  get state(): TunnelState {
    return this.#health.state.state;
  }

  get metricsUrl(): string | undefined {
    return this.#metricsListener.url;
  }

  get registered(): Promise<void> {
    return this.#registered.promise;
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  on<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): this {
    this.#emitter.on(event, listener);
    return this;
  }

  once<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): this {
    this.#emitter.once(event, listener);
    return this;
  }

  off<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): this {
    this.#emitter.off(event, listener);
    return this;
  }

  reconnect(connIndex?: number, options: { pause?: number } = {}): boolean {
    const { pause = 0 } = options;
    const pauseMs = pause > 0 ? Math.min(pause, LONGEST_PAUSE_MS) : 0;
    if (connIndex !== undefined) return this.#supervisor.replace(connIndex, pauseMs);
    return this.#supervisor.replaceAll(pauseMs);
  }

  get skipsPrechecks(): boolean {
    return this.#parts.records?.skipPrechecks === true;
  }

  updateIngress(ingress: Ingress): IngressUpdate {
    const update = this.#rules.updateLocal(ingress);
    this.#metrics.reloaded(update.result);
    return update;
  }

  reloadFailed(): void {
    this.#metrics.reloaded("failed");
  }

  async close(options: { grace?: number } = {}): Promise<void> {
    const { gracePeriodMs } = this.#config;
    const grace = options.grace !== undefined && options.grace >= 0 ? options.grace : gracePeriodMs;
    this.#end(undefined, grace);
    await this.#finished.promise.catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #onAbort = (): void => {
    this.#end(undefined, this.#config.gracePeriodMs);
  };

  /** The first call begins the end; later ones can only hurry it. */
  #end(error: Error | undefined, graceMs: number): void {
    if (this.#deadline !== undefined) {
      this.#deadline.bringForward(graceMs);
      return;
    }
    this.#deadline = new Deadline(graceMs);
    this.#runtime.signal?.removeEventListener("abort", this.#onAbort);
    this.#registered.reject(error ?? new AbortError(this.#runtime.signal?.reason));
    void this.#finish(error, this.#deadline);
  }

  async #finish(error: Error | undefined, deadline: Deadline): Promise<void> {
    this.#stopWatching();
    // Somebody who follows the log is no request to wait for.
    this.#management?.close();
    this.#quicReturn?.stop();
    this.#health.stop();
    this.#parts.records?.close();
    await this.#supervisor.stop(deadline);
    this.#parts.addresses.close?.();
    deadline.clear();
    // Until here requests are served, and by the newest rules.
    this.#rules.end();
    await this.#proxy.close();
    // To the end: until here `/ready` tells the load balancer to stay away.
    await this.#metricsListener.close();
    this.#emitter.emit("closed", error);
    if (error === undefined) this.#finished.resolve();
    else this.#finished.reject(error);
  }

  #createMetricsListener(): MetricsListener {
    return new MetricsListener({
      config: this.#config.metrics,
      state: {
        connectorId: this.connectorId,
        health: () => this.#healthReading(),
        quickHostname: () => this.#quickHostname,
        configuration: () => this.#rules.running,
        metrics: () => this.#metrics.render(),
        diagnostics: {
          version: this.#parts.version,
          tunnelId: () => this.tunnelId,
          connections: () => this.connections,
          icmpSources: () => [this.#config.icmpv4Src, this.#config.icmpv6Src].filter((source) => source !== undefined),
          settings: this.#config.settings,
        },
      },
      logger: this.#logger,
      onFailure: (error) => this.#end(error, 0),
    });
  }

  #healthReading(): HealthReading {
    const { readyConnections, wantedConnections } = this.#supervisor;
    return { ...this.#health.state, readyConnections, wantedConnections };
  }

  /** Quick tunnels have no private network to ping. */
  #createDatagrams(): DatagramProxy {
    const { icmpv4Src: sourceV4, icmpv6Src: sourceV6, identity } = this.#config;
    const icmp = identity.mode === "quick" ? undefined : { sourceV4, sourceV6 };
    return this.#proxy.createDatagrams({ observer: this.#metrics.datagrams, icmp });
  }

  #createQuicReturn(): QuicReturn | undefined {
    const { protocolChoice: dialer } = this.#parts;
    if (dialer === undefined) return undefined;
    return new QuicReturn({
      dialer,
      connections: () => this.#supervisor.connections,
      replace: (connIndex) => void this.#supervisor.replace(connIndex),
      logger: this.#logger,
    });
  }

  async #dial(attempt: FeaturedDial): Promise<EdgeConnection> {
    const edge = await this.#parts.dial(attempt);
    this.#metrics.quic.opened(edge);
    serveEdgeCalls(edge, {
      datagrams: this.#datagrams,
      version: datagramVersion(attempt.features),
      updateConfiguration: (version, config) => this.#rules.updateText(version, config),
      rpcTimeoutMs: this.#config.rpcTimeoutMs,
      metrics: this.#metrics.rpc,
    });
    return edge;
  }

  #createRules(): TunnelRules {
    return new TunnelRules({
      config: this.#config,
      apply: (ingress) => this.#proxy.update(ingress),
      onApplied: (version, source) => {
        if (source === "remote") this.#metrics.configured(version);
        this.#emitter.emit("configuration", version, source);
      },
      isEnding: () => this.#deadline !== undefined,
      logger: this.#logger,
    });
  }

  #createSupervisor(): Supervisor {
    const { exitOnFailure, haConnections, retries, rpcTimeoutMs, gracePeriodMs } = this.#config;
    return new Supervisor(
      {
        ...this.#parts,
        identity: this.#identity,
        dial: (attempt) => this.#dial(attempt),
        createRegistrationClient: (channel) =>
          measured(this.#parts.createRegistrationClient(channel), this.#metrics.rpc),
      },
      {
        exitOnFailure,
        haConnections,
        retries,
        rpcTimeoutMs,
        gracePeriodMs,
        connectorId: this.connectorId,
        features: (accountTag) => featuresOf(this.#config, this.#parts.records?.usesDatagramV3(accountTag) === true),
        version: this.#parts.version,
        arch: architecture(),
        onRequest: (request, connIndex) => this.#handle(request, connIndex),
      },
      {
        registered: (info, connection) => this.#onRegistered(info, connection),
        disconnected: (info, error) => {
          this.#rules.disconnected(info);
          this.#health.connectionsChanged();
          this.#emitter.emit("disconnected", info, error);
        },
        failed: (_info, failure) => {
          if (failure.kind === "unprepared" || failure.kind === "unreachable") return;
          this.#metrics.connections.registerFailed(failure.kind === "duplicate");
        },
        silence: () => this.#health.connectionsChanged(),
        retrying: (info, delayMs, error) => this.#emitter.emit("retrying", info, delayMs, error),
        gaveUp: (error) => this.#end(error, 0),
      },
      this.#logger,
    );
  }

  #createHealth(): TunnelHealth {
    const { probeUrl } = this.#runtime;
    return new TunnelHealth({
      config: this.#config.healthCheck,
      probe: this.#parts.probe,
      probeUrl: probeUrl === undefined ? undefined : new URL(probeUrl),
      publicUrl: () => this.#identity.url,
      probeOrigins: this.#originProbe(),
      connections: () => ({
        ready: this.#supervisor.readyConnections,
        wanted: this.#supervisor.wantedConnections,
      }),
      restart: () => this.#supervisor.restart(),
      metrics: this.#metrics,
      logger: this.#logger,
      emitter: this.#emitter,
    });
  }

  #originProbe(): ((signal: AbortSignal) => Promise<readonly OriginReading[]>) | undefined {
    const { probeOrigins } = this.#parts;
    if (!this.#config.healthCheck.origins || probeOrigins === undefined) return undefined;
    return (signal) => probeOrigins(this.#rules.ingress.rules, signal);
  }

  #observer(): ProxyOptions["observer"] {
    return {
      started: () => this.#metrics.started(),
      connected: (milliseconds) => this.#metrics.connected(milliseconds),
      finished: (outcome: RequestOutcome) => {
        this.#metrics.finished(outcome);
        this.#health.finished(outcome);
        if (this.#emitter.has("request")) this.#emitter.emit("request", outcome);
      },
    };
  }

  #handle(request: EdgeRequest, connIndex: number): void {
    if (request.kind === "configuration") {
      this.#rules.configure(request);
      return;
    }
    if (request.kind === "tcp") this.#metrics.tcpStarted(isVirtualDnsAddress(request.destination));
    else this.#health.request(request.authority);
    this.#proxy.handle(request, connIndex);
  }

  #onRegistered(info: ConnectionInfo, connection: RegisteredConnection): void {
    this.#metrics.connections.registered(info.connIndex, connection.location);
    this.#rules.registered(info, connection);
    this.#quicReturn?.registered(info);
    this.#emitter.emit("registered", info);
    void this.#metricsListener.registered().then(() => this.#registered.resolve());
    this.#health.registered();
  }

  #announce(hostname: string): void {
    const url = `https://${hostname}`;
    this.#quickHostname = hostname;
    this.#health.urlChanged();
    this.#metrics.hostname(url);
    this.#logger.debug("Quick tunnel created", { url });
    this.#emitter.emit("url", url);
  }
}
