/** From what a SOCKS5 client asked for to the addresses that may be dialled. */
import { lookup } from "node:dns/promises";
import { addressBytes } from "../../protocol/bytes/ip-address.ts";
import type { Socks5Destination } from "../../protocol/socks5/server.ts";
import { addressTarget } from "../literal-target.ts";
import { MAX_TIMER_MS } from "../origin-connection.ts";
import { connectTimeout, OriginError } from "../origin-errors.ts";
import { hostPort, type OriginTarget } from "../origin-target.ts";
import { IpRulesError } from "./errors.ts";
import type { IpPolicy } from "./ip-policy.ts";

/** The system's resolver takes as long as it likes, and can't be stopped. 0 = no limit. */
async function within<T>(milliseconds: number, work: Promise<T>, late: () => OriginError): Promise<T> {
  if (milliseconds <= 0) return work;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), Math.min(milliseconds, MAX_TIMER_MS));
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

async function addressesOf({ host, port }: Socks5Destination, connectTimeoutMs: number): Promise<readonly string[]> {
  if (addressBytes(host) !== undefined) return [host];
  try {
    const late = (): OriginError => connectTimeout(hostPort(host, port), connectTimeoutMs, "dns");
    const found = await within(connectTimeoutMs, lookup(host, { all: true }), late);
    return found.map(({ address }) => address);
  } catch (error) {
    if (error instanceof OriginError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "no reason given";
    throw new OriginError("origin-dns", "dns", `the destination ${host} can't be resolved (${code})`, error);
  }
}

/**
 * At least one, in the resolver's order. What is dialled is what the policy has seen: a name is resolved once. Rejects with an
 * IpRulesError or an OriginError.
 */
export async function permittedTargets(
  destination: Socks5Destination,
  policy: IpPolicy,
  connectTimeoutMs: number,
): Promise<readonly OriginTarget[]> {
  const { host, port } = destination;
  // Names are not looked up for those who may go nowhere.
  const addresses = policy.allowsAnything ? await addressesOf(destination, connectTimeoutMs) : [];
  const permitted = addresses.filter((address) => policy.allows(address, port));
  if (permitted.length === 0) throw new IpRulesError(hostPort(host, port));
  return permitted.map((address) => addressTarget(address, port, "socks-proxy"));
}
