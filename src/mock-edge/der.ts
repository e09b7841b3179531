/**
 * A writer for the few DER types that a certificate needs (X.690). Each value is
 *
 *   | tag (1) | length (1, or 0x80+n and n bytes) | content |
 */

function encode(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Uint8Array.of(tag, length), content]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff);
  return Buffer.concat([Uint8Array.of(tag, 0x80 | bytes.length, ...bytes), content]);
}

export function sequence(...items: readonly Uint8Array[]): Buffer {
  return encode(0x30, Buffer.concat(items));
}

export function set(...items: readonly Uint8Array[]): Buffer {
  return encode(0x31, Buffer.concat(items));
}

/** A non-negative integer from big-endian bytes: no leading zeros but the one that keeps it positive. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = bytes.subarray(start);
  return encode(0x02, (minimal[0] ?? 0) & 0x80 ? Buffer.concat([Uint8Array.of(0), minimal]) : minimal);
}

export function boolean(value: boolean): Buffer {
  return encode(0x01, Uint8Array.of(value ? 0xff : 0));
}

export function octetString(content: Uint8Array): Buffer {
  return encode(0x04, content);
}

/** A bit string; `unusedBits` are the low bits of the last byte that do not count. */
export function bitString(content: Uint8Array, unusedBits = 0): Buffer {
  return encode(0x03, Buffer.concat([Uint8Array.of(unusedBits), content]));
}

export function utf8String(text: string): Buffer {
  return encode(0x0c, Buffer.from(text));
}

/** `1.2.840…`: the first two arcs share a byte, the others are base 128 with a continuation bit. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let high = arc >>> 7; high > 0; high >>>= 7) digits.unshift((high & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return encode(0x06, Uint8Array.from(bytes));
}

/** RFC 5280 § 4.1.2.5: UTCTime through 2049, GeneralizedTime from then on. Whole seconds. */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]/g, "").slice(0, 14);
  return date.getUTCFullYear() < 2050
    ? encode(0x17, Buffer.from(`${digits.slice(2)}Z`))
    : encode(0x18, Buffer.from(`${digits}Z`));
}

/** A context tag around whole values (explicit tagging). */
export function explicit(tag: number, ...items: readonly Uint8Array[]): Buffer {
  return encode(0xa0 | tag, Buffer.concat(items));
}

/** A context tag in the place of a primitive value's own (implicit tagging). */
export function implicit(tag: number, content: Uint8Array): Buffer {
  return encode(0x80 | tag, content);
}
