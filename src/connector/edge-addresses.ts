/**
 * The addresses of the edge for a tunnel's connections: looked up when first needed, and then again every hour. Where that fails, by
 * DNS over TLS too, the last good ones serve, of this process or on disk, and then those of the built-in names.
 */
import { isIP } from "node:net";
import { type AddressPool, createAddressPool, type Routes } from "../edge/addresses.ts";
import { type DiscoveryOptions, discoverBuiltIn, discoverEdge, type FoundEdge } from "../edge/discovery.ts";
import { type Ask, firstAnswer } from "../edge/first-answer.ts";
import { resolveStaticEdge } from "../edge/static-edge.ts";
import type { EdgeAddress, LogFields } from "../types.ts";
import { EdgeRoutes, type EdgeRoutesOptions } from "./edge-routes.ts";
import { asError } from "./errors.ts";
import type { LastGoodAddresses } from "./last-good-addresses.ts";
import { OutageLog } from "./outage-log.ts";
import type { AddressSource, Rotation } from "./parts.ts";
import { RefreshTimer } from "./refresh-timer.ts";
import { SharedTask } from "./shared-task.ts";

/** A resolver that has no SRV records may answer that with silence, and a firewall DNS over TLS. */
const BUILT_IN_AFTER_MS = 6_000;
/** So many failed dials since the last look-up, or as many as there are addresses, tell that these are not the right ones. */
const FAILURES_OF_ALL = 8;
/** The last look-up is so old: this machine may be in another network by now. */
const REFRESH_AFTER_FAILURES_MS = 60_000;
/** The same, where nobody has registered at the addresses that it gave: they may never have been the edge's. */
const REFRESH_UNPROVEN_MS = 10_000;
/** From then on somebody who waits for the tunnel should know what it waits for. */
const SLOW_LOOK_UP_MS = 5_000;
/** Addresses on disk are used where a look-up takes longer; it goes on beside. */
const LOOK_UP_PATIENCE_MS = 3_000;

export interface EdgeAddressesOptions extends EdgeRoutesOptions {
  readonly region: string | undefined;
  readonly random: () => number;
  /** Addresses on disk, where there is a place for them. */
  readonly lastGood?: LastGoodAddresses | undefined;
}

interface Current {
  readonly pool: AddressPool;
  readonly found: FoundEdge;
  readonly at: number;
}

interface Warning {
  readonly message: string;
  readonly error: unknown;
}

export class EdgeAddresses implements AddressSource {
  onMore: () => void = () => {};
  readonly #options: EdgeAddressesOptions;
  readonly #isStatic: boolean;
  /** Literal addresses don't change. */
  readonly #isLiteral: boolean;
  readonly #outage: OutageLog;
  readonly #timer: RefreshTimer;
  readonly #routes: EdgeRoutes;
  readonly #closing = new AbortController();
  /** One look-up at a time, however many connections want it. */
  readonly #discovery = new SharedTask((signal) => this.#lookUp(signal));
  #current: Current | undefined;
  #dialFailures = 0;
  /** A connection has registered at one of the addresses. */
  #isProven = false;
  /** That a look-up takes long was told, and none has succeeded since. */
  #isSlowTold = false;
  #lastRoutes: Routes | undefined;
  #told: ReadonlySet<string> = new Set();

  constructor(options: EdgeAddressesOptions) {
    this.#options = options;
    const { edge } = options.config;
    this.#isStatic = edge.length > 0;
    this.#isLiteral =
      this.#isStatic && edge.every((entry) => isIP(entry.replace(/:\d+$/, "").replace(/^\[|\]$/g, "")) !== 0);
    this.#routes = new EdgeRoutes(options);
    this.#outage = new OutageLog(options.logger, "The edge was found again");
    this.#timer = new RefreshTimer({ random: options.random, refresh: () => void this.#refresh() });
  }

  get size(): number {
    return this.#current?.pool.size(this.#lastRoutes) ?? 0;
  }

