/** Which chains are taken: our verdict, and OpenSSL's on the same bytes. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { verifyChain } from "../../../src/protocol/tls13/x509/chain.ts";
import { trustAnchors } from "../../../src/protocol/tls13/x509/trust-anchors.ts";
import * as der from "../../../src/mock-edge/der.ts";
import {
  ANY_USAGE,
  at,
  authority,
  basicConstraints,
  CLIENT_AUTH,
  commonName,
  dns,
  ecKeys,
  edKeys,
  extension,
  ip,
  issue,
  type Issued,
  keyUsage,
  leaf,
  mail,
  NAME,
  nameConstraints,
  names,
  NOW,
  root,
  rsaKeys,
  SERVER,
  SERVER_AUTH,
  usages,
} from "./certificates.ts";
import { alertOf } from "./rig.ts";

const scratch = mkdtempSync(join(tmpdir(), "underpass-chains-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Case {
  /** The leaf first. */
  readonly chain: readonly Issued[];
  readonly roots: readonly Issued[];
  readonly name?: string;
}

function ours({ chain, roots, name = NAME }: Case): number | "ok" {
  const anchors = trustAnchors(roots.map((anchor) => anchor.pem));
  return alertOf(() => verifyChain({ chain: chain.map((each) => each.der), anchors, serverName: name, time: NOW }));
}

/** `-partial_chain`: any certificate that is trusted ends a path, as with us. */
function openssl({ chain, roots, name = NAME }: Case): "ok" | "refused" {
  const [own, ...others] = chain;
  const [leafFile, othersFile, rootsFile] = ["leaf", "others", "roots"].map((file) => join(scratch, `${file}.pem`)) as [
    string,
    string,
    string,
  ];
  writeFileSync(leafFile, own?.pem ?? "");
  writeFileSync(othersFile, others.map((each) => each.pem).join(""));
  writeFileSync(rootsFile, roots.map((each) => each.pem).join(""));
  const isAddress = /^[\d.]+$/.test(name);
  const { status, stdout, stderr } = spawnSync(
    "openssl",
    [
      "verify",
      "-CAfile",
      rootsFile,
      "-no-CApath",
      "-no-CAstore",
      "-partial_chain",
      "-purpose",
      "sslserver",
      "-attime",
      String(NOW / 1000),
      isAddress ? "-verify_ip" : "-verify_hostname",
      name,
      ...(others.length > 0 ? ["-untrusted", othersFile] : []),
      leafFile,
    ],
    { encoding: "utf8" },
  );
  if (status === null || !/: OK|error/.test(stdout + stderr)) throw new Error(`openssl verify: ${stdout}${stderr}`);
  return status === 0 ? "ok" : "refused";
}

const R = root();
const I = authority(R);

/** A root, an authority with these extensions more, and a leaf for these names. */
function below(extensions: readonly Buffer[], list: readonly Buffer[] = [dns(NAME)]): Case {
  const middle = authority(R, "Limited", { extensions: [basicConstraints(true), keyUsage(5), ...extensions] });
  return { chain: [leaf(middle, { extensions: [...SERVER, names(...list)] }), middle], roots: [R] };
}

/** An authority with a name of its own, below one that is limited to `example.test`. */
function belowNamed(own: Buffer): Case {
  const limited = nameConstraints([dns("example.test")]);
  const upper = authority(R, "Upper", { extensions: [basicConstraints(true), keyUsage(5), limited] });
  const lower = authority(upper, "Lower", { extensions: [basicConstraints(true), keyUsage(5), names(own)] });
  return { chain: [leaf(lower), lower, upper], roots: [R] };
}

const named = (...list: readonly Buffer[]): Case => ({
  chain: [leaf(I, { extensions: [...SERVER, names(...list)] }), I],
  roots: [R],
});

const extended = (...extensions: readonly Buffer[]): Case => ({
  chain: [leaf(I, { extensions: [...extensions, names(dns(NAME))] }), I],
  roots: [R],
});

/** A chain of that many authorities below the root. */
function deep(count: number): Case {
  const chain = [R];
  for (let i = 0; i < count; i++) chain.unshift(authority(chain[0] as Issued, `Level ${i}`));
  return { chain: [leaf(chain[0] as Issued), ...chain.slice(0, -1)], roots: [R] };
}

function cycle(): Case {
  const [first, second] = [ecKeys(), ecKeys()];
  const one = { subject: "One", keys: first };
  const two = { subject: "Two", keys: second };
  const byTwo = authority(R, "One", { keys: first, issuer: two });
  const byOne = authority(R, "Two", { keys: second, issuer: one });
  return { chain: [leaf(byTwo), byTwo, byOne], roots: [R] };
}

