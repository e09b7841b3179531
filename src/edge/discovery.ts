/** Finding the edge (wire §§ 1.4, 2.1, 2.2, 2.4): SRV records name two regions, their targets' addresses are the edge. */
import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import type { DnsRecord, RecordTypeName } from "../protocol/dns/message.ts";
import type { EdgeAddress } from "../types.ts";
import { queryOverTls } from "./dot.ts";
import { EdgeDiscoveryError } from "./errors.ts";
import { listNames } from "./list-names.ts";

export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly target: string;
}

/** How names are resolved. The defaults ask the system's resolver; tests bring their own. */
export interface Resolvers {
  srv(name: string, signal: AbortSignal): Promise<SrvRecord[]>;
  /** Addresses in the resolver's order. */
  addresses(host: string, signal: AbortSignal): Promise<HostAddress[]>;
  overTls(name: string, type: RecordTypeName, signal: AbortSignal): Promise<DnsRecord[]>;
}

export interface DiscoveryOptions {
  readonly region: string | undefined;
  readonly signal: AbortSignal;
  /** In [0, 1). */
  readonly random: () => number;
  /** Told of what went wrong without being fatal. */
  readonly onWarning: (message: string, error: unknown) => void;
  readonly resolvers?: Resolvers;
}

const SERVICE = "v2-origintunneld._tcp.argotunnel.com";
const REGIONS = 2;
/** For one look-up by the system's resolver: DNS over TLS has its turn before a user gives up on us. */
const SYSTEM_LOOKUP_MS = 10_000;
/** For all of DNS over TLS. */
const OVER_TLS_MS = 15_000;

interface HostAddress {
  readonly ip: string;
  readonly family: 4 | 6;
}

