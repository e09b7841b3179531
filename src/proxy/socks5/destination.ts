/** From what a SOCKS5 client asked for to the addresses that may be dialled. */
import { lookup } from "node:dns/promises";
import { addressBytes } from "../../protocol/bytes/ip-address.ts";
import type { Socks5Destination } from "../../protocol/socks5/server.ts";
import { addressTarget } from "../literal-target.ts";
import { OriginError } from "../origin-errors.ts";
import { hostPort, type OriginTarget } from "../origin-target.ts";
import { IpRulesError } from "./errors.ts";
import type { IpPolicy } from "./ip-policy.ts";

async function addressesOf(host: string): Promise<readonly string[]> {
  if (addressBytes(host) !== undefined) return [host];
  try {
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => address);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "no reason given";
    throw new OriginError("origin-dns", "dns", `the destination ${host} can't be resolved (${code})`, error);
  }
}

/**
 * At least one, in the resolver's order. What is dialled is what the policy has seen: a name is resolved once. Rejects with an
 * IpRulesError or an OriginError.
 */
export async function permittedTargets(
  { host, port }: Socks5Destination,
  policy: IpPolicy,
): Promise<readonly OriginTarget[]> {
  // Names are not looked up for those who may go nowhere.
  const addresses = policy.allowsAnything ? await addressesOf(host) : [];
  const permitted = addresses.filter((address) => policy.allows(address, port));
  if (permitted.length === 0) throw new IpRulesError(hostPort(host, port));
  return permitted.map((address) => addressTarget(address, port, "socks-proxy"));
}
