/** `--edge host:port` entries in place of discovery (wire § 2.4). */
import { isIP } from "node:net";
import type { EdgeAddress } from "../types.ts";
import { type FoundEdge, REGIONS } from "./discovery.ts";
import { EdgeDiscoveryError } from "./errors.ts";
import { within } from "./first-answer.ts";
import { listNames } from "./list-names.ts";
import { type LookUpOptions, SYSTEM_LOOKUP_MS } from "./look-up.ts";
import { type HostAddress, systemResolvers } from "./resolvers.ts";

function splitHostPort(entry: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(entry);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port };
}

/** The address of an entry's host, IPv4 first, as cloudflared has it: `localhost` is ::1 to many resolvers and 127.0.0.1 to most that listen there. */
async function hostAddress(host: string, options: LookUpOptions): Promise<HostAddress | undefined> {
  const family = isIP(host);
  if (family === 4 || family === 6) return { ip: host, family };
  const { onWarning, resolvers = systemResolvers, signal } = options;
  try {
    // By this machine's resolver alone: the name may be nobody else's business.
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
 * The entries' addresses, alternately in two regions. An entry that can't be resolved is skipped with a warning; none left rejects
 * with EdgeDiscoveryError.
 */
export async function resolveStaticEdge(entries: readonly string[], options: LookUpOptions): Promise<FoundEdge> {
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
  const regions: EdgeAddress[][] = Array.from({ length: REGIONS }, () => []);
  resolved.forEach((address, i) => {
    if (address !== undefined) regions[i % REGIONS]?.push(address);
  });
  const found = regions.filter((addresses) => addresses.length > 0);
  if (found.length === 0) throw new EdgeDiscoveryError(`edge: none of ${listNames(entries)} can be resolved`);
  return { regions: found, complete: !resolved.includes(undefined) };
}