/** SRV through c-ares, which, unlike getaddrinfo, can be told to stop: an abort leaves nothing under way. */
export async function resolveSrv(resolver: Resolver, name: string, signal: AbortSignal): Promise<SrvRecord[]> {
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const records = await resolver.resolveSrv(name);
    return records.map(({ priority, weight, port, name: target }) => ({ priority, weight, port, target }));
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

async function systemAddresses(host: string): Promise<HostAddress[]> {
  const found = await lookup(host, { all: true, order: "verbatim" });
  return found.map(({ address, family }) => ({ ip: address, family: family === 6 ? 6 : 4 }));
}

export const systemResolvers: Resolvers = {
  srv: (name, signal) => resolveSrv(new Resolver({ timeout: 3_000, tries: 2 }), name, signal),
  addresses: systemAddresses,
  overTls: (name, type, signal) => queryOverTls(name, type, { signal }),
};

/** Settles with the look-up, the signal or the time limit, whichever comes first; the last two abort the look-up. */
async function within<T>(
  lookUp: (signal: AbortSignal) => Promise<T>,
  milliseconds: number,
  signal: AbortSignal,
  what: string,
): Promise<T> {
  signal.throwIfAborted();
  const limited = new AbortController();
  const abort = (): void => limited.abort(signal.reason);
  const late = new EdgeDiscoveryError(`${what}: no answer within ${milliseconds / 1_000} s`);
  const timer = setTimeout(() => limited.abort(late), milliseconds);
  signal.addEventListener("abort", abort, { once: true });
  try {
    const aborted = new Promise<never>((_resolve, reject) => {
      limited.signal.addEventListener("abort", () => reject(limited.signal.reason), { once: true });
    });
    // The abort stands first: a look-up that notices it too must not put its own error before the reason.
    return await Promise.race([aborted, lookUp(limited.signal)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** RFC 2782: by priority, and by chance in proportion to the weight among equals. */
export function orderSrv(records: readonly SrvRecord[], random: () => number): SrvRecord[] {
  const ordered: SrvRecord[] = [];
  const priorities = [...new Set(records.map((record) => record.priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    // Those of weight 0 stand first, so that they have a small chance at all.
    const left = records.filter((record) => record.priority === priority).sort((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, record) => sum + record.weight, 0);
      let draw = random() * total;
      const index = left.findIndex((record) => (draw -= record.weight) <= 0);
      ordered.push(...left.splice(Math.max(0, index), 1));
    }
  }
  return ordered;
}

async function lookUpSrv(name: string, resolvers: Resolvers, options: DiscoveryOptions): Promise<SrvRecord[]> {
  const { signal } = options;
  let original: unknown;
  try {
    return await within((limited) => resolvers.srv(name, limited), SYSTEM_LOOKUP_MS, signal, `SRV ${name}`);
  } catch (error) {
    signal.throwIfAborted();
    original = error;
  }
  options.onWarning("The system's resolver did not find the edge; asking 1.1.1.1 over TLS", original);
  try {
    const overTls = (limited: AbortSignal): Promise<DnsRecord[]> => resolvers.overTls(name, "SRV", limited);
    const records = await within(overTls, OVER_TLS_MS, signal, `SRV ${name} over TLS`);
    return records.flatMap((record) => (record.type === "SRV" ? [record] : []));
  } catch (error) {
    signal.throwIfAborted();
    options.onWarning("DNS over TLS did not find the edge either", error);
    // What the user can mend is their own resolver, so its error is the one that is told.
    const reason = original instanceof Error ? original.message : "the look-up failed";
    throw new EdgeDiscoveryError(
      `can't look up the edge (SRV ${name}): ${reason}; is DNS working on this machine${options.region === undefined ? "" : `, and is "${options.region}" a region`}?`,
      { cause: original },
    );
  }
}

async function addressesOverTls(host: string, resolvers: Resolvers, signal: AbortSignal): Promise<HostAddress[]> {
  const ask = (type: "A" | "AAAA"): Promise<DnsRecord[]> =>
    within((limited) => resolvers.overTls(host, type, limited), OVER_TLS_MS, signal, `${type} ${host} over TLS`);
  const answers = await Promise.allSettled([ask("A"), ask("AAAA")]);
  signal.throwIfAborted();
  const records = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  return records.flatMap((record) =>
    record.type === "A" || record.type === "AAAA"
      ? [{ ip: record.address, family: record.type === "A" ? 4 : 6 } as const]
      : [],
  );
}

interface RegionAddresses {
  readonly addresses: readonly EdgeAddress[];
  /** Why the system's resolver gave none. */
  readonly error: unknown;
}

async function regionAddresses(
  srv: SrvRecord,
  resolvers: Resolvers,
  options: DiscoveryOptions,
): Promise<RegionAddresses> {
  const { signal } = options;
  const withPort = (found: readonly HostAddress[]): EdgeAddress[] =>
    found.map(({ ip, family }) => ({ ip, port: srv.port, family }));
  try {
    const look = (limited: AbortSignal): Promise<HostAddress[]> => resolvers.addresses(srv.target, limited);
    return { addresses: withPort(await within(look, SYSTEM_LOOKUP_MS, signal, srv.target)), error: undefined };
  } catch (error) {
    signal.throwIfAborted();
    options.onWarning(`The system's resolver did not find ${srv.target}; asking 1.1.1.1 over TLS`, error);
    return { addresses: withPort(await addressesOverTls(srv.target, resolvers, signal)), error };
  }
}

/**
 * The addresses of the edge, region by region. Rejects with EdgeDiscoveryError, or with the signal's reason. A region whose target
 * has no address is left out with a warning as long as the other has some.
 */
export async function discoverEdge(options: DiscoveryOptions): Promise<EdgeAddress[][]> {
  const resolvers = options.resolvers ?? systemResolvers;
  const name = `_${options.region === undefined ? "" : `${options.region}-`}${SERVICE}`;
  const records = orderSrv(await lookUpSrv(name, resolvers, options), options.random);
  if (records.length < REGIONS) {
    throw new EdgeDiscoveryError(
      `the edge has ${REGIONS} regions, but SRV ${name} names ${records.length}${options.region === undefined ? "" : `; is "${options.region}" a region?`}`,
    );
  }
  const regions = await Promise.all(records.slice(0, REGIONS).map((srv) => regionAddresses(srv, resolvers, options)));
  const found = regions.map(({ addresses }) => [...addresses]).filter((addresses) => addresses.length > 0);
  if (found.length === 0) {
    const targets = records.slice(0, REGIONS).map((srv) => srv.target);
    const cause = regions.find(({ error }) => error !== undefined)?.error;
    throw new EdgeDiscoveryError(
      `the edge's names have no address: ${targets.join(", ")}${cause instanceof Error ? ` (${cause.message})` : ""}`,
      { cause },
    );
  }
  if (found.length < REGIONS) options.onWarning("Only one region of the edge has addresses", undefined);
  return found;
}

function splitHostPort(entry: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(entry);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** The address of a static entry's host, IPv4 first, as cloudflared has it: `localhost` is ::1 to many resolvers and 127.0.0.1 to most that listen there. */
async function hostAddress(
  host: string,
  options: Omit<DiscoveryOptions, "region" | "random">,
): Promise<HostAddress | undefined> {
  const family = isIP(host);
  if (family === 4 || family === 6) return { ip: host, family };
  const { onWarning, resolvers = systemResolvers, signal } = options;
  try {
    const found = await within((limited) => resolvers.addresses(host, limited), SYSTEM_LOOKUP_MS, signal, host);
    const chosen = found.find((address) => address.family === 4) ?? found[0];
    if (chosen === undefined) onWarning(`edge: ${host} has no address`, undefined);
    return chosen;
  } catch (error) {
    signal.throwIfAborted();
    onWarning(`edge: ${host} can't be resolved`, error);
    return undefined;
  }
}

/**
 * `--edge host:port` entries, alternately into two regions. An entry that can't be resolved is skipped with a warning; none left rejects
 * with EdgeDiscoveryError.
 */
export async function resolveStaticEdge(
  entries: readonly string[],
  options: Omit<DiscoveryOptions, "region" | "random">,
): Promise<EdgeAddress[][]> {
  // One entry a connection: most have the same host.
  const hosts = new Map<string, Promise<HostAddress | undefined>>();
  const resolved = await Promise.all(
    entries.map(async (entry): Promise<EdgeAddress | undefined> => {
      const target = splitHostPort(entry);
      if (target === undefined) {
        throw new EdgeDiscoveryError(
          `edge: "${entry}" is not host:port; an IPv6 address stands in brackets, as in [2001:db8::1]:7844`,
        );
      }
      const { host, port } = target;
      const looking = hosts.get(host) ?? hostAddress(host, options);
      hosts.set(host, looking);
      const address = await looking;
      return address === undefined ? undefined : { ...address, port };
    }),
  );
  const regions: EdgeAddress[][] = [[], []];
  resolved.forEach((address, i) => {
    if (address !== undefined) regions[i % REGIONS]?.push(address);
  });
  const found = regions.filter((addresses) => addresses.length > 0);
  if (found.length === 0) throw new EdgeDiscoveryError(`edge: none of ${listNames(entries)} can be resolved`);
  return found;
}
