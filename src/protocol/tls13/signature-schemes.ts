/** SignatureScheme (RFC 8446 § 4.2.3), and CertificateVerify's signature (§ 4.4.3). */
import { constants, type KeyObject, sign, verify } from "node:crypto";

interface Scheme {
  readonly codePoint: number;
  readonly keyType: "ec" | "ed25519" | "rsa" | "rsa-pss";
  readonly curve?: "prime256v1" | "secp384r1";
  /** Ed25519 has its own. */
  readonly hash: "sha256" | "sha384" | "sha512" | null;
}

/** For CertificateVerify, the preferred first. */
const SCHEMES: readonly Scheme[] = [
  { codePoint: 0x0403, keyType: "ec", curve: "prime256v1", hash: "sha256" },
  { codePoint: 0x0807, keyType: "ed25519", hash: null },
  { codePoint: 0x0503, keyType: "ec", curve: "secp384r1", hash: "sha384" },
  { codePoint: 0x0804, keyType: "rsa", hash: "sha256" },
  { codePoint: 0x0805, keyType: "rsa", hash: "sha384" },
  { codePoint: 0x0806, keyType: "rsa", hash: "sha512" },
  { codePoint: 0x0809, keyType: "rsa-pss", hash: "sha256" },
  { codePoint: 0x080a, keyType: "rsa-pss", hash: "sha384" },
  { codePoint: 0x080b, keyType: "rsa-pss", hash: "sha512" },
];

/** PKCS #1 v1.5, for the signatures of certificates alone. */
const CERTIFICATE_SCHEMES: readonly number[] = [0x0401, 0x0501, 0x0601];

export const OFFERED_SCHEMES: readonly number[] = [
  ...SCHEMES.map((scheme) => scheme.codePoint),
  ...CERTIFICATE_SCHEMES,
];

const PADDING = Buffer.alloc(64, 0x20);

function signedContent(transcript: Buffer): Buffer {
  return Buffer.concat([PADDING, Buffer.from("TLS 1.3, server CertificateVerify\0"), transcript]);
}

function fits(scheme: Scheme, key: KeyObject): boolean {
  if (scheme.keyType !== key.asymmetricKeyType) return false;
  const { namedCurve, hashAlgorithm } = key.asymmetricKeyDetails ?? {};
  if (scheme.curve !== undefined) return namedCurve === scheme.curve;
  // A key for RSA-PSS may say which hash it is for.
  return scheme.keyType !== "rsa-pss" || hashAlgorithm === undefined || hashAlgorithm === scheme.hash;
}

function parameters(scheme: Scheme, key: KeyObject) {
  if (scheme.keyType !== "rsa" && scheme.keyType !== "rsa-pss") return { key };
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}

/** The scheme that a key signs with, of those that the peer takes. */
export function chooseScheme(key: KeyObject, offered: readonly number[]): number | undefined {
  return SCHEMES.find((scheme) => offered.includes(scheme.codePoint) && fits(scheme, key))?.codePoint;
}

export function signTranscript(codePoint: number, key: KeyObject, transcript: Buffer): Buffer {
  const scheme = SCHEMES.find((candidate) => candidate.codePoint === codePoint);
  if (scheme === undefined) throw new Error(`no scheme ${codePoint}`);
  return sign(scheme.hash, signedContent(transcript), parameters(scheme, key));
}

/** False too where the scheme is none for CertificateVerify or does not fit the key. */
export function verifyTranscript(codePoint: number, key: KeyObject, transcript: Buffer, signature: Buffer): boolean {
  const scheme = SCHEMES.find((candidate) => candidate.codePoint === codePoint);
  if (scheme === undefined || !fits(scheme, key)) return false;
  try {
    return verify(scheme.hash, signedContent(transcript), parameters(scheme, key), signature);
  } catch {
    return false;
  }
}

export function fitsKey(codePoint: number, key: KeyObject): boolean {
  return SCHEMES.some((scheme) => scheme.codePoint === codePoint && fits(scheme, key));
}
