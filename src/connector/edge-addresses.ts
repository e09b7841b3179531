/** The addresses of the edge for a tunnel's connections: discovered when first needed, and looked up anew now and then. */
import { isIP } from "node:net";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { type AddressPool, createAddressPool } from "../edge/addresses.ts";
import { type DiscoveryOptions, discoverEdge, resolveStaticEdge } from "../edge/discovery.ts";
import type { EdgeAddress, Logger } from "../types.ts";
import { asError } from "./errors.ts";
import type { AddressSource, Rotation } from "./parts.ts";
import { SharedTask } from "./shared-task.ts";

/** A pool older than this is looked up anew, beside the next attempt to connect: no registration waits for it. */
const REFRESH_AFTER_MS = 3_600_000;
/** Sooner when as many dials failed as there are addresses: this machine may be in another network by now. */
const REFRESH_AFTER_FAILURES_MS = 60_000;

export interface EdgeAddressesOptions {
  readonly config: Pick<TunnelConfig, "edge" | "edgeIpVersion">;
  readonly region: string | undefined;
  readonly random: () => number;
  readonly logger: Logger;
  readonly resolvers?: NonNullable<DiscoveryOptions["resolvers"]>;
}

interface Discovered {
  readonly pool: AddressPool;
  /** The addresses, to see whether they have changed. */
  readonly key: string;
  readonly at: number;
}

export class EdgeAddresses implements AddressSource {
  readonly #options: EdgeAddressesOptions;
  #current: Discovered | undefined;
  /** One look-up at a time, however many connections want it. */
  readonly #discovery = new SharedTask((signal) => this.#lookUp(signal));
  #dialFailures = 0;
  /** Each retry tells of itself; what is behind it has been told once, until a look-up succeeds again. */
  #lastFailed = false;

  constructor(options: EdgeAddressesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#current?.pool.size ?? 0;
  }

  async assign(connIndex: number, signal: AbortSignal): Promise<EdgeAddress> {
    if (this.#current === undefined) await this.#discovery.join(signal);
    else if (this.#isStale(this.#current)) this.#refresh(signal);
    signal.throwIfAborted();
    return this.#pool.assign(connIndex, performance.now());
  }

  rotate(connIndex: number, why: Rotation): void {
    const connectivityError = why === "unreachable";
    if (connectivityError) this.#dialFailures++;
    const otherRegion = why === "duplicate";
    this.#current?.pool.rotate(connIndex, { connectivityError, otherRegion }, performance.now());
  }

  get #pool(): AddressPool {
    if (this.#current === undefined) throw new Error("the edge is not discovered yet");
    return this.#current.pool;
  }

  #isStale({ at, pool }: Discovered): boolean {
    // Literal addresses don't change.
    const { edge } = this.#options.config;
    if (edge.length > 0 && edge.every((entry) => isIP(entry.replace(/:\d+$/, "").replace(/^\[|\]$/g, "")) !== 0)) {
      return false;
    }
    const age = performance.now() - at;
    return age > REFRESH_AFTER_MS || (age > REFRESH_AFTER_FAILURES_MS && this.#dialFailures >= pool.size);
  }

  #refresh(signal: AbortSignal): void {
    this.#discovery.join(signal).catch((error: unknown) => {
      if (!signal.aborted) {
        this.#options.logger.debug("Looking up the edge again failed", { error: asError(error).message });
      }
    });
  }

  async #lookUp(signal: AbortSignal): Promise<Discovered> {
    const { config, logger, random, region, resolvers } = this.#options;
    const options = {
      signal,
      random,
      onWarning: (message: string, error: unknown) =>
        logger[this.#lastFailed ? "debug" : "warn"](
          message,
          error === undefined ? {} : { error: asError(error).message },
        ),
      ...(resolvers === undefined ? {} : { resolvers }),
    };
    const isStatic = config.edge.length > 0;
    let regions: EdgeAddress[][];
    try {
      regions = await (isStatic ? resolveStaticEdge(config.edge, options) : discoverEdge({ ...options, region }));
      this.#lastFailed = false;
    } catch (error) {
      this.#lastFailed = true;
      throw error;
    }
    const key = regions
      .flat()
      .map(({ ip, port }) => `${ip} ${port}`)
      .sort()
      .join();
    this.#dialFailures = 0;
    // Connections keep their addresses where these have not changed.
    const pool =
      this.#current?.key === key
        ? this.#current.pool
        : createAddressPool(regions, isStatic ? "auto" : config.edgeIpVersion, random);
    this.#current = { pool, key, at: performance.now() };
    return this.#current;
  }
}
