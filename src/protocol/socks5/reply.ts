/**
 * A SOCKS5 reply (RFC 1928 § 6):
 *
 *   +-----+-----+-------+------+----------+----------+
 *   | VER | REP |  RSV  | ATYP | BND.ADDR | BND.PORT |
 *   +-----+-----+-------+------+----------+----------+
 *   |  05 |  1  |   00  |   1  | 4 or 16  |     2    |
 *   +-----+-----+-------+------+----------+----------+
 */
import { addressBytes } from "../bytes/ip-address.ts";

export const VERSION = 5;

export const Reply = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;

export type ReplyCode = (typeof Reply)[keyof typeof Reply];

export const AddressType = { ipv4: 1, name: 3, ipv6: 4 } as const;

const NO_ADDRESS = Buffer.alloc(4);

/** `address` is an IP; without it, or with one that can't be read, 0.0.0.0 stands there. */
export function encodeReply(code: ReplyCode, address?: string, port = 0): Buffer {
  const bytes = (address === undefined ? undefined : addressBytes(address)) ?? NO_ADDRESS;
  const reply = Buffer.alloc(6 + bytes.length);
  reply[0] = VERSION;
  reply[1] = code;
  reply[3] = bytes.length === 4 ? AddressType.ipv4 : AddressType.ipv6;
  reply.set(bytes, 4);
  reply.writeUInt16BE(port, 4 + bytes.length);
  return reply;
}
