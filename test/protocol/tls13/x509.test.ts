/** Reading certificates, their keys; the bounds of looking for a path. */
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import * as der from "../../../src/mock-edge/der.ts";
import { CLOUDFLARE_ROOTS } from "../../../src/edge/cloudflare-roots.ts";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { writeCertificate } from "../../../src/protocol/tls13/handshake-messages.ts";
import { MAX_CHAIN_CERTIFICATES, MAX_NAME_COMPARISONS } from "../../../src/protocol/tls13/limits.ts";
import { parseCertificate } from "../../../src/protocol/tls13/x509/certificate.ts";
import { verifyChain } from "../../../src/protocol/tls13/x509/chain.ts";
import { trustAnchors } from "../../../src/protocol/tls13/x509/trust-anchors.ts";
import {
  AUTHORITY,
  authority,
  basicConstraints,
  dns,
  ecKeys,
  extension,
  ip,
  issue,
  type Issued,
  keyUsage,
  leaf,
  NAME,
  nameConstraints,
  names,
  NOW,
  root,
  rsaKeys,
  SERVER,
  usages,
} from "./certificates.ts";
import { alertOf, changing, client, INTERMEDIATE, expectRefused, ROOT, server, shake, Type } from "./rig.ts";

const verdict = (chain: readonly Issued[], roots: readonly Issued[], time = NOW): number | "ok" =>
  alertOf(() =>
    verifyChain({
      chain: chain.map((each) => each.der),
      anchors: trustAnchors(roots.map((each) => each.pem)),
      serverName: NAME,
      time,
    }),
  );

describe("a certificate", () => {
  it("is read as Node.js reads it, for each root of its own", () => {
    expect(tls.rootCertificates.length).toBeGreaterThan(100);
    for (const pem of tls.rootCertificates) {
      const theirs = new X509Certificate(pem);
      const ours = parseCertificate(theirs.raw);
      expect(ours.notBefore).toBe(Date.parse(theirs.validFrom));
      expect(ours.notAfter).toBe(Date.parse(theirs.validTo));
      expect(ours.extensions.authority?.isAuthority ?? ours.version === 0).toBe(theirs.ca || ours.version === 0);
      expect(ours.extensions.unknownCritical).toEqual([]);
      expect(ours.issuer.equals(ours.subject)).toBe(theirs.issuer === theirs.subject);
    }
    expect(trustAnchors(tls.rootCertificates).size).toBeGreaterThan(100);
  });

  it("has its names, usages and limits read", () => {
    const list = [dns("A.Example.test"), ip(192, 0, 2, 1), dns("*.b.test")];
    const parts = [basicConstraints(true, 3), keyUsage(0, 5, 6), usages("1.3.6.1.5.5.7.3.1"), names(...list)];
    const { extensions } = parseCertificate(issue({ subject: "x", extensions: parts }).der);
    expect(extensions).toEqual({
      authority: { isAuthority: true, pathLength: 3 },
      keyUsage: 0b110_0001,
      extendedKeyUsage: ["1.3.6.1.5.5.7.3.1"],
      names: [
        { kind: "dns", name: "a.example.test" },
        { kind: "ip", bytes: Buffer.of(192, 0, 2, 1) },
        { kind: "dns", name: "*.b.test" },
      ],
      unknownCritical: [],
    });
  });

  it.each<[string, Buffer[]]>([
    ["an extension twice", [basicConstraints(true), basicConstraints(false)]],
    [
      "an extension twice that is not known",
      [1, 2].map((n) => extension("1.2.3.4", false, der.octetString(Buffer.of(n)))),
    ],
    ["bytes behind an extension", [extension("2.5.29.19", true, Buffer.concat([der.sequence(), Buffer.of(5, 0)]))]],
    [
      "a negative path length",
      [extension("2.5.29.19", true, der.sequence(der.boolean(true), Buffer.from("0201ff", "hex")))],
    ],
    ["names that are none", [extension("2.5.29.17", false, der.octetString(Buffer.of(1)))]],
    ["an address constraint without a mask", [nameConstraints([ip(192, 0, 2, 1)])]],
    ["an address constraint of a strange length", [nameConstraints([], [ip(192, 0, 2, 1, 255)])]],
    [
      "a constraint with a minimum",
      [
        extension(
          "2.5.29.30",
          true,
          der.sequence(der.explicit(0, der.sequence(dns("a"), der.implicit(0, Buffer.of(1))))),
        ),
      ],
    ],
  ])("with %s is refused", (_name, extensions) => {
    expect(alertOf(() => parseCertificate(issue({ subject: "x", extensions }).der))).toBe(Alert.badCertificate);
  });

  it("that is not signed as it says is refused (RFC 5280 § 4.1.1.2)", () => {
    const { der: bytes } = root();
    const ecdsa256 = Buffer.from("300a06082a8648ce3d040302", "hex");
    const changed = Buffer.from(bytes);
    changed[changed.lastIndexOf(ecdsa256) + ecdsa256.length - 1] = 3;
    expect(alertOf(() => parseCertificate(changed))).toBe(Alert.badCertificate);
  });
});

