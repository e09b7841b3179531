/** The literal address of a private-network stream (wire § 4.6). */
import { addressBytes, addressText, unmapped } from "../protocol/bytes/ip-address.ts";
import { hostPort, type OriginTarget } from "./origin-target.ts";

/** Of `ip:port`, IPv6 in brackets and without a zone; undefined when it is a name or malformed. IPv4 in IPv6 form is IPv4. */
export function literalTarget(destination: string): OriginTarget | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(destination);
  const text = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  const bytes = addressBytes(text);
  if (bytes === undefined || text.includes(":") !== (match?.[1] !== undefined) || port < 1 || port > 65_535) {
    return undefined;
  }
  const plain = unmapped(bytes);
  const host = plain === bytes ? text : addressText(plain);
  return addressTarget(host, port, "warp-routing");
}

/** `host` is an IP or a name, without brackets. */
export function addressTarget(host: string, port: number, service: string): OriginTarget {
  return { address: { kind: "tcp", host, port }, tls: undefined, service, where: hostPort(host, port), host };
}
