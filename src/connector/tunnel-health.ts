/** A tunnel's health: its check and its state, with their log lines and events, and whether its public hostname has been seen to lead here. */
import type { HealthCheckConfig } from "../config/tunnel-config.ts";
import { Findings } from "../health/findings.ts";
import { type CheckReport, HealthMonitor, type MonitorOptions } from "../health/monitor.ts";
import type { Probe } from "../health/probe.ts";
import { type StateReading, StateWatch, type TunnelState } from "../health/state.ts";
import type { TunnelMetrics } from "../health/tunnel-metrics.ts";
import type { Logger, RequestOutcome } from "../types.ts";
import { restartDelayMs } from "./backoff.ts";
import { HealthCheckError } from "./errors.ts";
import { ProbeWitness } from "./probe-witness.ts";
import type { TunnelEmitter } from "./tunnel-emitter.ts";

export interface TunnelHealthOptions {
  readonly config: HealthCheckConfig;
  readonly probe: Probe;
  /** In place of the public hostname with the configured path. */
  readonly probeUrl: URL | undefined;
  readonly probeOrigins: MonitorOptions["probeOrigins"];
  /** Public URL of the tunnel where it is known: `https://` and a lower-case host. */
  readonly publicUrl: () => string | undefined;
  /** Registered connections whose edge answers (no other counts as registered here), and how many there are to be. */
  readonly connections: () => { readonly ready: number; readonly wanted: number };
  readonly restart: () => void;
  readonly metrics: Pick<TunnelMetrics, "health">;
  readonly logger: Logger;
  readonly emitter: TunnelEmitter;
}

export class TunnelHealth {
  readonly #options: TunnelHealthOptions;
  readonly #monitor: HealthMonitor;
  readonly #state: StateWatch;
  readonly #witness = new ProbeWitness();
  #ready = false;
  #everRegistered = false;
  #stopped = false;
  /** The log has a line about the state that asks for one when all is well again. */
  #warned = false;
  /** What the last check came to that had a connection, so that only changes are told. */
  #last = "healthy";
  readonly #findings = new Findings();