describe("a key", () => {
  const RSA = der.sequence(der.objectIdentifier("1.2.840.113549.1.1.1"), Buffer.from("0500", "hex"));
  const rsa = (modulus: Buffer, exponent: Buffer): Buffer =>
    der.sequence(RSA, der.bitString(der.sequence(der.integer(modulus), der.integer(exponent))));
  const odd = (bytes: number): Buffer =>
    Buffer.concat([Buffer.of(0xc1), Buffer.alloc(bytes - 2, 0x55), Buffer.of(0xb7)]);
  const E = Buffer.of(1, 0, 1);
  const ec = (curve: string, point: Buffer): Buffer =>
    der.sequence(
      der.sequence(der.objectIdentifier("1.2.840.10045.2.1"), der.objectIdentifier(curve)),
      der.bitString(point),
    );
  const P256 = "1.2.840.10045.3.1.7";
  const point = ecKeys().publicKey.export({ type: "spki", format: "der" }).subarray(-65);
  const hybrid = Buffer.concat([Buffer.of(6 + ((point[64] ?? 0) & 1)), point.subarray(1)]);
  const KEYS = {
    x25519: () => generateKeyPairSync("x25519"),
    x448: () => generateKeyPairSync("x448"),
    ed448: () => generateKeyPairSync("ed448"),
  };
  const spkiOf = (type: keyof typeof KEYS): Buffer => KEYS[type]().publicKey.export({ type: "spki", format: "der" });

  it.each<[string, Buffer]>([
    ["RSA with 1024 bits", rsa(odd(128), E)],
    ["RSA with 2040 bits", rsa(odd(255), E)],
    ["RSA with 8200 bits", rsa(odd(1025), E)],
    ["RSA with 65536 bits", rsa(odd(8192), E)],
    ["RSA with no modulus", rsa(Buffer.of(0), E)],
    ["P-256 off the curve", ec(P256, Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)]))],
    // Over this one Node.js 20 and 22 end the process when they are asked for its details.
    ["P-256 at infinity", ec(P256, Buffer.of(0))],
    ["P-256 in hybrid form", ec(P256, hybrid)],
    ["P-256 compressed", ec(P256, Buffer.concat([Buffer.of(2), Buffer.alloc(32, 7)]))],
    ["P-256 with a coordinate missing", ec(P256, Buffer.concat([Buffer.of(4), Buffer.alloc(63, 7)]))],
    [
      "P-256 with a curve of its own",
      der.sequence(
        der.sequence(der.objectIdentifier("1.2.840.10045.2.1"), der.sequence()),
        der.bitString(Buffer.alloc(65, 4)),
      ),
    ],
    [
      "a negative RSA modulus",
      der.sequence(
        RSA,
        der.bitString(der.sequence(Buffer.concat([Buffer.from("02820100", "hex"), odd(256)]), der.integer(E))),
      ),
    ],
    [
      "RSA-PSS with SHA-1 by default",
      der.sequence(
        der.sequence(der.objectIdentifier("1.2.840.113549.1.1.10"), der.sequence()),
        der.bitString(der.sequence(der.integer(odd(256)), der.integer(E))),
      ),
    ],
    [
      "Ed25519 cut off",
      der.sequence(der.sequence(der.objectIdentifier("1.3.101.112")), der.bitString(Buffer.alloc(31, 1))),
    ],
    [
      "a bit string that is not whole bytes",
      der.sequence(RSA, der.bitString(der.sequence(der.integer(odd(256)), der.integer(E)), 1)),
    ],
    ["P-256 without a point", ec(P256, Buffer.alloc(0))],
    ["a curve that nobody knows", ec("1.2.3.4.5", Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)]))],
    [
      "an algorithm that nobody knows",
      der.sequence(der.sequence(der.objectIdentifier("1.2.3.4")), der.bitString(Buffer.alloc(32))),
    ],
    ["nothing", der.sequence()],
    ["not a key", der.octetString(Buffer.alloc(3))],
    ["X25519, which can't sign", spkiOf("x25519")],
    ["Ed448, which was not offered", spkiOf("ed448")],
    ["RSA with an exponent of one", rsa(odd(256), Buffer.of(1))],
    ["RSA with an even exponent", rsa(odd(256), Buffer.of(2))],
    ["RSA with an exponent as long as the modulus", rsa(odd(256), odd(256))],
  ])("%s, of a server, is refused, whoever vouches for it", (_name, spki) => {
    const own = leaf(INTERMEDIATE, { spki });
    const meddle = changing(Type.certificate, () => writeCertificate(Buffer.alloc(0), [own.der, INTERMEDIATE.der]));
    const outcome = shake({ client: client(), server: server() }, meddle);
    expectRefused(outcome, Alert.badCertificate);
  });

  it("of an authority is looked at as well", () => {
    const weak = root("Weak", { keys: rsaKeys(1024) });
    expect(verdict([leaf(weak)], [weak])).toBe(Alert.badCertificate);
    const none = authority(ROOT, "Intermediate", { spki: spkiOf("x448") });
    expect(verdict([leaf(INTERMEDIATE), none], [ROOT])).toBe(Alert.badCertificate);
  });
});

