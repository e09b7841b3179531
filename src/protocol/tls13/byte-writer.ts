/** Writes the presentation language of RFC 8446 § 3. */

export function u16(value: number): Buffer {
  return Buffer.of(value >>> 8, value & 0xff);
}

/** `parts`, behind their length in `width` bytes. */
export function vector(width: 1 | 2 | 3, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(width);
  length.writeUIntBE(body.length, 0, width);
  return Buffer.concat([length, body]);
}

export function u16List(width: 1 | 2, values: readonly number[]): Buffer {
  return vector(width, ...values.map(u16));
}

/** Handshake = type 8 | length 24 | body (RFC 8446 § 4). */
export function handshakeMessage(type: number, ...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.of(type), vector(3, ...parts)]);
}
