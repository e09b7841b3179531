/** Packet number spaces (RFC 9000 § 12.3), and the truncated form of packet numbers on the wire (§ 17.1, App. A.2, A.3). */

/** Initial, Handshake, application data (1-RTT). */
export type PacketNumberSpace = 0 | 1 | 2;

export const Space = { initial: 0, handshake: 1, application: 2 } as const satisfies Record<string, PacketNumberSpace>;

export const SPACES: readonly PacketNumberSpace[] = [Space.initial, Space.handshake, Space.application];

/** No packet may have a higher number (RFC 9000 § 12.3 allows 2^62 - 1; a JS number ends here, 2,800 years of a busy link). */
export const MAX_PACKET_NUMBER = Number.MAX_SAFE_INTEGER;

/**
 * In how many bytes (1 to 4) a packet number is sent: twice as many values as there are packets that the peer may not have seen
 * yet must be told apart (App. A.2). `largestAcked` is -1 while nothing has been acknowledged.
 */
export function packetNumberLength(packetNumber: number, largestAcked: number): 1 | 2 | 3 | 4 {
  const unacked = packetNumber - largestAcked;
  if (unacked <= 0x80) return 1;
  if (unacked <= 0x8000) return 2;
  return unacked <= 0x80_0000 ? 3 : 4;
}

/** Writes the `length` least significant bytes of a packet number. */
export function writePacketNumber(bytes: Uint8Array, at: number, packetNumber: number, length: number): void {
  for (let i = length - 1, rest = packetNumber; i >= 0; i--) {
    bytes[at + i] = rest;
    rest = Math.floor(rest / 0x100);
  }
}

export function readTruncatedPacketNumber(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i++) value = value * 0x100 + (bytes[at + i] as number);
  return value;
}

/** The full packet number: of those with these last bytes the one closest to what is expected next (App. A.3). `largest` is -1 at first. */
export function decodePacketNumber(largest: number, truncated: number, length: number): number {
  const window = 0x100 ** length;
  const expected = largest + 1;
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - window / 2 && candidate + window <= MAX_PACKET_NUMBER) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}