function crossSigned(): { by: Issued; old: Issued; other: Issued } {
  const keys = ecKeys();
  const other = root("Other root");
  return { by: authority(other, "Shared", { keys }), old: authority(R, "Shared", { keys, notAfter: at(-1) }), other };
}

const cross = crossSigned();
const expiredRoot = root("Expired root", { notAfter: at(-1) });
const selfSigned = issue({ subject: "alone", extensions: [...SERVER, names(dns(NAME))] });
const impostor = root("Root");
const notAuthority = authority(R, "No authority", { extensions: [basicConstraints(false), keyUsage(5)] });
const silent = authority(R, "Silent", { extensions: [keyUsage(5)] });
const signsOnly = authority(R, "Signs only", { extensions: [basicConstraints(true), keyUsage(0)] });
const lapsed = authority(R, "Lapsed", { notAfter: at(-1) });
const toCome = authority(R, "To come", { notBefore: at(1) });
const clients = authority(R, "Clients", { extensions: [basicConstraints(true), keyUsage(5), usages(CLIENT_AUTH)] });
const pathZero = authority(R, "Zero", { extensions: [basicConstraints(true, 0), keyUsage(5)] });
const underZero = authority(pathZero, "Under zero");
const sameName = authority(pathZero, "Zero", {});
const oldRoot = root("Version 1", { version: 0 });
const oldMiddle = authority(R, "Version 1 between", { version: 0 });
const rsaRoot = root("RSA root", { keys: rsaKeys() });
const edRoot = root("Ed25519 root", { keys: edKeys() });
const bigRoot = root("P-384 root", { keys: ecKeys("P-384") });
const renamed = authority(R, "Renamed", { issuerName: "Somebody else" });
const unknownCritical = (critical: boolean): Buffer =>
  extension("1.3.6.1.4.1.99999.1", critical, der.octetString(Buffer.of(1)));
const forged = leaf({ ...I, keys: ecKeys() });

const BAD = Alert.badCertificate;
const UNKNOWN = Alert.unknownCa;
const EXPIRED = Alert.certificateExpired;
const UNSUPPORTED = Alert.unsupportedCertificate;

