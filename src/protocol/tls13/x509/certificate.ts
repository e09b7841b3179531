/**
 * X.509 certificates (RFC 5280 § 4.1):
 *
 *   Certificate = SEQUENCE { tbsCertificate, signatureAlgorithm, BIT STRING signature }
 *   tbsCertificate = SEQUENCE { [0] version, serial, signatureAlgorithm, issuer, validity, subject, publicKey, [1], [2], [3] extensions }
 *
 * What Node.js does not tell of a certificate is read here; signatures are its business.
 */
import { type KeyObject, X509Certificate } from "node:crypto";
import { badCertificate, DerReader, Tag } from "./der-reader.ts";
import { type GeneralName, type NameConstraints, readGeneralNames, readNameConstraints } from "./names.ts";

export interface Certificate {
  readonly der: Buffer;
  /** Names as they are encoded. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Of RSA-PSS: with its hash behind a colon. */
  readonly signatureAlgorithm: string;
  /** 0 for version 1. */
  readonly version: number;
  /** SubjectPublicKeyInfo, as it is encoded. */
  readonly publicKey: Buffer;
  readonly extensions: CertificateExtensions;
}

export interface CertificateExtensions {
  readonly authority?: { readonly isAuthority: boolean; readonly pathLength: number };
  /** A mask: bit 0 is digitalSignature, bit 5 keyCertSign. */
  readonly keyUsage?: number;
  readonly extendedKeyUsage?: readonly string[];
  readonly names: readonly GeneralName[];
  readonly constraints?: NameConstraints;
  /** That are critical and not known here. */
  readonly unknownCritical: readonly string[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const Oid = {
  rsaPss: "1.2.840.113549.1.1.10",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  extendedKeyUsage: "2.5.29.37",
} as const;

const VERSION_TAG = 0xa0;
const UNIQUE_ID_TAGS = [0x81, 0x82] as const;
const EXTENSIONS_TAG = 0xa3;
const HASH_TAG = 0xa0;

export function parseCertificate(der: Buffer): Certificate {
  const outer = new DerReader(der);
  const parts = outer.sequence();
  outer.end();
  const tbs = parts.sequence();
  const algorithm = parts.read(Tag.sequence);
  parts.read(Tag.bitString);
  parts.end();
  const versionField = tbs.optional(VERSION_TAG);
  const version = versionField === undefined ? 0 : new DerReader(versionField.content).smallInteger();
  tbs.read(Tag.integer);
  // RFC 5280 § 4.1.1.2: what is signed must say how.
  if (!tbs.read(Tag.sequence).raw.equals(algorithm.raw)) throw badCertificate("names two signature algorithms");
  const issuer = tbs.read(Tag.sequence).raw;
  const validity = tbs.sequence();
  const notBefore = validity.time();
  const notAfter = validity.time();
  validity.end();
  const subject = tbs.read(Tag.sequence).raw;
  const publicKey = tbs.read(Tag.sequence).raw;
  for (const tag of UNIQUE_ID_TAGS) tbs.optional(tag);
  const field = tbs.optional(EXTENSIONS_TAG);
  tbs.end();
  const signatureAlgorithm = readSignatureAlgorithm(new DerReader(algorithm.content));
  const extensions = field === undefined ? { names: [], unknownCritical: [] } : readExtensions(field.content);
  return { der, issuer, subject, notBefore, notAfter, signatureAlgorithm, version, publicKey, extensions };
}

/** AlgorithmIdentifier = SEQUENCE { OBJECT IDENTIFIER, parameters }; those of RSA-PSS begin with [0] hash DEFAULT SHA-1 (RFC 4055 § 3.1). */
function readSignatureAlgorithm(reader: DerReader): string {
  const oid = reader.objectIdentifier();
  if (oid !== Oid.rsaPss) return oid;
  const hash = reader.sequence().optional(HASH_TAG);
  return `${oid}:${hash === undefined ? "SHA-1" : new DerReader(hash.content).sequence().objectIdentifier()}`;
}

/** Extension = SEQUENCE { OBJECT IDENTIFIER, BOOLEAN critical DEFAULT FALSE, OCTET STRING }. */
function readExtensions(content: Buffer): CertificateExtensions {
  const outer = new DerReader(content);
  const list = outer.sequence();
  outer.end();
  const seen = new Set<string>();
  const unknownCritical: string[] = [];
  const found: Mutable<CertificateExtensions> = { names: [], unknownCritical };
  while (!list.atEnd) {
    const item = list.sequence();
    const oid = item.objectIdentifier();
    const critical = item.boolean(false);
    const value = new DerReader(item.read(Tag.octetString).content);
    item.end();
    if (seen.has(oid)) throw badCertificate(`has the extension ${oid} twice`);
    seen.add(oid);
    if (!readExtension(oid, value, found)) {
      if (critical) unknownCritical.push(oid);
      continue;
    }
    value.end();
  }
  return found;
}

function readExtension(oid: string, value: DerReader, found: Mutable<CertificateExtensions>): boolean {
  switch (oid) {
    case Oid.basicConstraints: {
      const fields = value.sequence();
      const isAuthority = fields.boolean(false);
      const pathLength = fields.atEnd ? Number.POSITIVE_INFINITY : fields.smallInteger();
      fields.end();
      found.authority = { isAuthority, pathLength };
      return true;
    }
    case Oid.keyUsage:
      found.keyUsage = value.flags();
      return true;
    case Oid.extendedKeyUsage: {
      const list = value.sequence();
      const usages: string[] = [];
      while (!list.atEnd) usages.push(list.objectIdentifier());
      found.extendedKeyUsage = usages;
      return true;
    }
    case Oid.subjectAltName:
      found.names = readGeneralNames(value.sequence());
      return true;
    case Oid.nameConstraints:
      found.constraints = readNameConstraints(value.sequence());
      return true;
    default:
      return false;
  }
}

/** Whether `issuer`'s key made the signature. */
export function isSignedBy({ der }: Certificate, issuerKey: KeyObject): boolean {
  try {
    return new X509Certificate(der).verify(issuerKey);
  } catch {
    return false;
  }
}
