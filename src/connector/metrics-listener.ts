/** When the metrics server of a tunnel starts, and what becomes of one that can't. */
import type { MetricsConfig } from "../config/tunnel-config.ts";
import { type HealthState, type MetricsServer, startMetricsServer } from "../health/server.ts";
import type { Logger } from "../types.ts";
import { asError } from "./errors.ts";

/** Nobody asked for the default one: it must not hold up the first registration, but tells of one that does not come. */
const DEFAULT_DELAY_MS = 250;

export interface MetricsListenerOptions {
  readonly config: MetricsConfig | undefined;
  readonly state: HealthState;
  readonly logger: Logger;
  /** The address that somebody named can't be listened on. */
  readonly onFailure: (error: Error) => void;
}

export class MetricsListener {
  readonly #options: MetricsListenerOptions;
  #server: Promise<MetricsServer | undefined> = Promise.resolve(undefined);
  #url: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: MetricsListenerOptions) {
    this.#options = options;
  }

  /** Of a server that listens. */
  get url(): string | undefined {
    return this.#url;
  }

  start(): void {
    const { config } = this.#options;
    if (config?.kind === "address") this.#server = this.#start(config);
    else if (config?.kind === "default") this.#timer = setTimeout(() => this.#startDefault(), DEFAULT_DELAY_MS);
  }

  /** The first connection has registered. Resolves when whoever waits for that may be told. */
  async registered(): Promise<void> {
    // Whoever names an address wants one that can't be listened on to be an error.
    if (this.#timer === undefined) await this.#server;
    else this.#startDefault();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const server = await this.#server;
    if (server === undefined) return;
    await server.close();
    this.#options.logger.info("Metrics server stopped");
  }

  #startDefault(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { config } = this.#options;
    if (config !== undefined && !this.#closed) this.#server = this.#start(config);
  }

  async #start(config: MetricsConfig): Promise<MetricsServer | undefined> {
    const { logger, onFailure, state } = this.#options;
    try {
      const server = await startMetricsServer(config, state);
      this.#url = server.url;
      const { host } = new URL(server.url);
      // Who reads it should see that others reach it.
      const shown = config.host === "0.0.0.0" ? host.replace("localhost", config.host) : host;
      logger.info(`Starting metrics server on ${shown}/metrics`);
      return server;
    } catch (error) {
      if (config.kind === "address") onFailure(asError(error));
      else logger.info("There is no metrics server; the tunnel works without", { error: asError(error).message });
      return undefined;
    }
  }
}