const TABLE: readonly (readonly [string, Case, number | "ok"])[] = [
  // Paths.
  ["the root's own", { chain: [leaf(R)], roots: [R] }, "ok"],
  ["one authority between", { chain: [leaf(I), I], roots: [R] }, "ok"],
  ["the root sent too", { chain: [leaf(I), I, R], roots: [R] }, "ok"],
  ["an authority between that is trusted itself", { chain: [leaf(I)], roots: [I] }, "ok"],
  ["five authorities between", deep(5), "ok"],
  ["five authorities between, the wrong way round", { ...deep(5), ...reversed(deep(5)) }, "ok"],
  ["duplicates and strangers among them", { chain: [leaf(I), selfSigned, I, I, impostor], roots: [R] }, "ok"],
  ["the leaf trusted itself", { chain: [selfSigned], roots: [selfSigned] }, "ok"],
  [
    "a cross-signed authority, its old certificate expired and first",
    { chain: [leaf(cross.by), cross.old, cross.by], roots: [R, cross.other] },
    "ok",
  ],
  ["an authority between that is missing", { chain: [leaf(I)], roots: [R] }, UNKNOWN],
  ["a root that is not trusted", { chain: [leaf(I), I, R], roots: [cross.other] }, UNKNOWN],
  ["a root of the same name and another key", { chain: [leaf(I), I], roots: [impostor] }, UNKNOWN],
  ["a self-signed leaf", { chain: [selfSigned], roots: [R] }, UNKNOWN],
  ["a signature that is not the authority's", { chain: [forged, I], roots: [R] }, UNKNOWN],
  ["an issuer's name that is not the authority's", { chain: [leaf(renamed), renamed], roots: [R] }, UNKNOWN],
  ["authorities that issue each other", cycle(), UNKNOWN],
  // Dates.
  ["a leaf that expired", { chain: [leaf(I, { notAfter: at(-1 / 86400) }), I], roots: [R] }, EXPIRED],
  ["a leaf that is not valid yet", { chain: [leaf(I, { notBefore: at(1 / 86400) }), I], roots: [R] }, EXPIRED],
  ["a leaf in its first second", { chain: [leaf(I, { notBefore: at(0) }), I], roots: [R] }, "ok"],
  [
    "a leaf with a date beyond 2050",
    { chain: [leaf(I, { notAfter: new Date(Date.UTC(2101, 0)) }), I], roots: [R] },
    "ok",
  ],
  ["an authority that expired", { chain: [leaf(lapsed), lapsed], roots: [R] }, EXPIRED],
  ["an authority that is not valid yet", { chain: [leaf(toCome), toCome], roots: [R] }, EXPIRED],
  ["a root that expired", { chain: [leaf(expiredRoot)], roots: [expiredRoot] }, EXPIRED],
  // What a certificate may be used for.
  ["an issuer that is no authority", { chain: [leaf(notAuthority), notAuthority], roots: [R] }, BAD],
  ["an issuer without basic constraints", { chain: [leaf(silent), silent], roots: [R] }, BAD],
  ["a leaf as issuer", { chain: [leaf(leaf(I, { subject: "mid" })), leaf(I, { subject: "mid" }), I], roots: [R] }, BAD],
  ["an authority that may not sign certificates", { chain: [leaf(signsOnly), signsOnly], roots: [R] }, BAD],
  ["an authority of version 1", { chain: [leaf(oldMiddle), oldMiddle], roots: [R] }, BAD],
  ["a root of version 1", { chain: [leaf(oldRoot)], roots: [oldRoot] }, "ok"],
  ["a path within its length", { chain: [leaf(pathZero), pathZero], roots: [R] }, "ok"],
  ["a path longer than an authority permits", { chain: [leaf(underZero), underZero, pathZero], roots: [R] }, BAD],
  ["a leaf for clients", extended(basicConstraints(false), usages(CLIENT_AUTH)), UNSUPPORTED],
  ["a leaf for servers and clients", extended(basicConstraints(false), usages(CLIENT_AUTH, SERVER_AUTH)), "ok"],
  ["a leaf that does not say what for", extended(basicConstraints(false)), "ok"],
  ["a leaf without any extension but its name", extended(), "ok"],
  ["an authority for clients", { chain: [leaf(clients), clients], roots: [R] }, UNSUPPORTED],
  ["a leaf with a critical extension that is not known", extended(...SERVER, unknownCritical(true)), UNSUPPORTED],
  ["an authority with one", below([unknownCritical(true)]), UNSUPPORTED],
  ["one that is not critical", extended(...SERVER, unknownCritical(false)), "ok"],
  // Keys and signatures.
  ["an RSA root", { chain: [leaf(rsaRoot)], roots: [rsaRoot] }, "ok"],
  ["an RSA-PSS signature", { chain: [leaf(rsaRoot, { signature: "rsa-pss" })], roots: [rsaRoot] }, "ok"],
  ["an Ed25519 root", { chain: [leaf(edRoot)], roots: [edRoot] }, "ok"],
  ["a P-384 root", { chain: [leaf(bigRoot)], roots: [bigRoot] }, "ok"],
  // Names.
  ["one name of several", named(dns("a.test"), mail("a@a.test"), dns(NAME)), "ok"],
  ["a name in capitals", named(dns(NAME.toUpperCase())), "ok"],
  ["another name", named(dns("other.example.test")), BAD],
  ["a name that only begins alike", named(dns(`${NAME}.evil.test`)), BAD],
  ["a name with a zero byte", named(dns(`${NAME}\0.evil.test`)), BAD],
  [
    "a subject of the right name, and another name",
    { chain: [issue({ subject: NAME, issuer: I, extensions: [...SERVER, names(dns("other.test"))] }), I], roots: [R] },
    BAD,
  ],
  ["a wildcard", named(dns("*.example.test")), "ok"],
  ["a wildcard for the wrong depth", named(dns("*.test")), BAD],
  ["a wildcard for a top level", { ...named(dns("*.test")), name: "edge.test" }, BAD],
  ["a wildcard in the middle", named(dns("edge.*.test")), BAD],
  ["a wildcard for the domain itself", { ...named(dns("*.edge.example.test")) }, BAD],
  ["a lone wildcard", named(dns("*")), BAD],
  ["an address", { ...named(ip(192, 0, 2, 7)), name: "192.0.2.7" }, "ok"],
  ["another address", { ...named(ip(192, 0, 2, 8)), name: "192.0.2.7" }, BAD],
  ["an address written as a DNS name", { ...named(dns("192.0.2.7")), name: "192.0.2.7" }, BAD],
  // Name constraints.
  ["an authority below with a name that is not permitted", belowNamed(dns("other.test")), BAD],
  ["an authority below with a permitted name", belowNamed(dns("ca.example.test")), "ok"],
  ["a permitted name", below([nameConstraints([dns("example.test")])]), "ok"],
  ["a name that is not permitted", below([nameConstraints([dns("other.test")])]), BAD],
  [
    "a permitted name and one more that is not",
    below([nameConstraints([dns("example.test")])], [dns(NAME), dns("a.test")]),
    BAD,
  ],
  ["an excluded name", below([nameConstraints([], [dns("example.test")])]), BAD],
  ["a name beside the excluded one", below([nameConstraints([], [dns("ample.test")])]), "ok"],
  ["everything excluded", below([nameConstraints([], [dns("")])]), BAD],
  ["a permitted domain's names, with a dot", below([nameConstraints([dns(".example.test")])]), "ok"],
  ["the domain itself, where its names alone are permitted", below([nameConstraints([dns(`.${NAME}`)])]), BAD],
  [
    "a wildcard wider than what is permitted",
    below([nameConstraints([dns("a.example.test")])], [dns("*.example.test")]),
    BAD,
  ],
  [
    "a wildcard within what is permitted",
    below([nameConstraints([dns("example.test")])], [dns("*.example.test")]),
    "ok",
  ],
  [
    "an address where only names are limited",
    { ...below([nameConstraints([dns("other.test")])], [ip(192, 0, 2, 7)]), name: "192.0.2.7" },
    "ok",
  ],
  [
    "an address in the permitted net",
    { ...below([nameConstraints([ip(192, 0, 2, 0, 255, 255, 255, 0)])], [ip(192, 0, 2, 7)]), name: "192.0.2.7" },
    "ok",
  ],
  [
    "an address outside of it",
    { ...below([nameConstraints([ip(192, 0, 3, 0, 255, 255, 255, 0)])], [ip(192, 0, 2, 7)]), name: "192.0.2.7" },
    BAD,
  ],
  [
    "an address in an excluded net",
    { ...below([nameConstraints([], [ip(192, 0, 2, 0, 255, 255, 255, 0)])], [ip(192, 0, 2, 7)]), name: "192.0.2.7" },
    BAD,
  ],
  [
    "constraints of mail addresses, which we do not compare",
    below([nameConstraints([mail("example.test")])], [dns(NAME), mail("a@other.test")]),
    BAD,
  ],
];

