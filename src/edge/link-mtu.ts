/**
 * How large a datagram leaves this machine in one piece. RFC 9000 § 14 forbids fragments, but Node.js can't forbid them to a socket:
 * the system cuts what is larger than its network interface carries, and no probe would tell.
 */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";

/** Of IPv6 in Ethernet's 1500 bytes, with some room for a tunnel's header; cloudflared's own. */
const LARGEST_TRIED = 1452;

const IPV4_AND_UDP_HEADERS = 28;
const IPV6_AND_UDP_HEADERS = 48;

export interface LinkSources {
  interfaces(): ReturnType<typeof networkInterfaces>;
  /** The text of the interface's MTU. Throws where there is none to be read. */
  readMtu(interfaceName: string): string;
}

const thisMachine: LinkSources = {
  interfaces: networkInterfaces,
  readMtu: (name) => readFileSync(`/sys/class/net/${name}/mtu`, "utf8"),
};

/**
 * The largest datagram to try on a path that begins at this machine's `localAddress`; 0 = try none but those that every path carries,
 * because nobody tells what the interface carries (only Linux does).
 */
export function largestDatagramToTry(localAddress: string, sources: LinkSources = thisMachine): number {
  return Math.min(LARGEST_TRIED, largestWholeDatagram(localAddress, sources) ?? 0);
}

function largestWholeDatagram(localAddress: string, sources: LinkSources): number | undefined {
  const named = Object.entries(sources.interfaces());
  const [name] = named.find(([, addresses]) => addresses?.some(({ address }) => address === localAddress)) ?? [];
  if (name === undefined) return undefined;
  try {
    const mtu = Number(sources.readMtu(name));
    const headers = localAddress.includes(":") ? IPV6_AND_UDP_HEADERS : IPV4_AND_UDP_HEADERS;
    return Number.isInteger(mtu) && mtu > headers ? mtu - headers : undefined;
  } catch {
    return undefined;
  }
}
