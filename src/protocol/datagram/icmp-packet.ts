/**
 * IP packets with ICMP in them, whole as the edge sends them (wire § 8).
 *
 *     IPv4 (RFC 791)                                       IPv6 (RFC 8200 § 3)
 *      0  version 4 │ header words │ TOS │ total length     0  version 6 │ class │ flow label
 *      4  identification │ flags, fragment offset           4  payload length │ next header │ hop limit
 *      8  TTL │ protocol │ header checksum                  8  source (16)
 *     12  source (4)                                       24  destination (16)
 *     16  destination (4), options
 *
 *     ICMP (RFC 792), ICMPv6 (RFC 4443 § 2.1)
 *      0  type │ code │ checksum
 *      4  echo: identifier │ sequence number; time exceeded: 0
 *      8  echo: data; time exceeded: the beginning of the packet that it is about
 *
 * Checksums of what comes in are not looked at: QUIC has made sure of the bytes, and cloudflared does not look either.
 */
import { checksumAdd, checksumOf } from "./checksum.ts";
import { DatagramError } from "./errors.ts";
import { MAX_QUOTED_BYTES_V4, MAX_QUOTED_BYTES_V6 } from "./limits.ts";

const IPV4_HEADER_BYTES = 20;
const IPV6_HEADER_BYTES = 40;
const ICMP_HEADER_BYTES = 8;

const PROTOCOL_ICMP = 1;
const PROTOCOL_ICMPV6 = 58;

/** More fragments, and the offset of this one: whatever is not 0 here is no whole packet. */
const FRAGMENT_MASK = 0x3fff;

/** Of what the connector sends itself. */
const DEFAULT_TTL = 255;

type IpFamily = 4 | 6;

interface IcmpTypes {
  readonly echoRequest: number;
  readonly echoReply: number;
  readonly timeExceeded: number;
}

export const IcmpType: Readonly<Record<IpFamily, IcmpTypes>> = {
  4: { echoRequest: 8, echoReply: 0, timeExceeded: 11 },
  6: { echoRequest: 128, echoReply: 129, timeExceeded: 3 },
};

/** The parts are views on the packet. */
export interface IcmpPacket {
  readonly family: IpFamily;
  /** Four or sixteen bytes, and the destination as many. */
  readonly source: Buffer;
  readonly destination: Buffer;
  /** IPv6: hop limit. */
  readonly ttl: number;
  readonly type: number;
  readonly code: number;
  /** All behind the checksum: of an echo its identifier, sequence number and data. */
  readonly rest: Buffer;
}

/** Undefined for what is no whole, unfragmented ICMP message of the IP version's own kind. Never throws. */
export function readIcmpPacket(packet: Buffer): IcmpPacket | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) return readIpv4(packet);
  return version === 6 ? readIpv6(packet) : undefined;
}

function readIpv4(packet: Buffer): IcmpPacket | undefined {
  if (packet.length < IPV4_HEADER_BYTES) return undefined;
  const headerBytes = (packet.readUInt8(0) & 0x0f) * 4;
  const end = packet.readUInt16BE(2);
  if (headerBytes < IPV4_HEADER_BYTES || end > packet.length || end < headerBytes + ICMP_HEADER_BYTES) return undefined;
  if (packet.readUInt8(9) !== PROTOCOL_ICMP || (packet.readUInt16BE(6) & FRAGMENT_MASK) !== 0) return undefined;
  return {
    family: 4,
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    ttl: packet.readUInt8(8),
    type: packet.readUInt8(headerBytes),
    code: packet.readUInt8(headerBytes + 1),
    rest: packet.subarray(headerBytes + 4, end),
  };
}