function reversed({ chain, roots }: Case): Case {
  const [own, ...others] = chain as [Issued, ...Issued[]];
  return { chain: [own, ...others.reverse()], roots };
}

/** Where we are stricter than OpenSSL is by default, and why. */
const STRICTER: readonly (readonly [string, Case, number])[] = [
  // Forgeries of SHA-1 signatures are real.
  ["a signature with SHA-1", { chain: [leaf(rsaRoot, { signature: "rsa-sha1" })], roots: [rsaRoot] }, BAD],
  ["an RSA-PSS signature with SHA-1", { chain: [leaf(rsaRoot, { signature: "rsa-pss-sha1" })], roots: [rsaRoot] }, BAD],
  // RFC 9525 §§ 6.3, 6.4: names stand in subjectAltName alone, and a wildcard is a whole label.
  [
    "no name but in the subject",
    { chain: [issue({ subject: NAME, issuer: I, extensions: SERVER }), I], roots: [R] },
    BAD,
  ],
  ["a wildcard that is no whole label", { ...named(dns("e*.example.test")) }, BAD],
  // A wildcard stands for an excluded name too.
  [
    "a wildcard that may be an excluded name",
    below([nameConstraints([], [dns("a.example.test")])], [dns("*.example.test")]),
    BAD,
  ],
  // TLS 1.3 only signs; OpenSSL takes a key for encryption here, since older versions did.
  ["a key for encryption alone", extended(basicConstraints(false), keyUsage(2)), UNSUPPORTED],
  ["constraints of directory names", below([nameConstraints([der.explicit(4, commonName("server"))])]), BAD],
  ["a path of more than eight", deep(8), UNKNOWN],
];

/** Where OpenSSL does not find a path that is there, for want of key identifiers. */
const FOUND: readonly (readonly [string, Case])[] = [
  ["several roots of one name, the right one last", { chain: [leaf(I), I], roots: [impostor, R] }],
  ["a self-issued authority, which does not count", { chain: [leaf(sameName), sameName, pathZero], roots: [R] }],
];

describe("a chain with", () => {
  it.each(TABLE)("%s", (_name, chain, verdict) => {
    expect(ours(chain)).toBe(verdict);
    expect(openssl(chain)).toBe(verdict === "ok" ? "ok" : "refused");
  });

  it.each(STRICTER)("%s, which OpenSSL takes and we do not", (_name, chain, verdict) => {
    expect(ours(chain)).toBe(verdict);
    expect(openssl(chain)).toBe("ok");
  });

  it.each(FOUND)("%s, which OpenSSL does not find", (_name, chain) => {
    expect(ours(chain)).toBe("ok");
    expect(openssl(chain)).toBe("refused");
  });

  it("any purpose, which we take as Go does and OpenSSL does not", () => {
    const any = extended(basicConstraints(false), usages(ANY_USAGE));
    expect(ours(any)).toBe("ok");
    expect(openssl(any)).toBe("refused");
  });
});
