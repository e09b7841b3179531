/**
 * HKDF (RFC 5869) as TLS 1.3 uses it (RFC 8446 § 7.1):
 *
 *   HkdfLabel = length 16 | len 8 | "tls13 " + label | len 8 | context
 */
import { createHmac } from "node:crypto";

export type HashName = "sha256" | "sha384";

export function hkdfExtract(hash: HashName, salt: Buffer, ikm: Buffer): Buffer {
  return createHmac(hash, salt).update(ikm).digest();
}

export function hkdfExpandLabel(
  hash: HashName,
  secret: Buffer,
  label: string,
  context: Buffer,
  length: number,
): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([
    Buffer.of(length >>> 8, length & 0xff, name.length),
    name,
    Buffer.of(context.length),
    context,
  ]);
  const blocks: Buffer[] = [];
  let block = Buffer.alloc(0);
  for (let have = 0; have < length; have += block.length) {
    block = createHmac(hash, secret)
      .update(block)
      .update(info)
      .update(Buffer.of(blocks.length + 1))
      .digest();
    blocks.push(block);
  }
  return Buffer.concat(blocks).subarray(0, length);
}
