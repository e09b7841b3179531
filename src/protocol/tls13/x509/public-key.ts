/**
 * A certificate's key (RFC 5280 § 4.1.2.7):
 *
 *   SubjectPublicKeyInfo = SEQUENCE { AlgorithmIdentifier, BIT STRING key }
 *
 * Its form is looked at before Node.js is asked about it: versions 20 and 22 end the whole process over the details of an EC key that is
 * the point at infinity, and anybody can send one.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { MAX_RSA_BITS, MAX_RSA_EXPONENT_BYTES, MIN_RSA_BITS } from "../limits.ts";
import { badCertificate, DerReader, Tag } from "./der-reader.ts";

const Oid = {
  rsa: "1.2.840.113549.1.1.1",
  rsaPss: "1.2.840.113549.1.1.10",
  mgf1: "1.2.840.113549.1.1.8",
  ec: "1.2.840.10045.2.1",
  ed25519: "1.3.101.112",
} as const;

const SHA_2: readonly string[] = ["2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3"];

/** Bytes of a coordinate. */
const CURVES: ReadonlyMap<string, number> = new Map([
  ["1.2.840.10045.3.1.7", 32], // P-256
  ["1.3.132.0.34", 48], // P-384
  ["1.3.132.0.35", 66], // P-521
]);

const UNCOMPRESSED = 4;
const ED25519_LENGTH = 32;
const HASH_TAG = 0xa0;
const MASK_TAG = 0xa1;

/** Of a kind that signs, and strong enough. */
export function readPublicKey(spki: Buffer): KeyObject {
  const outer = new DerReader(spki).sequence();
  const algorithm = outer.sequence();
  const { content } = outer.read(Tag.bitString);
  outer.end();
  if (content[0] !== 0) throw unusable();
  expectUsable(algorithm, content.subarray(1));
  try {
    return createPublicKey({ key: spki, format: "der", type: "spki" });
  } catch (cause) {
    throw unusable({ cause });
  }
}

function expectUsable(algorithm: DerReader, key: Buffer): void {
  switch (algorithm.objectIdentifier()) {
    case Oid.ec: {
      const size = CURVES.get(algorithm.objectIdentifier());
      algorithm.end();
      if (size === undefined || key.length !== 1 + 2 * size || key[0] !== UNCOMPRESSED) throw unusable();
      return;
    }
    case Oid.rsa:
      expectRsa(key);
      return;
    case Oid.rsaPss:
      if (!algorithm.atEnd) expectPssParameters(algorithm.sequence());
      expectRsa(key);
      return;
    case Oid.ed25519:
      algorithm.end();
      if (key.length !== ED25519_LENGTH) throw unusable();
      return;
    default:
      throw unusable();
  }
}

/** RSAPublicKey = SEQUENCE { modulus, exponent }. */
function expectRsa(key: Buffer): void {
  const reader = new DerReader(key).sequence();
  const modulus = reader.positiveInteger();
  const exponent = reader.positiveInteger();
  reader.end();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) {
    throw badCertificate(`has an RSA key of ${bits} bits; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are taken`);
  }
  const isOdd = ((exponent.at(-1) ?? 0) & 1) === 1;
  if (!isOdd || exponent.length > MAX_RSA_EXPONENT_BYTES || (exponent.length === 1 && exponent[0] === 1)) {
    throw badCertificate("has an RSA key with an exponent that is not usual");
  }
}

/**
 * RSASSA-PSS-params = SEQUENCE { [0] hash, [1] mask generation, [2] salt length, [3] trailer } (RFC 4055 § 3.1), each with a default. The
 * mask's is SHA-1, which does no harm there, and which OpenSSL leaves so.
 */
function expectPssParameters(parameters: DerReader): void {
  const hash = parameters.optional(HASH_TAG);
  if (hash === undefined || !SHA_2.includes(new DerReader(hash.content).sequence().objectIdentifier()))
    throw unusable();
  const mask = parameters.optional(MASK_TAG);
  if (mask === undefined) return;
  const generation = new DerReader(mask.content).sequence();
  if (generation.objectIdentifier() !== Oid.mgf1) throw unusable();
  generation.sequence().objectIdentifier();
}

function unusable(options?: { cause?: unknown }): ReturnType<typeof badCertificate> {
  return badCertificate("has no usable key: RSA, ECDSA on P-256, P-384 or P-521, and Ed25519 are", options);
}
