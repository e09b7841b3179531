/**
 * Whether a server is whom it says it is (RFC 5280 § 6): a path is sought from its certificate to a trust anchor. What else it sent may be
 * in any order, cross-signed, or beside the point.
 */
import type { KeyObject } from "node:crypto";
import { Alert, TlsAlertError } from "../errors.ts";
import { MAX_NAME_COMPARISONS, MAX_PATH_LENGTH, MAX_SIGNATURE_CHECKS } from "../limits.ts";
import { type Certificate, isSignedBy, parseCertificate } from "./certificate.ts";
import { badCertificate } from "./der-reader.ts";
import { expectPermitted, type GeneralName, type NameConstraints, namesServer, printedNames } from "./names.ts";
import { readPublicKey } from "./public-key.ts";
import { nameKey, type TrustAnchors } from "./trust-anchors.ts";

export interface ChainRequest {
  /** DER, the server's own first. */
  readonly chain: readonly Buffer[];
  readonly anchors: TrustAnchors;
  /** In lower case. */
  readonly serverName: string;
  /** In ms since 1970. */
  readonly time: number;
}

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const ANY_USAGE = "2.5.29.37.0";
const DIGITAL_SIGNATURE = 1 << 0;
const KEY_CERT_SIGN = 1 << 5;

/** SHA-1 and MD5 can be forged. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  "1.2.840.113549.1.1.11", // RSA with SHA-256, -384, -512
  "1.2.840.113549.1.1.12",
  "1.2.840.113549.1.1.13",
  "1.2.840.113549.1.1.10:2.16.840.1.101.3.4.2.1", // RSA-PSS with the same
  "1.2.840.113549.1.1.10:2.16.840.1.101.3.4.2.2",
  "1.2.840.113549.1.1.10:2.16.840.1.101.3.4.2.3",
  "1.2.840.10045.4.3.2", // ECDSA with SHA-256, -384, -512
  "1.2.840.10045.4.3.3",
  "1.2.840.10045.4.3.4",
  "1.3.101.112", // Ed25519
]);

/** The key of the server's certificate. */
export function verifyChain(request: ChainRequest): KeyObject {
  const [leaf, ...others] = request.chain.map(parseCertificate);
  if (leaf === undefined) throw badCertificate("is missing");
  expectLeaf(leaf, request);
  const key = readPublicKey(leaf.publicKey);
  new PathSearch(others, request).search(leaf);
  return key;
}

function expectLeaf(leaf: Certificate, { serverName, time }: ChainRequest): void {
  expectValid(leaf, time);
  expectServerUsage(leaf);
  const { keyUsage, names } = leaf.extensions;
  if (keyUsage !== undefined && (keyUsage & DIGITAL_SIGNATURE) === 0) {
    throw new TlsAlertError(Alert.unsupportedCertificate, "the server's certificate is not for signatures (key usage)");
  }
  if (!namesServer(names, serverName)) {
    const message = `the server's certificate is for ${printedNames(names)}, not for ${serverName}; does something intercept TLS here?`;
    throw new TlsAlertError(Alert.badCertificate, message);
  }
}

function expectValid({ notBefore, notAfter, extensions }: Certificate, time: number): void {
  // In this form a clock that is no number is refused too.
  if (!(time >= notBefore)) {
    throw outOfDate("is not valid before", notBefore);
  }
  if (!(time <= notAfter)) {
    throw outOfDate("was not valid after", notAfter);
  }
  const [unknown] = extensions.unknownCritical;
  if (unknown !== undefined) {
    const message = `a certificate of the server's chain has the critical extension ${unknown}, which is not known here`;
    throw new TlsAlertError(Alert.unsupportedCertificate, message);
  }
}

function outOfDate(how: string, limit: number): TlsAlertError {
  const message = `a certificate of the server's chain ${how} ${new Date(limit).toISOString()}; is this machine's clock right?`;
  return new TlsAlertError(Alert.certificateExpired, message);
}

/** An authority's limits what is below it too. */
function expectServerUsage({ extensions: { extendedKeyUsage: usages } }: Certificate): void {
  if (usages === undefined || usages.includes(SERVER_AUTH) || usages.includes(ANY_USAGE)) return;
  throw new TlsAlertError(
    Alert.unsupportedCertificate,
    "a certificate of the server's chain is not for servers (extended key usage)",
  );
}

