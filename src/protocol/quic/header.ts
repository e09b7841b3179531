/**
 * Packet headers (RFC 9000 § 17), as far as they are readable without keys; lower case: protected.
 *
 *   Initial      1100 rrpp | version 32 | len 8 | DCID | len 8 | SCID | token length (i) | token | length (i) | packet number | payload
 *   0-RTT        1101 rrpp | version 32 | len 8 | DCID | len 8 | SCID | length (i) | packet number | payload
 *   Handshake    1110 rrpp | (as 0-RTT)
 *   Retry        1111 uuuu | version 32 | len 8 | DCID | len 8 | SCID | token | integrity tag 128
 *   Version      1uuu uuuu | 0 32       | len 8 | DCID | len 8 | SCID | versions, 32 each
 *   1-RTT        01Sr rKpp | DCID | packet number | payload                (S spin bit, K key phase, pp = packet number's length - 1)
 *
 * Several long packets and at last a short one may stand in one datagram (§ 12.2).
 */
import { MAX_CONNECTION_ID_LENGTH } from "./limits.ts";
import { varintLength, readVarint, varintSize, writeVarint, writeVarint2 } from "./varint.ts";

export const QUIC_VERSION_1 = 1;

export const PacketType = {
  initial: 0,
  zeroRtt: 1,
  handshake: 2,
  retry: 3,
  oneRtt: 4,
  versionNegotiation: 5,
  /** A long header of a version that is not ours; only its connection ids can be read. */
  otherVersion: 6,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];
/** Number of packet types. */
export const PACKET_TYPES = 7;

const LONG = 0x80;
const FIXED = 0x40;
export const KEY_PHASE_BIT = 0x04;

/** Of the first byte: what header protection covers, and what of it must be 0. */
export const LONG_PROTECTED_BITS = 0x0f;
export const SHORT_PROTECTED_BITS = 0x1f;
export const LONG_RESERVED_BITS = 0x0c;
export const SHORT_RESERVED_BITS = 0x18;

/** Smallest packet that can be unprotected: behind the packet number's first byte 4 + 16 bytes are sampled (RFC 9001 § 5.4.2). */
const MIN_PROTECTED = 20;

/** Reads one header after the other; its fields are those of the last one. Offsets are into the datagram. */
export class HeaderReader {
  type: PacketType = PacketType.oneRtt;
  version = 0;
  start = 0;
  destinationStart = 0;
  destinationEnd = 0;
  sourceStart = 0;
  sourceEnd = 0;
  tokenStart = 0;
  tokenEnd = 0;
  /** Where the packet number stands; for Retry and Version Negotiation, what follows the source id. */
  payloadStart = 0;
  /** Where the packet ends. */
  end = 0;

  /** False when what stands at `at` is no packet; then nothing behind it is one. `idLength` is the length of our connection ids. */
  read(datagram: Uint8Array, at: number, idLength: number): boolean {
    const first = datagram[at];
    if (first === undefined) return false;
    this.start = at;
    if ((first & LONG) !== 0) return this.#readLong(datagram, at, first);
    if ((first & FIXED) === 0) return false;
    this.type = PacketType.oneRtt;
    this.version = QUIC_VERSION_1;
    this.destinationStart = at + 1;
    this.destinationEnd = at + 1 + idLength;
    this.payloadStart = this.destinationEnd;
    this.end = datagram.length;
    return this.end - this.payloadStart >= MIN_PROTECTED;
  }

