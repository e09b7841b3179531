/** A tunnel's health check with its log lines and events, and whether its public hostname has been seen to lead here. */
import type { HealthCheckConfig } from "../config/tunnel-config.ts";
import { HealthMonitor } from "../health/monitor.ts";
import type { Verdict } from "../health/policy.ts";
import type { Probe } from "../health/probe.ts";
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
  /** Public URL of the tunnel where it is known: `https://` and a lower-case host. */
  readonly publicUrl: () => string | undefined;
  readonly isRegistered: () => boolean;
  readonly restart: () => void;
  readonly metrics: TunnelMetrics;
  readonly logger: Logger;
  readonly emitter: TunnelEmitter;
}

export class TunnelHealth {
  readonly #options: TunnelHealthOptions;
  readonly #monitor: HealthMonitor;
  readonly #witness = new ProbeWitness();
  #ready = false;
  #stopped = false;
  /** What the last check came to, so that only changes are told. */
  #last = "healthy";

  constructor(options: TunnelHealthOptions) {
    this.#options = options;
    this.#monitor = new HealthMonitor({
      config: options.config,
      restartDelayMs,
      isRegistered: options.isRegistered,
      isReady: () => this.#ready,
      probeUrl: () => this.#probeUrl(),
      probe: (url, signal) => {
        this.#witness.watch(url);
        return options.probe(url, signal);
      },
      carried: (since) => this.#witness.sawSince(since),
      onVerdict: (verdict, url, failures) => this.#onVerdict(verdict, url, failures),
      onReady: () => this.#onReady(),
      onRestarting: (delayMs, reason) => this.#onRestarting(delayMs, reason),
      onRestart: () => {
        options.metrics.restarted();
        options.restart();
      },
    });
  }

  start(): void {
    this.#monitor.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#monitor.stop();
  }

  /** A connection has registered. */
  registered(): void {
    if (!this.#ready) this.#monitor.awaitReady();
  }

  /** The public URL has changed. */
  urlChanged(): void {
    this.#ready = false;
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

  #onRestarting(delayMs: number, reason: string): void {
    const { config, emitter, logger } = this.#options;
    logger.warn(
      `Restarting the tunnel in ${Math.round(delayMs / 1000)}s: ${config.maxFailures} health checks in a row failed`,
      { reason },
    );
    emitter.emit("restarting", delayMs, new HealthCheckError(reason));
  }

  #onVerdict(verdict: Verdict, url: URL | undefined, failures: number | undefined): void {
    const { config, emitter, logger, metrics } = this.#options;
    metrics.healthCheck(verdict.kind);
    const text = verdict.kind === "healthy" ? verdict.kind : verdict.message;
    const changed = text !== this.#last;
    this.#last = text;
    if (verdict.kind === "failed" && failures === undefined) {
      logger.debug("Health check failed; a restart is awaited", { error: verdict.message });
    } else if (verdict.kind === "failed" && failures !== undefined) {
      const { maxFailures } = config;
      logger.warn("Health check failed", {
        error: verdict.message,
        failures: Math.min(failures + 1, maxFailures),
        maxFailures,
      });
    } else if (changed && verdict.kind === "healthy") {
      logger.info("Health check passes again");
    } else if (changed && verdict.kind === "degraded") {
      const { message, status } = verdict;
      const hostname = url?.host ?? "";
      logger.warn("The tunnel works, but its public hostname is degraded", { hostname, status });
      emitter.emit("degraded", { hostname, status, message });
    }
  }
}
