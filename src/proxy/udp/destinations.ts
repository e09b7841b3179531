/** Where a session's datagrams go: to the address that the edge names, or to this machine's resolvers (ingress § 8.4). */
import { addressTarget } from "../literal-target.ts";
import { isVirtualDns, type LocalResolvers } from "../local-resolvers.ts";
import type { OriginTarget } from "../origin-target.ts";
import type { UdpDestination } from "./origin-socket.ts";

export interface Destinations {
  readonly destinations: readonly UdpDestination[];
  readonly isVirtualDns: boolean;
}

/** `host` is an IP. */
export function destinationsOf(host: string, port: number, resolvers: LocalResolvers): Destinations {
  const target = addressTarget(host, port, "warp-routing");
  if (!isVirtualDns(target)) return { destinations: [{ host, port }], isVirtualDns: false };
  return { destinations: resolvers.targets(performance.now()).flatMap(udpDestination), isVirtualDns: true };
}

function udpDestination({ address }: OriginTarget): UdpDestination[] {
  return address.kind === "tcp" ? [{ host: address.host, port: address.port }] : [];
}
