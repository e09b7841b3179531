/** A tunnel that runs: its connections, its proxy, its health check and its metrics, and their common end. */
import { randomUUID } from "node:crypto";
import { readRegularFile } from "../config/files.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { Probe } from "../health/probe.ts";
import type { OriginReading } from "../health/monitor.ts";
import type { HealthReading } from "../health/server.ts";
import type { TunnelState } from "../health/state.ts";
import { TunnelMetrics } from "../health/tunnel-metrics.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import type { DatagramProxy } from "../proxy/datagrams.ts";
import { isVirtualDnsAddress } from "../proxy/local-resolvers.ts";
import type { Proxy, ProxyOptions } from "../proxy/proxy.ts";
import type {
  ConfigurationUpdate,
  EdgeConnection,
  EdgeRequest,
  Ingress,
  IngressRule,
  Logger,
  RequestOutcome,
} from "../types.ts";
import type { ConnectionInfo, LocalTunnel, TunnelEvents, TunnelRuntime } from "./api.ts";
import { architecture, datagramVersion, featuresOf } from "./client-info.ts";
import { watchClock } from "./clock-watch.ts";
import { ConfigurationPush } from "./configuration-push.ts";
import type { RegisteredConnection } from "./connection.ts";
import { deferred } from "./deferred.ts";
import { Deadline } from "./drain.ts";
import { serveEdgeCalls } from "./edge-calls.ts";
import type { EdgeRecords } from "./edge-records.ts";
import { AbortError } from "./errors.ts";
import { runningConfiguration } from "./local-configuration.ts";
import { measured } from "./measured-client.ts";
import { MetricsListener } from "./metrics-listener.ts";
import { type Interfaces, type NetworkChange, watchNetwork } from "./network-watch.ts";
import { type IngressUpdate, Orchestrator } from "./orchestrator.ts";
import type { ConnectorParts, FeaturedDial, IdentitySource } from "./parts.ts";
import type { ProtocolDialer } from "./protocol-dialer.ts";
import { QuicReturn } from "./quic-return.ts";
import { Supervisor } from "./supervisor.ts";
import { TunnelEmitter } from "./tunnel-emitter.ts";
import { TunnelHealth } from "./tunnel-health.ts";

export interface TunnelParts extends Omit<ConnectorParts, "identity"> {
  readonly version: string;
  readonly logger: Logger;
  readonly probe: Probe;
  /** Looks at the rules' origins. Never rejects. */
  readonly probeOrigins?: (rules: readonly IngressRule[], signal: AbortSignal) => Promise<readonly OriginReading[]>;
  /** What streams hold. */
  readonly memory?: MemoryBudget;
  /** Where connections may take QUIC or HTTP/2. */
  readonly protocolChoice: ProtocolDialer | undefined;
  /** What Cloudflare's TXT records say, where they are about the edge that is used. */
  readonly records?: EdgeRecords | undefined;
  /** Default: this machine's. */
  readonly networkInterfaces?: () => Interfaces;
  /** `announce` is called with each public hostname that a quick tunnel gets. */
  createIdentity(announce: (hostname: string) => void): IdentitySource;
  createProxy(options: Pick<ProxyOptions, "connectorId" | "observer" | "logger">): Proxy;
}

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
  readonly #proxy: Proxy;
  readonly #datagrams: DatagramProxy;
  readonly #orchestrator: Orchestrator;
  readonly #supervisor: Supervisor;
  readonly #quicReturn: QuicReturn | undefined;
  readonly #health: TunnelHealth;
  readonly #registered = deferred();
  readonly #finished = deferred();
  readonly #configuration: ConfigurationPush;
  readonly #metricsListener: MetricsListener;
  readonly #stopWatches: readonly (() => void)[];
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
    this.#proxy = parts.createProxy({ connectorId: this.connectorId, logger, observer: this.#observer() });
    this.#datagrams = this.#createDatagrams();
    this.#orchestrator = this.#createOrchestrator();
    this.#configuration = this.#createConfigurationPush();
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
    this.#stopWatches = [
      watchClock((frozenMs) => this.#thawed(frozenMs)),
      watchNetwork((change) => this.#networkChanged(change), parts.networkInterfaces),
    ];
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
    const update = this.#orchestrator.updateLocal(ingress);
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
    for (const stop of this.#stopWatches) stop();
    this.#quicReturn?.stop();
    this.#health.stop();
    this.#parts.records?.close();
    await this.#supervisor.stop(deadline);
    this.#parts.addresses.close?.();
    deadline.clear();
    // Until here requests are served, and by the newest rules.
    this.#orchestrator.end();
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
        configuration: () => runningConfiguration(this.#orchestrator),
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
      updateConfiguration: (version, config) => this.#orchestrator.updateText(version, config),
      rpcTimeoutMs: this.#config.rpcTimeoutMs,
      metrics: this.#metrics.rpc,
    });
    return edge;
  }

  #createConfigurationPush(): ConfigurationPush {
    const { flags, rpcTimeoutMs } = this.#config;
    return new ConfigurationPush({
      flags,
      rpcTimeoutMs,
      ingress: () => this.#orchestrator.ingress,
      isEnding: () => this.#deadline !== undefined,
      logger: this.#logger,
    });
  }

  #createOrchestrator(): Orchestrator {
    const { handlers, ingress, maxActiveFlows } = this.#config;
    return new Orchestrator({
      ingress,
      // The keys of Cloudflare's configuration name files of this machine.
      context: { handlers, readFile: (path) => readRegularFile(path, "") },
      maxActiveFlows,
      apply: (rules) => this.#proxy.update(rules),
      onApplied: (version, source) => this.#onConfiguration(version, source),
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
          this.#configuration.disconnected(info);
          this.#health.connectionsChanged();
          this.#emitter.emit("disconnected", info, error);
        },
        failed: (_info, failure) => {
          if (failure.kind === "unprepared" || failure.kind === "unreachable") return;
          this.#metrics.connections.registerFailed(failure.kind === "duplicate");
        },
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
      isRegistered: () => this.#supervisor.registeredConnections > 0,
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
    return (signal) => probeOrigins(this.#orchestrator.ingress.rules, signal);
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
      this.#configure(request);
      return;
    }
    if (request.kind === "tcp") this.#metrics.tcpStarted(isVirtualDnsAddress(request.destination));
    else this.#health.request(request.authority);
    this.#proxy.handle(request, connIndex);
  }

  #configure(update: ConfigurationUpdate): void {
    const { error, lastAppliedVersion } = this.#orchestrator.update(update.version, update.config);
    update.reply(lastAppliedVersion, error);
  }

  #onConfiguration(version: number, source: "local" | "remote"): void {
    if (source === "remote") this.#metrics.configured(version);
    else this.#configuration.changed();
    this.#emitter.emit("configuration", version, source);
  }

  #onRegistered(info: ConnectionInfo, connection: RegisteredConnection): void {
    this.#metrics.connections.registered(info.connIndex, connection.location);
    this.#configuration.registered(info, connection);
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

  #thawed(frozenMs: number): void {
    if (this.#deadline !== undefined) return;
    this.#logger.info(`This process stood still for ${Math.round(frozenMs / 1000)}s: opening new connections`);
    this.#supervisor.thawed();
  }

  #networkChanged(change: NetworkChange): void {
    const { appeared, disappeared } = change;
    this.#logger.debug("This machine's addresses have changed: looking after the connections", {
      appeared,
      disappeared,
    });
    this.#supervisor.networkChanged(change);
  }
}
