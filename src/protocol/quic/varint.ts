/**
 * Variable-length integers (RFC 9000 § 16). The two most significant bits of the first byte are the base 2 logarithm of the
 * length in bytes; the value follows, big-endian:
 *
 *   00vvvvvv                            1 byte,  6 bits
 *   01vvvvvv vvvvvvvv                   2 bytes, 14 bits
 *   10vvvvvv … 3 more                   4 bytes, 30 bits
 *   11vvvvvv … 7 more                   8 bytes, 62 bits
 *
 * Values are JS numbers: what is above 2^53 - 1 has no exact one, and comes back as OVERSIZED. No count of bytes or packets gets
 * there, but a limit may (peers announce 2^60 streams); who reads a limit takes MAX_VARINT in its place.
 */

/** The largest value that we take or write. */
export const MAX_VARINT = Number.MAX_SAFE_INTEGER;

/** The bytes end within the integer. */
export const TRUNCATED = -1;
/** Valid on the wire, but above MAX_VARINT. */
export const OVERSIZED = -2;

/** How many bytes the integer that begins with `first` takes. */
export function varintLength(first: number): number {
  return 1 << (first >>> 6);
}

/** How many bytes `value` takes. */
export function varintSize(value: number): number {
  if (value < 0x40) return 1;
  if (value < 0x4000) return 2;
  return value < 0x4000_0000 ? 4 : 8;
}

/** The integer at `at`, or TRUNCATED, or OVERSIZED; it is `varintLength(bytes[at])` bytes long. */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return TRUNCATED;
  const first = bytes[at] as number;
  if (first < 0x40) return first;
  if (at + (1 << (first >>> 6)) > end) return TRUNCATED;
  if (first < 0x80) return ((first & 0x3f) << 8) | (bytes[at + 1] as number);
  const high =
    ((first & 0x3f) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number);
  if (first < 0xc0) return high;
  if (high > 0x1f_ffff) return OVERSIZED;
  const low =
    (bytes[at + 4] as number) * 0x100_0000 +
    (((bytes[at + 5] as number) << 16) | ((bytes[at + 6] as number) << 8) | (bytes[at + 7] as number));
  return high * 0x1_0000_0000 + low;
}

/** Writes `value` in its shortest form; returns the offset behind it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  if (value < 0x40) {
    bytes[at] = value;
    return at + 1;
  }
  if (value < 0x4000) {
    bytes[at] = 0x40 | (value >>> 8);
    bytes[at + 1] = value;
    return at + 2;
  }
  if (value < 0x4000_0000) {
    bytes[at] = 0x80 | (value >>> 24);
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
    return at + 4;
  }
  const high = Math.floor(value / 0x1_0000_0000);
  bytes[at] = 0xc0 | (high >>> 24);
  bytes[at + 1] = high >>> 16;
  bytes[at + 2] = high >>> 8;
  bytes[at + 3] = high;
  // `>>>` takes a number modulo 2^32, and those are the bits that stand here.
  bytes[at + 4] = value >>> 24;
  bytes[at + 5] = value >>> 16;
  bytes[at + 6] = value >>> 8;
  bytes[at + 7] = value;
  return at + 8;
}

/** Writes `value` in two bytes, whatever it is: for a length that is known only once what follows it is written. */
export function writeVarint2(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = 0x40 | (value >>> 8);
  bytes[at + 1] = value;
}