  #readLong(datagram: Uint8Array, start: number, first: number): boolean {
    const { length } = datagram;
    if (length - start < 7) return false;
    this.version =
      (datagram[start + 1] as number) * 0x100_0000 +
      (((datagram[start + 2] as number) << 16) |
        ((datagram[start + 3] as number) << 8) |
        (datagram[start + 4] as number));
    // Lengths above 20 exist in other versions only (RFC 8999 § 5.1); the last byte is that of the source id's length.
    this.destinationStart = start + 6;
    this.destinationEnd = this.destinationStart + (datagram[start + 5] as number);
    if (this.destinationEnd >= length) return false;
    this.sourceStart = this.destinationEnd + 1;
    this.sourceEnd = this.sourceStart + (datagram[this.destinationEnd] as number);
    if (this.sourceEnd > length) return false;
    this.payloadStart = this.sourceEnd;
    this.end = length;
    if (this.version === 0) {
      this.type = PacketType.versionNegotiation;
      return true;
    }
    if (this.version !== QUIC_VERSION_1) {
      this.type = PacketType.otherVersion;
      return true;
    }
    if ((first & FIXED) === 0) return false;
    if (this.destinationEnd - this.destinationStart > MAX_CONNECTION_ID_LENGTH) return false;
    if (this.sourceEnd - this.sourceStart > MAX_CONNECTION_ID_LENGTH) return false;
    this.type = ((first >>> 4) & 3) as PacketType;
    if (this.type === PacketType.retry) return true;
    return this.#readLength(datagram);
  }

  #readLength(datagram: Uint8Array): boolean {
    const { length } = datagram;
    let at = this.payloadStart;
    if (this.type === PacketType.initial) {
      const tokenLength = readVarint(datagram, at, length);
      if (tokenLength < 0) return false;
      this.tokenStart = at + varintLength(datagram[at] as number);
      this.tokenEnd = this.tokenStart + tokenLength;
      if (this.tokenEnd > length) return false;
      at = this.tokenEnd;
    }
    const rest = readVarint(datagram, at, length);
    if (rest < MIN_PROTECTED) return false;
    this.payloadStart = at + varintLength(datagram[at] as number);
    this.end = this.payloadStart + rest;
    return this.end <= length;
  }
}

/** The connection ids of the packets that we send: theirs, ours. */
export interface HeaderIds {
  readonly destination: Buffer;
  readonly source: Buffer;
}

const NO_TOKEN = Buffer.alloc(0);

/** How long a long header is, packet number and length field included. */
export function longHeaderSize(type: PacketType, ids: HeaderIds, token: Buffer, numberLength: number): number {
  const tokenSize = type === PacketType.initial ? varintSize(token.length) + token.length : 0;
  return 7 + ids.destination.length + ids.source.length + tokenSize + 2 + numberLength;
}

/** Writes the first byte to the source id; returns the offset behind it. */
export function writeLongIds(bytes: Buffer, at: number, first: number, version: number, ids: HeaderIds): number {
  bytes[at] = first;
  let next = bytes.writeUInt32BE(version, at + 1);
  bytes[next++] = ids.destination.length;
  next += ids.destination.copy(bytes, next);
  bytes[next++] = ids.source.length;
  return next + ids.source.copy(bytes, next);
}

/** Writes all before the packet number; returns its offset. The length, of two bytes, right before it, is for `writeLongLength`. */
export function writeLongHeader(
  bytes: Buffer,
  at: number,
  type: PacketType,
  ids: HeaderIds,
  token: Buffer | undefined,
  numberLength: number,
): number {
  let next = writeLongIds(bytes, at, LONG | FIXED | (type << 4) | (numberLength - 1), QUIC_VERSION_1, ids);
  if (type === PacketType.initial) {
    const { length } = token ?? NO_TOKEN;
    next = writeVarint(bytes, next, length);
    if (token !== undefined) next += token.copy(bytes, next);
  }
  return next + 2;
}

/** The length of packet number and payload, tag included, once it is known. */
export function writeLongLength(bytes: Buffer, numberStart: number, end: number): void {
  writeVarint2(bytes, numberStart - 2, end - numberStart);
}

/** Writes all before the packet number; returns its offset. The spin bit stays 0 (RFC 9000 § 17.4 allows it). */
export function writeShortHeader(
  bytes: Buffer,
  at: number,
  destination: Buffer,
  keyPhase: number,
  numberLength: number,
): number {
  bytes[at] = FIXED | (keyPhase === 0 ? 0 : KEY_PHASE_BIT) | (numberLength - 1);
  return at + 1 + destination.copy(bytes, at + 1);
}
