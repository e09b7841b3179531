/** Certificates of every sort, made at run time: also those that no authority would issue. */
import { constants, generateKeyPairSync, type KeyObject, randomBytes, sign, type SigningOptions } from "node:crypto";
import * as der from "../../../src/mock-edge/der.ts";

export interface Keys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface Issued {
  readonly der: Buffer;
  readonly pem: string;
  readonly keys: Keys;
  readonly subject: string;
}

export type Signature = "ecdsa" | "ed25519" | "rsa" | "rsa-sha1" | "rsa-pss" | "rsa-pss-sha1";

export interface Request {
  readonly subject: string;
  /** Default: itself. */
  readonly issuer?: Pick<Issued, "keys" | "subject"> | undefined;
  readonly keys?: Keys;
  /** In the place of the public key. */
  readonly spki?: Buffer;
  /** What the certificate says its issuer is called, if not what the issuer is called. */
  readonly issuerName?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly signature?: Signature;
  /** Default 2, which is version 3; 0 has no extensions. */
  readonly version?: 0 | 2;
  readonly extensions?: readonly Buffer[];
}

export const NAME = "edge.example.test";
export const NOW = Date.UTC(2026, 5, 1, 12);
export const DAY = 24 * 60 * 60 * 1000;
/** To the second, as certificates have it. */
export const at = (days: number): Date => new Date(NOW + days * DAY);

const SHA256 = der.sequence(der.objectIdentifier("2.16.840.1.101.3.4.2.1"));
const MGF1 = der.sequence(der.objectIdentifier("1.2.840.113549.1.1.8"), SHA256);
const RSA_PSS = der.objectIdentifier("1.2.840.113549.1.1.10");
const NULL = Buffer.from("0500", "hex");

const ALGORITHMS: Readonly<Record<Signature, Buffer>> = {
  ecdsa: der.sequence(der.objectIdentifier("1.2.840.10045.4.3.2")),
  ed25519: der.sequence(der.objectIdentifier("1.3.101.112")),
  rsa: der.sequence(der.objectIdentifier("1.2.840.113549.1.1.11"), NULL),
  "rsa-sha1": der.sequence(der.objectIdentifier("1.2.840.113549.1.1.5"), NULL),
  "rsa-pss": der.sequence(
    RSA_PSS,
    der.sequence(der.explicit(0, SHA256), der.explicit(1, MGF1), der.explicit(2, der.integer(Buffer.of(32)))),
  ),
  // All by default: SHA-1, MGF1 with SHA-1, 20 bytes of salt.
  "rsa-pss-sha1": der.sequence(RSA_PSS, der.sequence()),
};

const PSS: SigningOptions = { padding: constants.RSA_PKCS1_PSS_PADDING };
const DIGESTS: Readonly<Record<Signature, [hash: string | null, options: SigningOptions]>> = {
  ecdsa: ["sha256", {}],
  ed25519: [null, {}],
  rsa: ["sha256", {}],
  "rsa-sha1": ["sha1", {}],
  "rsa-pss": ["sha256", { ...PSS, saltLength: 32 }],
  "rsa-pss-sha1": ["sha1", { ...PSS, saltLength: 20 }],
};

export const ecKeys = (namedCurve = "P-256"): Keys => generateKeyPairSync("ec", { namedCurve });
const rsa = new Map<number, Keys>();
/** One for each length: they take long to make. */
export function rsaKeys(modulusLength = 2048): Keys {
  const keys = rsa.get(modulusLength) ?? generateKeyPairSync("rsa", { modulusLength });
  rsa.set(modulusLength, keys);
  return keys;
}
export const edKeys = (): Keys => generateKeyPairSync("ed25519");

export function pemOf(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

export function commonName(name: string): Buffer {
  return der.sequence(der.set(der.sequence(der.objectIdentifier("2.5.4.3"), der.utf8String(name))));
}

export function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

export function basicConstraints(isAuthority: boolean, pathLength?: number): Buffer {
  const limit = pathLength === undefined ? [] : [der.integer(Buffer.of(pathLength))];
  return extension("2.5.29.19", true, der.sequence(...(isAuthority ? [der.boolean(true)] : []), ...limit));
}

/** `bits` as RFC 5280 § 4.2.1.3 counts them. */
export function keyUsage(...bits: readonly number[]): Buffer {
  const mask = bits.reduce((sum, bit) => sum | (0x80 >>> bit), 0);
  return extension("2.5.29.15", true, der.bitString(Buffer.of(mask), 7 - Math.max(...bits)));
}

export const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
export const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
export const ANY_USAGE = "2.5.29.37.0";

export function usages(...oids: readonly string[]): Buffer {
  return extension("2.5.29.37", false, der.sequence(...oids.map(der.objectIdentifier)));
}

export const dns = (name: string): Buffer => der.implicit(2, Buffer.from(name, "latin1"));
export const ip = (...bytes: readonly number[]): Buffer => der.implicit(7, Buffer.from(bytes));
export const mail = (address: string): Buffer => der.implicit(1, Buffer.from(address));

export function names(...list: readonly Buffer[]): Buffer {
  return extension("2.5.29.17", false, der.sequence(...list));
}

export function nameConstraints(permitted: readonly Buffer[], excluded: readonly Buffer[] = []): Buffer {
  const trees = (tag: number, list: readonly Buffer[]): Buffer[] =>
    list.length === 0 ? [] : [der.explicit(tag, ...list.map((base) => der.sequence(base)))];
  return extension("2.5.29.30", true, der.sequence(...trees(0, permitted), ...trees(1, excluded)));
}

const KEY_CERT_SIGN = 5;
const DIGITAL_SIGNATURE = 0;

export const AUTHORITY = [basicConstraints(true), keyUsage(KEY_CERT_SIGN)];
export const SERVER = [basicConstraints(false), keyUsage(DIGITAL_SIGNATURE), usages(SERVER_AUTH)];

export function issue(request: Request): Issued {
  const { subject, version = 2, extensions = [] } = request;
  const keys = request.keys ?? ecKeys();
  const issuer = request.issuer ?? { keys, subject };
  const type = issuer.keys.privateKey.asymmetricKeyType;
  const signature = request.signature ?? (type === "rsa" ? "rsa" : type === "ed25519" ? "ed25519" : "ecdsa");
  const algorithm = ALGORITHMS[signature];
  const tbs = der.sequence(
    ...(version === 0 ? [] : [der.explicit(0, der.integer(Buffer.of(version)))]),
    der.integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
    algorithm,
    commonName(request.issuerName ?? issuer.subject),
    der.sequence(der.time(request.notBefore ?? at(-10)), der.time(request.notAfter ?? at(10))),
    commonName(subject),
    request.spki ?? keys.publicKey.export({ type: "spki", format: "der" }),
    ...(version === 0 ? [] : [der.explicit(3, der.sequence(...extensions))]),
  );
  const [hash, options] = DIGESTS[signature];
  const value = sign(hash, tbs, { key: issuer.keys.privateKey, ...options });
  const bytes = der.sequence(tbs, algorithm, der.bitString(value));
  return { der: bytes, pem: pemOf(bytes), keys, subject };
}

export function root(subject = "Root", more: Partial<Request> = {}): Issued {
  return issue({ subject, extensions: AUTHORITY, ...more });
}

export function authority(issuer: Issued, subject = "Intermediate", more: Partial<Request> = {}): Issued {
  return issue({ subject, issuer, extensions: AUTHORITY, ...more });
}

export function leaf(issuer: Issued, more: Partial<Request> = {}): Issued {
  return issue({ subject: "server", issuer, extensions: [...SERVER, names(dns(NAME))], ...more });
}
