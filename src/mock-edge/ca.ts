/**
 * A certificate authority of its own for each mock edge (RFC 5280 § 4.1): ECDSA P-256, keys only in memory.
 *
 *   Certificate = SEQUENCE { tbsCertificate, signatureAlgorithm, BIT STRING signature }
 *   tbsCertificate = SEQUENCE { [0] version 2, serial, signatureAlgorithm, issuer, validity, subject, publicKey, [3] extensions }
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import * as der from "./der.ts";

const OID = {
  commonName: "2.5.4.3",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

const DAY_MS = 24 * 60 * 60 * 1000;
const AUTHORITY_NAME = "Underpass mock edge CA";

/** A certificate and its private key. */
export interface Leaf {
  readonly keyPem: string;
  readonly certPem: string;
}

export interface LeafRequest {
  /** Subject alternative names; a wildcard such as `*.cftunnel.com` is fine. */
  readonly dnsNames: readonly string[];
  /** Default: a day ago, so that clocks may differ. */
  readonly notBefore?: Date;
  /** Default: in 30 days. */
  readonly notAfter?: Date;
}

export interface Authority {
  /** What a connector must trust (`--cacert`). */
  readonly certPem: string;
  /** Issues a server certificate. */
  issue(request: LeafRequest): Leaf;
}

interface Subject {
  readonly name: string;
  readonly publicKey: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

const algorithm = der.sequence(der.objectIdentifier(OID.ecdsaWithSha256));

function pem(bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(der.objectIdentifier(OID.commonName), der.utf8String(commonName))));
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

/** RFC 5280 § 4.2.1.2: a hash of the key; which one is the issuer's choice. */
function keyIdentifier(publicKey: Buffer): Buffer {
  return createHash("sha256").update(publicKey).digest().subarray(0, 20);
}

function certificate(subject: Subject, issuerKey: KeyObject): string {
  const tbs = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))),
    // A cleared top bit and a set one below it: positive, and never shorter than 16 bytes.
    der.integer(Buffer.concat([Uint8Array.of(0x40), randomBytes(15)])),
    algorithm,
    distinguishedName(AUTHORITY_NAME),
    der.sequence(der.time(subject.notBefore), der.time(subject.notAfter)),
    distinguishedName(subject.name),
    subject.publicKey,
    der.explicit(3, der.sequence(...subject.extensions)),
  );
  return pem(der.sequence(tbs, algorithm, der.bitString(sign("sha256", tbs, issuerKey))));
}

function spki(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: "spki", format: "der" });
}

/** Makes a new authority: a key and a self-signed certificate that nobody else has. */
export function createAuthority(): Authority {
  const now = Date.now();
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const authorityKey = spki(keys.publicKey);
  const authorityId = keyIdentifier(authorityKey);
  const certPem = certificate(
    {
      name: AUTHORITY_NAME,
      publicKey: authorityKey,
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + 365 * DAY_MS),
      extensions: [
        extension(OID.basicConstraints, true, der.sequence(der.boolean(true))),
        // keyCertSign, cRLSign
        extension(OID.keyUsage, true, der.bitString(Uint8Array.of(0x06), 1)),
        extension(OID.subjectKeyIdentifier, false, der.octetString(authorityId)),
      ],
    },
    keys.privateKey,
  );
  return {
    certPem,
    issue: ({ dnsNames, notBefore, notAfter }) => {
      const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const publicKey = spki(leaf.publicKey);
      const names = dnsNames.map((name) => der.implicit(2, Buffer.from(name, "latin1")));
      return {
        keyPem: leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
        certPem: certificate(
          {
            name: dnsNames[0] ?? "mock edge",
            publicKey,
            notBefore: notBefore ?? new Date(now - DAY_MS),
            notAfter: notAfter ?? new Date(now + 30 * DAY_MS),
            extensions: [
              extension(OID.basicConstraints, true, der.sequence()),
              // digitalSignature
              extension(OID.keyUsage, true, der.bitString(Uint8Array.of(0x80), 7)),
              extension(OID.extendedKeyUsage, false, der.sequence(der.objectIdentifier(OID.serverAuth))),
              extension(OID.subjectAltName, false, der.sequence(...names)),
              extension(OID.subjectKeyIdentifier, false, der.octetString(keyIdentifier(publicKey))),
              extension(OID.authorityKeyIdentifier, false, der.sequence(der.implicit(0, authorityId))),
            ],
          },
          keys.privateKey,
        ),
      };
    },
  };
}