  constructor(options: TunnelHealthOptions) {
    this.#options = options;
    this.#state = new StateWatch({
      read: () => ({
        everRegistered: this.#everRegistered,
        stopping: this.#stopped,
        ...options.connections(),
        problems: this.#findings.problems,
      }),
      onChange: (reading, previous) => this.#onState(reading, previous),
    });
    this.#monitor = new HealthMonitor({
      config: options.config,
      restartDelayMs,
      isRegistered: () => this.#isRegistered,
      isReady: () => this.#ready,
      probeUrl: () => this.#probeUrl(),
      probe: (url, signal) => {
        this.#witness.watch(url);
        return options.probe(url, signal);
      },
      probeOrigins: options.probeOrigins,
      carried: (since) => this.#witness.sawSince(since),
      onCheck: (report) => this.#onCheck(report),
      onReady: () => this.#onReady(),
      onRestarting: (delayMs, reason) => this.#onRestarting(delayMs, reason),
      onRestart: () => {
        options.metrics.health.restarted();
        options.restart();
      },
    });
  }

  /** As it is now. */
  get state(): StateReading {
    return this.#state.reading;
  }

  start(): void {
    this.#monitor.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#monitor.stop();
    this.#state.update();
  }

  /** A connection has registered. */
  registered(): void {
    this.#everRegistered = true;
    this.#state.update();
    if (!this.#ready) this.#monitor.awaitReady();
  }

  /** A connection is lost, does not answer, or answers again. */
  connectionsChanged(): void {
    if (!this.#isRegistered) this.#findings.lost();
    this.#state.update();
  }

  /** The public URL has changed. */
  urlChanged(): void {
    this.#ready = false;
    this.#findings.moved();
    this.#state.update();
  }

  /** A request comes in; a visitor's is as good a sign as the probe's. */
  request(authority: string): void {
    if (this.#ready) return;
    const host = this.#options.publicUrl()?.slice("https://".length);
    if (host !== undefined && authority.length === host.length && authority.toLowerCase() === host) this.#onReady();
  }

  finished(outcome: RequestOutcome): void {
    this.#witness.note(outcome);
  }

  get #isRegistered(): boolean {
    return this.#options.connections().ready > 0;
  }

  #probeUrl(): URL | undefined {
    const { config, probeUrl, publicUrl } = this.#options;
    if (probeUrl !== undefined) return probeUrl;
    const url = publicUrl();
    return url === undefined ? undefined : new URL(`${url}${config.path}`);
  }

  #onReady(): void {
    if (this.#ready || this.#stopped) return;
    this.#ready = true;
    const { emitter, logger, publicUrl } = this.#options;
    const url = publicUrl() ?? this.#probeUrl()?.origin ?? "";
    logger.info("The public hostname leads to this tunnel", { url });
    emitter.emit("ready", url);
  }

  #onState({ reasons, state }: StateReading, previous: TunnelState): void {
    const { connections, emitter, logger, metrics } = this.#options;
    metrics.health.changed(state);
    const { ready, wanted } = connections();
    const fields = { state, previous, readyConnections: ready, wantedConnections: wanted, reasons };
    switch (state) {
      case "down":
        logger.error("The tunnel is down: no visitor reaches it until a connection registers again", fields);
        this.#warned = true;
        break;
      case "degraded":
        // What the health check finds has lines of its own.
        if (previous === "down" && ready < wanted) {
          logger.info("The tunnel serves again, with fewer connections than it wants", fields);
        } else if (previous === "down") {
          logger.info("The tunnel serves again, but is degraded", fields);
        } else if (this.#findings.problems.length > 0) {
          logger.debug("The tunnel is degraded", fields);
          break;
        } else {
          logger.warn("The tunnel is degraded: it serves, with fewer connections than it wants", fields);
        }
        this.#warned = true;
        break;
      case "ready":
        if (this.#warned) logger.info("The tunnel is ready again", fields);
        else logger.debug("The tunnel is ready", fields);
        this.#warned = false;
        break;
      default:
        logger.debug(`The tunnel is ${state}`, fields);
    }
    emitter.emit("state", { state, previous, reasons });
  }

  #onRestarting(delayMs: number, reason: string): void {
    const { config, emitter, logger } = this.#options;
    logger.warn(
      `Restarting the tunnel in ${Math.round(delayMs / 1000)}s: ${config.maxFailures} health checks in a row failed`,
      { reason },
    );
    emitter.emit("restarting", delayMs, new HealthCheckError(reason));
  }

  #onCheck(report: CheckReport): void {
    const { config, emitter, logger, metrics } = this.#options;
    const { failures, probes, url, verdict } = report;
    const isRegistered = this.#isRegistered;
    metrics.health.checked(verdict.kind, probes);
    this.#findings.checked(report);
    const text = verdict.kind === "healthy" ? verdict.kind : verdict.message;
    const changed = text !== this.#last;
    // That nothing is registered shows by itself, and says nothing of what else was found.
    if (isRegistered) this.#last = text;
    if (verdict.kind === "failed" && failures === undefined) {
      logger.debug("Health check failed; a restart is awaited", { error: verdict.message });
    } else if (verdict.kind === "failed" && failures !== undefined) {
      const { maxFailures } = config;
      const fields = { error: verdict.message, failures: Math.min(failures + 1, maxFailures), maxFailures };
      // The connections' own lines tell that none is registered, and why.
      if (isRegistered) logger.warn("Health check failed", fields);
      else logger.debug("Health check failed", fields);
    } else if (changed && verdict.kind === "healthy") {
      logger.info("Health check passes again");
    } else if (changed && verdict.kind === "degraded") {
      const { message, status } = verdict;
      const hostname = url?.host ?? "";
      if (status === undefined) logger.warn("The tunnel works, but an origin is down", { error: message });
      else logger.warn("The tunnel works, but its public hostname is degraded", { hostname, status, reason: message });
      emitter.emit("degraded", { hostname, status, message });
    }
    this.#state.update();
  }
}
