/** Which addresses of the edge this machine's network leads to: the families that have a route, and the way of IPv6 alone to IPv4. */
import { isIP } from "node:net";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { Routes } from "../edge/addresses.ts";
import { within } from "../edge/first-answer.ts";
import { IPV4_ONLY_HOST, type Nat64Prefix, nat64Prefixes, withNat64 } from "../edge/nat64.ts";
import { type Resolvers, systemResolvers } from "../edge/resolvers.ts";
import { hasRoute } from "../edge/routes.ts";
import { type Environment, environmentProxy } from "../proxy/environment-proxy.ts";
import type { EdgeAddress, Logger } from "../types.ts";
import { asError } from "./errors.ts";
import { SharedTask } from "./shared-task.ts";

const NAT64_LOOKUP_MS = 3_000;

/** Of the edge's networks, to ask for a family's route where no address of it is known. */
const ANYWHERE: Readonly<Record<4 | 6, EdgeAddress>> = {
  4: { ip: "198.41.192.7", port: 7844, family: 4 },
  6: { ip: "2606:4700:a0::1", port: 7844, family: 6 },
};

type Regions = readonly (readonly EdgeAddress[])[];

export interface EdgeRoutesOptions {
  readonly config: Pick<TunnelConfig, "edge" | "edgeIpVersion" | "edgeBindAddress" | "edgeProxy">;
  readonly logger: Logger;
  readonly resolvers?: Resolvers;
  /** Default: this process's. */
  readonly env?: Environment;
  /** Default: asks the system. */
  readonly hasRoute?: (address: EdgeAddress) => Promise<boolean>;
}

export class EdgeRoutes {
  readonly #options: EdgeRoutesOptions;
  /** Something has failed: until then one family is taken for reachable, which costs the start nothing. */
  #inDoubt = false;
  /** Undefined until they are needed, and in another network. */
  #prefixes: readonly Nat64Prefix[] | undefined;
  readonly #nat64 = new SharedTask((signal) => this.#findNat64(signal));

  constructor(options: EdgeRoutesOptions) {
    this.#options = options;
  }

  /** The regions with what this network makes of their addresses. */
  translate(regions: Regions): Regions {
    return withNat64(regions, this.#prefixes ?? []);
  }

  networkChanged(): void {
    this.#inDoubt = true;
    this.#prefixes = undefined;
  }

  dialFailed(): void {
    this.#inDoubt = true;
  }

  /**
   * The families that lead anywhere; both where neither does, since that may change while a dial is under way. `translated` is
   * called where `translate` has more to say than before.
   */
  async look(regions: Regions, translated: () => void, signal: AbortSignal): Promise<Routes> {
    const { edgeBindAddress, edgeProxy } = this.#options.config;
    const everywhere: Routes = { 4: true, 6: true };
    // A proxy has its own ways.
    if (edgeProxy !== undefined || this.#mayTakeProxy(regions)) return everywhere;
    if (edgeBindAddress !== undefined) {
      const family = isIP(edgeBindAddress);
      return { 4: family !== 6, 6: family !== 4 };
    }
    const all = regions.flat();
    const has = (family: 4 | 6): boolean => all.some((address) => address.family === family);
    if (!has(4) || (!has(6) && !this.#inDoubt)) return everywhere;
    const { hasRoute: isRouted = hasRoute } = this.#options;
    const check = (family: 4 | 6): Promise<boolean> =>
      isRouted(all.find((address) => address.family === family) ?? ANYWHERE[family]);
    const v4 = await check(4);
    this.#inDoubt = !v4;
    if (v4 && !has(6)) return everywhere;
    const v6 = await check(6);
    if (!v4 && v6 && (await this.#needsNat64(regions, signal))) translated();
    return v4 || v6 ? { 4: v4, 6: v6 } : everywhere;
  }

  /** HTTPS_PROXY is the way where no other leads to the edge. */
  #mayTakeProxy(regions: Regions): boolean {
    const { env = process.env } = this.#options;
    const [address = ANYWHERE[4]] = regions.flat();
    return environmentProxy("https", { kind: "tcp", host: address.ip, port: address.port }, env) !== undefined;
  }

  /** On a network with IPv6 alone, IPv4 addresses are reached through its NAT64 where it has one. */
  async #needsNat64(regions: Regions, signal: AbortSignal): Promise<boolean> {
    const { edge, edgeIpVersion } = this.#options.config;
    const isHelpful = regions.some((addresses) => addresses.every(({ family }) => family === 4));
    if (this.#prefixes !== undefined || !isHelpful || (edgeIpVersion === "4" && edge.length === 0)) return false;
    try {
      return await this.#nat64.join(signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#options.logger.debug("No NAT64 was found", { error: asError(error).message });
      return false;
    }
  }

  async #findNat64(signal: AbortSignal): Promise<boolean> {
    const { logger, resolvers = systemResolvers } = this.#options;
    const look = (limited: AbortSignal): Promise<string[]> => resolvers.aaaa(IPV4_ONLY_HOST, limited);
    this.#prefixes = nat64Prefixes(await within(look, NAT64_LOOKUP_MS, signal, IPV4_ONLY_HOST));
    if (this.#prefixes.length === 0) return false;
    logger.info("This network has IPv6 alone: reaching the edge through its NAT64");
    return true;
  }
}