  async assign(connIndex: number, signal: AbortSignal): Promise<EdgeAddress> {
    if (this.#current === undefined) await this.#discover(signal);
    else if (this.#isStale(this.#current)) void this.#refresh();
    const { regions } = this.#known.found;
    const routes = await this.#routes.look(regions, () => this.#translate(), signal);
    signal.throwIfAborted();
    this.#lastRoutes = routes;
    return this.#known.pool.assign(connIndex, performance.now(), routes);
  }

  rotate(connIndex: number, why: Rotation): void {
    const connectivityError = why === "unreachable";
    if (connectivityError) {
      this.#dialFailures++;
      this.#routes.dialFailed();
    }
    const otherRegion = why === "duplicate" || why === "silent";
    this.#current?.pool.rotate(connIndex, { connectivityError, otherRegion }, performance.now());
  }

  registered(): void {
    if (this.#isProven || this.#current === undefined) return;
    this.#isProven = true;
    // Not before: whatever intercepts DNS would take the place of what was good.
    if (!this.#isStatic) void this.#options.lastGood?.write(this.#current.found.regions);
  }

  networkChanged(): void {
    if (this.#current === undefined) return;
    this.#current.pool.forgetFailures();
    this.#routes.networkChanged();
    this.#translate();
    if (!this.#isLiteral) void this.#refresh();
  }

  close(): void {
    this.#timer.stop();
    this.#closing.abort(new Error("the tunnel has ended"));
  }

  get #known(): Current {
    if (this.#current === undefined) throw new Error("the edge is not discovered yet");
    return this.#current;
  }

  /** Whatever comes first: a look-up that succeeds, or, where it takes its time, addresses on disk. */
  async #discover(signal: AbortSignal): Promise<void> {
    const looking = this.#discovery.join(signal);
    const { lastGood } = this.#options;
    if (lastGood === undefined) return await looking;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), LOOK_UP_PATIENCE_MS);
    });
    try {
      if ((await Promise.race([looking, patience])) === "late") {
        const late = new Error(`no answer within ${LOOK_UP_PATIENCE_MS / 1_000} s`);
        // The look-up settles this where there is nothing on disk.
        if (!(await this.#useLastGood(late))) await looking;
        else looking.catch(() => {});
      }
    } finally {
      clearTimeout(timer);
    }
  }

  get #allFail(): boolean {
    return this.#dialFailures >= Math.min(this.size, FAILURES_OF_ALL);
  }

  #isStale({ at }: Current): boolean {
    if (this.#isLiteral) return false;
    const patience = this.#isProven ? REFRESH_AFTER_FAILURES_MS : REFRESH_UNPROVEN_MS;
    return this.#allFail && performance.now() - at > patience;
  }

  /** Never rejects. */
  async #refresh(): Promise<void> {
    const { signal } = this.#closing;
    try {
      await this.#discovery.join(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#options.logger.debug("Looking up the edge again failed", { error: asError(error).message });
      this.#timer.looked(false);
    }
  }

  /** Adopts what it finds. Rejects where nothing was found; the addresses in use stay. */
  async #lookUp(signal: AbortSignal): Promise<void> {
    const warnings: Warning[] = [];
    const { random, region, resolvers } = this.#options;
    const options: DiscoveryOptions = {
      signal,
      random,
      region,
      onWarning: (message, error) => warnings.push({ message, error }),
      ...(resolvers === undefined ? {} : { resolvers }),
    };
    const slow =
      this.#current === undefined && !this.#isSlowTold
        ? setTimeout(() => this.#tellSlow(), SLOW_LOOK_UP_MS)
        : undefined;
    try {
      this.#adopt(await this.#find(options));
      this.#tell(warnings);
      this.#outage.worked(performance.now());
    } catch (error) {
      if (signal.aborted) throw error;
      for (const warning of warnings) this.#log("debug", warning);
      if (this.#current === undefined && (await this.#useLastGood(asError(error)))) return;
      if (this.#current === undefined) {
        this.#fail("The edge can't be found; trying again until it can", { error: asError(error).message });
      }
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }

  #tellSlow(): void {
    // Those on disk serve meanwhile.
    if (this.#current !== undefined) return;
    this.#isSlowTold = true;
    this.#options.logger.info("Looking up the edge takes long: DNS does not answer");
  }

  async #find(options: DiscoveryOptions): Promise<FoundEdge> {
    if (this.#isStatic) return await resolveStaticEdge(this.#options.config.edge, options);
    // The last good ones come first, as long as they don't all fail.
    const current = this.#current;
    const hasLastGood = current === undefined ? (await this.#options.lastGood?.read()) !== undefined : !this.#allFail;
    if (hasLastGood) return await discoverEdge(options);
    const builtIn: Ask<FoundEdge> = async (signal) => {
      const found = await discoverBuiltIn({ ...options, signal });
      options.onWarning("The edge was found by its built-in names alone", undefined);
      return found;
    };
    try {
      return await firstAnswer(
        [(signal) => discoverEdge({ ...options, signal }), builtIn],
        BUILT_IN_AFTER_MS,
        options.signal,
      );
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    }
  }

  #adopt(found: FoundEdge): void {
    const { config, random } = this.#options;
    const regions = this.#routes.translate(found.regions);
    const before = this.#current;
    // Connections keep their addresses where these are still there.
    const sizeBefore = before === undefined ? undefined : this.size;
    const isNew = before === undefined || keyOf(found.regions) !== keyOf(before.found.regions);
    const pool = before?.pool ?? createAddressPool(regions, this.#isStatic ? "auto" : config.edgeIpVersion, random);
    if (before !== undefined && isNew) pool.update(regions);
    this.#dialFailures = 0;
    this.#current = { pool, found, at: performance.now() };
    if (!this.#isLiteral) this.#timer.looked(found.complete);
    if (isNew) this.#isProven = false;
    this.#isSlowTold = false;
    if (sizeBefore !== undefined && this.size > sizeBefore) this.onMore();
  }

  /** False where there are none. */
  async #useLastGood(error: Error): Promise<boolean> {
    const found = await this.#options.lastGood?.read();
    if (this.#current !== undefined) return true;
    const pool = found === undefined ? undefined : this.#tryPool(found.regions);
    if (found === undefined || pool === undefined) return false;
    const { regions, savedAt } = found;
    this.#current = { pool, found: { regions, complete: false }, at: performance.now() };
    this.#timer.looked(false);
    this.#fail("The edge can't be looked up: using the addresses that were good last", {
      error: error.message,
      savedAt,
    });
    return true;
  }

  #tryPool(regions: FoundEdge["regions"]): AddressPool | undefined {
    try {
      return createAddressPool(regions, this.#options.config.edgeIpVersion, this.#options.random);
    } catch {
      // None of the family that is wanted.
      return undefined;
    }
  }

  #translate(): void {
    const { found, pool } = this.#known;
    pool.update(this.#routes.translate(found.regions));
  }

  #fail(message: string, fields: LogFields): void {
    this.#outage.failed(message, fields, performance.now());
  }

  /** What goes wrong every hour is told once. */
  #tell(warnings: readonly Warning[]): void {
    for (const warning of warnings) this.#log(this.#told.has(warning.message) ? "debug" : "warn", warning);
    this.#told = new Set(warnings.map(({ message }) => message));
  }

  #log(level: "debug" | "warn", { error, message }: Warning): void {
    this.#options.logger[level](message, error === undefined ? {} : { error: asError(error).message });
  }
}

function keyOf(regions: readonly (readonly EdgeAddress[])[]): string {
  return regions
    .flat()
    .map(({ ip, port }) => `${ip} ${port}`)
    .sort()
    .join();
}