function readIpv6(packet: Buffer): IcmpPacket | undefined {
  if (packet.length < IPV6_HEADER_BYTES + ICMP_HEADER_BYTES) return undefined;
  const end = IPV6_HEADER_BYTES + packet.readUInt16BE(4);
  if (end > packet.length || end < IPV6_HEADER_BYTES + ICMP_HEADER_BYTES) return undefined;
  if (packet.readUInt8(6) !== PROTOCOL_ICMPV6) return undefined;
  return {
    family: 6,
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, 40),
    ttl: packet.readUInt8(7),
    type: packet.readUInt8(IPV6_HEADER_BYTES),
    code: packet.readUInt8(IPV6_HEADER_BYTES + 1),
    rest: packet.subarray(IPV6_HEADER_BYTES + 4, end),
  };
}

/** With right checksums; identification, class and flow label are 0. Throws a DatagramError for a packet that can't be. */
export function writeIcmpPacket({ family, source, destination, ttl, type, code, rest }: IcmpPacket): Buffer {
  const addressBytes = family === 4 ? 4 : 16;
  if (source.length !== addressBytes || destination.length !== addressBytes) {
    throw new DatagramError(
      `addresses have ${source.length} and ${destination.length} bytes; ${addressBytes} would be right`,
    );
  }
  const headerBytes = family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES;
  const messageBytes = 4 + rest.length;
  if (rest.length < 4 || headerBytes + messageBytes > 0xffff) {
    throw new DatagramError(`the ICMP message has ${messageBytes} bytes; ${ICMP_HEADER_BYTES} to 65495 would be right`);
  }
  const packet = Buffer.alloc(headerBytes + messageBytes);
  packet[headerBytes] = type;
  packet[headerBytes + 1] = code;
  rest.copy(packet, headerBytes + 4);
  if (family === 4) writeIpv4Header(packet, source, destination, ttl);
  else writeIpv6Header(packet, source, destination, ttl);
  const message = packet.subarray(headerBytes);
  // ICMPv6 is summed with a pseudo-header: the addresses, the length, the protocol (RFC 8200 § 8.1).
  const before = family === 4 ? 0 : checksumAdd(checksumAdd(0, source), destination) + messageBytes + PROTOCOL_ICMPV6;
  packet.writeUInt16BE(checksumOf(checksumAdd(before, message)), headerBytes + 2);
  return packet;
}

function writeIpv4Header(packet: Buffer, source: Buffer, destination: Buffer, ttl: number): void {
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet[8] = ttl;
  packet[9] = PROTOCOL_ICMP;
  source.copy(packet, 12);
  destination.copy(packet, 16);
  packet.writeUInt16BE(checksumOf(checksumAdd(0, packet.subarray(0, IPV4_HEADER_BYTES))), 10);
}

function writeIpv6Header(packet: Buffer, source: Buffer, destination: Buffer, ttl: number): void {
  packet[0] = 0x60;
  packet.writeUInt16BE(packet.length - IPV6_HEADER_BYTES, 4);
  packet[6] = PROTOCOL_ICMPV6;
  packet[7] = ttl;
  source.copy(packet, 8);
  destination.copy(packet, 24);
}

/** What the destination of an echo request answers: the same identifier, sequence number and data. */
export function writeEchoReply({ family, source, destination, rest }: IcmpPacket): Buffer {
  const type = IcmpType[family].echoReply;
  return writeIcmpPacket({ family, source: destination, destination: source, ttl: DEFAULT_TTL, type, code: 0, rest });
}

/** To the source of `request`, which came as `packet`, from the router `router`: its TTL was used up. */
export function writeTimeExceeded({ family, source }: IcmpPacket, packet: Buffer, router: Buffer): Buffer {
  const quoted = packet.subarray(0, family === 4 ? MAX_QUOTED_BYTES_V4 : MAX_QUOTED_BYTES_V6);
  return writeIcmpPacket({
    family,
    source: router,
    destination: source,
    ttl: DEFAULT_TTL,
    type: IcmpType[family].timeExceeded,
    code: 0,
    rest: Buffer.concat([Buffer.alloc(4), quoted]),
  });
}

/** Errors are never answered by errors, else two routers could play ping-pong (RFC 1122 § 3.2.2, RFC 4443 § 2.4 e). */
export function isIcmpError({ family, type }: IcmpPacket): boolean {
  if (family === 6) return type < 128;
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}