class PathSearch {
  readonly #others: readonly Certificate[];
  readonly #anchors: TrustAnchors;
  readonly #time: number;
  #checks = 0;
  #comparisons = 0;
  #reason: TlsAlertError | undefined;

  constructor(others: readonly Certificate[], { anchors, time }: ChainRequest) {
    this.#others = others;
    this.#anchors = anchors;
    this.#time = time;
  }

  /** Throws what stood in the way of the first path that had any. */
  search(leaf: Certificate): void {
    if (this.#isAnchor(leaf) || this.#climb([leaf])) return;
    throw (
      this.#reason ??
      new TlsAlertError(
        Alert.unknownCa,
        "the server's certificate comes from an authority that is not trusted; does something intercept TLS here?",
      )
    );
  }

  #isAnchor(certificate: Certificate): boolean {
    const same = this.#anchors.get(nameKey(certificate.subject)) ?? [];
    return same.some((anchor) => anchor.der.equals(certificate.der));
  }

  /** `path` begins with the leaf, and all but its last issued the one before. */
  #climb(path: readonly Certificate[]): boolean {
    const top = path.at(-1) as Certificate;
    for (const anchor of this.#anchors.get(nameKey(top.issuer)) ?? [])
      if (this.#issued(anchor, path, true)) return true;
    if (path.length + 1 >= MAX_PATH_LENGTH) return false;
    for (const other of this.#others) {
      if (!other.subject.equals(top.issuer) || path.some((used) => used.der.equals(other.der))) continue;
      if (this.#issued(other, path, false) && this.#climb([...path, other])) return true;
    }
    return false;
  }

  #issued(issuer: Certificate, path: readonly Certificate[], isAnchor: boolean): boolean {
    try {
      this.#expectIssuer(issuer, path, isAnchor);
      return true;
    } catch (error) {
      if (!(error instanceof TlsAlertError)) throw error;
      this.#reason ??= error;
      return false;
    }
  }

  #expectIssuer(issuer: Certificate, path: readonly Certificate[], isAnchor: boolean): void {
    const { authority, keyUsage, constraints } = issuer.extensions;
    expectValid(issuer, this.#time);
    // Roots of version 1 have no extensions, and were trusted by hand.
    if (authority?.isAuthority !== true && !(isAnchor && issuer.version === 0)) {
      throw badCertificate("was issued by a certificate that is no authority's");
    }
    if (keyUsage !== undefined && (keyUsage & KEY_CERT_SIGN) === 0) {
      throw badCertificate("was issued by a certificate that is not for issuing (key usage)");
    }
    // § 4.2.1.9: authorities below, but for those that are issued to themselves.
    const below = path.slice(1).filter((other) => !other.subject.equals(other.issuer)).length;
    if (authority !== undefined && below > authority.pathLength) {
      throw badCertificate("has more authorities above it than one of them permits (path length)");
    }
    expectServerUsage(issuer);
    if (constraints !== undefined) for (const { extensions } of path) this.#expectNames(constraints, extensions.names);
    this.#expectSignature(path.at(-1) as Certificate, issuer);
  }

  #expectNames(constraints: NameConstraints, names: readonly GeneralName[]): void {
    this.#comparisons += names.length * (constraints.permitted.length + constraints.excluded.length);
    if (this.#comparisons > MAX_NAME_COMPARISONS) throw badCertificate("has too many names and name constraints");
    expectPermitted(constraints, names);
  }

  #expectSignature(certificate: Certificate, issuer: Certificate): void {
    if (!SIGNATURE_ALGORITHMS.has(certificate.signatureAlgorithm)) {
      throw badCertificate("has a signature that is too weak or not known");
    }
    this.#checks++;
    if (this.#checks > MAX_SIGNATURE_CHECKS) throw badCertificate("has too many authorities of one name");
    if (!isSignedBy(certificate, readPublicKey(issuer.publicKey))) {
      // Another authority of that name: as good as an unknown one.
      throw new TlsAlertError(
        Alert.unknownCa,
        "a certificate of the server's chain was not signed by the trusted authority it names; does something intercept TLS here?",
      );
    }
  }
}
