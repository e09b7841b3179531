/**
 * The header of the PROXY protocol (HAProxy's proxy-protocol.txt), versions 1 and 2, which stands before the first byte of a
 * connection and says whose it is.
 *
 *   v1   PROXY SP (TCP4 | TCP6) SP source SP destination SP source port SP destination port CRLF
 *        PROXY SP UNKNOWN CRLF
 *
 *   v2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A   signature
 *        21 = version 2, PROXY; 20 = version 2, LOCAL
 *        11 = TCP over IPv4, 21 = TCP over IPv6, 00 = unspecified
 *        length of what follows, 16 bits
 *        source address, destination address: 4 or 16 bytes each; source port, destination port: 16 bits each
 */
import { addressBytes, addressText } from "../bytes/ip-address.ts";

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const VERSION_2_LOCAL = 0x20;
const VERSION_2_PROXY = 0x21;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;

export interface ProxyEndpoint {
  /** An IP. */
  readonly address: string;
  /** 0 where it is not known. */
  readonly port: number;
}

/** Both of one family, as the header wants it: where they differ, the IPv4 one takes its IPv6 form. */
function sameFamily(source: Buffer, destination: Buffer): [Buffer, Buffer] {
  if (source.length === destination.length) return [source, destination];
  return [asIpv6(source), asIpv6(destination)];
}

function asIpv6(bytes: Buffer): Buffer {
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes]);
}

/** Without a source that is an IP, the header says that the visitor's address is unknown. */
export function encodeProxyHeader(
  version: "v1" | "v2",
  source: ProxyEndpoint | undefined,
  destination: ProxyEndpoint,
): Buffer {
  const from = source === undefined ? undefined : addressBytes(source.address);
  const to = addressBytes(destination.address);
  if (source === undefined || from === undefined || to === undefined) {
    return version === "v1"
      ? Buffer.from("PROXY UNKNOWN\r\n", "latin1")
      : versionTwo(VERSION_2_LOCAL, 0, Buffer.alloc(0));
  }
  const [sourceBytes, destinationBytes] = sameFamily(from, to);
  const isIpv4 = sourceBytes.length === 4;
  if (version === "v1") {
    const addresses = `${addressText(sourceBytes)} ${addressText(destinationBytes)}`;
    return Buffer.from(
      `PROXY ${isIpv4 ? "TCP4" : "TCP6"} ${addresses} ${source.port} ${destination.port}\r\n`,
      "latin1",
    );
  }
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  const endpoints = Buffer.concat([sourceBytes, destinationBytes, ports]);
  return versionTwo(VERSION_2_PROXY, isIpv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6, endpoints);
}

function versionTwo(versionAndCommand: number, family: number, endpoints: Buffer): Buffer {
  const header = Buffer.from([versionAndCommand, family, 0, 0]);
  header.writeUInt16BE(endpoints.length, 2);
  return Buffer.concat([SIGNATURE, header, endpoints]);
}
