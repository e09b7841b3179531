/**
 * How large a datagram leaves this machine in one piece. RFC 9000 § 14 forbids fragments, but Node.js can't forbid them to a socket:
 * the system cuts what is larger than its network interface carries, and no probe would tell.
 */
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";

/** Headers of IP and UDP. */
const IPV4_HEADERS = 28;
const IPV6_HEADERS = 48;

/** Of Ethernet's 1,500 bytes with room for a tunnel's header, such as PPPoE's. */
const LARGEST_PACKET = 1480;
/** Carried by every path of IPv6 (RFC 8200 § 5), and in practice by every one of IPv4. */
const PACKET_OF_EVERY_PATH = 1280;

export interface LinkSources {
  interfaces(): ReturnType<typeof networkInterfaces>;
  /** The text of the interface's MTU. Throws where there is none to be read. */
  readMtu(interfaceName: string): string;
}

const thisMachine: LinkSources = {
  interfaces: networkInterfaces,
  readMtu: (name) => readFileSync(`/sys/class/net/${name}/mtu`, "utf8"),
};

/** Bytes of the largest datagram that every path of this address's family carries. */
export function datagramOfEveryPath(localAddress: string): number {
  return PACKET_OF_EVERY_PATH - headersOf(localAddress);
}

/** The largest datagram to try on a path that begins at this machine's `localAddress`. Only Linux tells what an interface carries. */
export function largestDatagramToTry(localAddress: string, sources: LinkSources = thisMachine): number {
  const packet = Math.min(LARGEST_PACKET, linkMtu(localAddress, sources) ?? PACKET_OF_EVERY_PATH);
  return packet - headersOf(localAddress);
}

function headersOf(address: string): number {
  return address.includes(":") ? IPV6_HEADERS : IPV4_HEADERS;
}

/** Of the interface with that address; of the narrowest where it stands for all. */
function linkMtu(localAddress: string, sources: LinkSources): number | undefined {
  const all = localAddress === "0.0.0.0" || localAddress === "::";
  const mtus = Object.entries(sources.interfaces())
    .filter(([, addresses]) => addresses?.some(({ address }) => all || address === localAddress))
    .map(([name]) => readMtu(name, sources));
  const narrowest = Math.min(...mtus);
  return narrowest > 0 && narrowest < Number.POSITIVE_INFINITY ? narrowest : undefined;
}

function readMtu(name: string, sources: LinkSources): number {
  try {
    return Number.parseInt(sources.readMtu(name), 10);
  } catch {
    return 0;
  }
}