describe("trust anchors", () => {
  it("are Cloudflare's for the edge", () => {
    const anchors = [...trustAnchors([CLOUDFLARE_ROOTS]).values()].flat();
    expect(anchors).toHaveLength(3);
    for (const { extensions, notBefore, notAfter, version } of anchors) {
      expect(extensions).toMatchObject({ authority: { isAuthority: true }, unknownCritical: [] });
      expect([version, notBefore < NOW, notAfter > NOW]).toEqual([2, true, true]);
    }
  });

  it("are read from one text with several, with lines of any length and words between", () => {
    const [first, second] = [root("One"), root("Two")];
    const text = `# roots\n${first.pem.replaceAll("\n", "\r\n")}\nsubject=Two\n${second.pem.replace(/\n(?!-)(?=[A-Za-z\d+/])/g, " ")}`;
    expect(trustAnchors([text]).size).toBe(2);
    expect(trustAnchors([new X509Certificate(first.der), second.pem]).size).toBe(2);
  });

  it("are read once for one list", () => {
    const list = [root().pem];
    expect(trustAnchors(list)).toBe(trustAnchors(list));
    expect(trustAnchors([...list])).not.toBe(trustAnchors(list));
  });
});

describe("the search for a path is bounded:", () => {
  /** As many as fit, each of which has issued each other, all of the same names. */
  function tangle(count: number): Issued[] {
    const keys = Array.from({ length: count }, () => ecKeys());
    const named = (index: number): string => (index % 2 === 0 ? "Even" : "Odd");
    return keys.map((own, index) =>
      issue({
        subject: named(index),
        keys: own,
        issuer: { subject: named(index + 1), keys: keys[(index + 1) % count] ?? own },
        extensions: AUTHORITY,
      }),
    );
  }

  it("authorities that have issued each other, in a circle or in all ways, cost no more than their limit", () => {
    const shared = ecKeys();
    // One key for all: each signature is right, and each path goes on.
    const all = Array.from({ length: MAX_CHAIN_CERTIFICATES - 1 }, (_, index) =>
      issue({
        subject: "Same",
        keys: shared,
        issuer: { subject: "Same", keys: shared },
        extensions: [...AUTHORITY, extension("1.2.3", false, der.octetString(Buffer.of(index)))],
      }),
    );
    const own = leaf({ subject: "Same", keys: shared, der: Buffer.alloc(0), pem: "" });
    expect(verdict([own, ...all], [root()])).toBe(Alert.badCertificate);
    const circle = tangle(14);
    expect(verdict([leaf(circle[0] as Issued), ...circle], [root()])).toBe(Alert.unknownCa);
  });

  it("names times name constraints, before any signature is looked at", () => {
    const count = Math.ceil(Math.sqrt(MAX_NAME_COMPARISONS)) + 1;
    const many = (suffix: string): Buffer[] => Array.from({ length: count }, (_, index) => dns(`n${index}.${suffix}`));
    const top = root();
    const limited = authority(top, "Limited", {
      extensions: [...AUTHORITY, nameConstraints([dns("test"), ...many("a.test")])],
    });
    const own = leaf(limited, { extensions: [...SERVER, names(dns(NAME), ...many("b.test"))] });
    expect(() =>
      verifyChain({
        chain: [own.der, limited.der],
        anchors: trustAnchors([top.pem]),
        serverName: NAME,
        time: NOW,
      }),
    ).toThrow(/too many names/);
    // In all together: none of these is too much alone, and the right one comes last.
    const keys = ecKeys();
    const extensions = [...AUTHORITY, nameConstraints([dns("test"), ...many("a.test").slice(0, 100)])];
    const stranger = root("Stranger");
    const wrong = Array.from({ length: 14 }, () => authority(stranger, "Limited", { keys, extensions }));
    const right = authority(top, "Limited", { keys, extensions });
    const named = leaf(right, { extensions: [...SERVER, names(dns(NAME), ...many("b.test").slice(0, 250))] });
    expect(verdict([named, ...wrong.slice(0, 3), right], [top])).toBe("ok");
    expect(verdict([named, ...wrong, right], [top])).toBe(Alert.badCertificate);
    const fewer = leaf(limited, { extensions: [...SERVER, names(dns(NAME), ...many("b.test").slice(0, 200))] });
    expect(verdict([fewer, limited], [top])).toBe("ok");
  });
});
