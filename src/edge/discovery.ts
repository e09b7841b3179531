/** Finding the edge (wire §§ 1.4, 2.1, 2.2): SRV records name two regions, their targets' addresses are the edge. */
import type { EdgeAddress } from "../types.ts";
import { EdgeDiscoveryError } from "./errors.ts";
import { type LookUpOptions, lookUpAddresses, lookUpSrv } from "./look-up.ts";
import type { HostAddress, SrvRecord } from "./resolvers.ts";

export interface DiscoveryOptions extends LookUpOptions {
  readonly region: string | undefined;
  /** In [0, 1). */
  readonly random: () => number;
}

/** What a look-up has given. */
export interface FoundEdge {
  /** At least one address in all. */
  readonly regions: readonly (readonly EdgeAddress[])[];
  /** False where a region, or a static entry, had no address: looking again is worth while. */
  readonly complete: boolean;
}

const SERVICE = "v2-origintunneld._tcp.argotunnel.com";
export const REGIONS = 2;
const EDGE_PORT = 7844;

/** The SRV name of a region's edge. */
export function serviceName(region: string | undefined): string {
  return `_${prefixOf(region)}${SERVICE}`;
}

/** The names that SRV gives today, for networks whose resolver has no SRV records (wire § 13b). */
export function builtInTargets(region: string | undefined): readonly SrvRecord[] {
  return Array.from({ length: REGIONS }, (_, index) => ({
    priority: index + 1,
    weight: 1,
    port: EDGE_PORT,
    target: `${prefixOf(region)}region${index + 1}.v2.argotunnel.com`,
  }));
}

function prefixOf(region: string | undefined): string {
  return region === undefined ? "" : `${region}-`;
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

/**
 * The addresses of the edge, region by region, as its SRV record has them. Rejects with EdgeDiscoveryError, whose cause is what the
 * system's resolver said, or with the signal's reason. One region is enough to go on.
 */
export async function discoverEdge(options: DiscoveryOptions): Promise<FoundEdge> {
  const name = serviceName(options.region);
  const records = usable(orderSrv(await lookUpService(name, options), options.random));
  if (records.length === 0) throw new EdgeDiscoveryError(`SRV ${name} says that there is no edge`);
  return addressesOf(records.slice(0, REGIONS), options);
}

/** A target `.` means that there is no such service (RFC 2782); the same one twice is still one region. */
function usable(records: readonly SrvRecord[]): SrvRecord[] {
  const seen = new Set([""]);
  return records.filter(({ port, target }) => {
    const name = target.toLowerCase().replace(/\.$/, "");
    const isNew = port !== 0 && !seen.has(name);
    if (isNew) seen.add(name);
    return isNew;
  });
}

/** The same by the built-in names. */
export function discoverBuiltIn(options: DiscoveryOptions): Promise<FoundEdge> {
  return addressesOf(builtInTargets(options.region), options);
}

async function lookUpService(name: string, options: DiscoveryOptions): Promise<SrvRecord[]> {
  try {
    return await lookUpSrv(name, options);
  } catch (error) {
    options.signal.throwIfAborted();
    // What the user can mend is their own resolver, so its error is the one that is told.
    const reason = error instanceof Error ? error.message : "the look-up failed";
    const { region } = options;
    throw new EdgeDiscoveryError(
      `can't look up the edge (SRV ${name}): ${reason}; is DNS working on this machine${region === undefined ? "" : `, and is "${region}" a region`}?`,
      { cause: error },
    );
  }
}

interface RegionAddresses {
  readonly addresses: readonly EdgeAddress[];
  /** Why there are none. */
  readonly error: unknown;
}

async function regionAddresses(srv: SrvRecord, options: DiscoveryOptions): Promise<RegionAddresses> {
  const withPort = (found: readonly HostAddress[]): EdgeAddress[] => {
    const unique = new Map(found.map((address) => [address.ip, address]));
    return [...unique.values()].map(({ ip, family }) => ({ ip, port: srv.port, family }));
  };
  try {
    return { addresses: withPort(await lookUpAddresses(srv.target, options)), error: undefined };
  } catch (error) {
    options.signal.throwIfAborted();
    return { addresses: [], error };
  }
}

async function addressesOf(records: readonly SrvRecord[], options: DiscoveryOptions): Promise<FoundEdge> {
  const answers = await Promise.all(records.map((srv) => regionAddresses(srv, options)));
  const regions = answers.map(({ addresses }) => addresses).filter((addresses) => addresses.length > 0);
  if (regions.length === 0) {
    const targets = records.map((srv) => srv.target);
    const cause = answers.find(({ error }) => error !== undefined)?.error;
    throw new EdgeDiscoveryError(
      `the edge's names have no address: ${targets.join(", ")}${cause instanceof Error ? ` (${cause.message})` : ""}`,
      { cause },
    );
  }
  const complete = regions.length === REGIONS;
  if (!complete) {
    const what =
      records.length < REGIONS ? `SRV names only one region of the edge` : `Only one region of the edge has addresses`;
    options.onWarning(`${what}: all connections go there`, undefined);
  }
  return { regions, complete };
}
