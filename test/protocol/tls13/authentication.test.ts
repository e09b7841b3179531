import { constants, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, it } from "vitest";
import { handshakeMessage, u16, vector } from "../../../src/protocol/tls13/byte-writer.ts";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { writeCertificate } from "../../../src/protocol/tls13/handshake-messages.ts";
import {
  at,
  authority,
  basicConstraints,
  CLIENT_AUTH,
  dns,
  type Issued,
  keyUsage,
  leaf,
  NAME,
  names,
  root,
  rsaKeys,
  SERVER,
  usages,
} from "./certificates.ts";
import {
  changed,
  expectRefused,
  Type,
  changing,
  client,
  type ClientChange,
  completed,
  identity,
  INTERMEDIATE,
  LEAF,
  type Outcome,
  ROOT,
  server,
  type ServerChange,
  shake,
  refusal,
} from "./rig.ts";

const EMPTY = Buffer.alloc(0);
const withServer = (change: ServerChange, more: ClientChange = {}): Outcome =>
  shake({ client: client(more), server: server(change) });

describe("a server that is not whom it says", () => {
  const stranger = root("Root");
  const ofStranger = authority(stranger);
  const notAuthority = authority(ROOT, "None", { extensions: [basicConstraints(false), keyUsage(0)] });
  const named = (name: string) => leaf(INTERMEDIATE, { extensions: [...SERVER, names(dns(name))] });

  it.each([
    ["of an authority that is not trusted", identity(leaf(ofStranger), ofStranger, stranger), Alert.unknownCa],
    ["with another name", identity(named("other.example.test"), INTERMEDIATE), Alert.badCertificate],
    [
      "with a certificate that expired",
      identity(leaf(INTERMEDIATE, { notAfter: at(-1) }), INTERMEDIATE),
      Alert.certificateExpired,
    ],
    [
      "with one that is not valid yet",
      identity(leaf(INTERMEDIATE, { notBefore: at(1) }), INTERMEDIATE),
      Alert.certificateExpired,
    ],
    [
      "with one for clients",
      identity(leaf(INTERMEDIATE, { extensions: [usages(CLIENT_AUTH), names(dns(NAME))] }), INTERMEDIATE),
      Alert.unsupportedCertificate,
    ],
    ["below a certificate that is no authority's", identity(leaf(notAuthority), notAuthority), Alert.badCertificate],
    ["without the authority between", identity(LEAF), Alert.unknownCa],
    ["with somebody else's certificate", { privateKey: leaf(INTERMEDIATE).keys.privateKey }, Alert.decryptError],
    ["with a short RSA key", identity(leaf(INTERMEDIATE, { keys: rsaKeys(1024) }), INTERMEDIATE), Alert.badCertificate],
  ] satisfies [string, ServerChange, number][])("%s is refused", (_name, change, alert) => {
    expectRefused(withServer(change), alert);
  });

  it("is refused with words that help", () => {
    const many = ["a.test", "b.test", "evil\u001b[2J.test", "c.test", "d.test"].map(dns);
    const wordsOf = (own: Issued): string | undefined => refusal(withServer(identity(own, INTERMEDIATE)))?.message;
    expect(wordsOf(leaf(INTERMEDIATE, { extensions: [...SERVER, names(...many)] }))).toBe(
      "the server's certificate is for a.test, b.test, c.test, …, not for edge.example.test; does something intercept TLS here?",
    );
    expect(wordsOf(leaf(INTERMEDIATE, { extensions: SERVER }))).toContain("is for nobody, not for edge.example.test");
    expect(wordsOf(leaf(INTERMEDIATE, { notAfter: at(-1) }))).toBe(
      "a certificate of the server's chain was not valid after 2026-05-31T12:00:00.000Z; is this machine's clock right?",
    );
    expect(wordsOf(leaf(INTERMEDIATE, { notBefore: at(1) }))).toContain("is not valid before 2026-06-02T12:00:00.000Z");
  });

  it("is told from the right one by address too", () => {
    expectRefused(withServer({}, { serverName: "192.0.2.1" }), Alert.badCertificate);
  });
});

describe("verification can't be switched off by accident:", () => {
  const stranger = root("Stranger");
  const wrong = identity(leaf(stranger), stranger);

  it("without roots, or with roots that can't be read, there is no client", () => {
    for (const roots of [[], [""], ["no certificate"], [ROOT.pem.slice(0, 200)], [ROOT.pem.replace(/[A-Z]/g, "A")]]) {
      expect(() => client({ roots })).toThrow(/no trust anchor/);
    }
  });

  it("roots that can't be read don't make the others void", () => {
    const roots = ["no certificate", stranger.pem.slice(0, 300), ROOT.pem];
    expect(completed(withServer({}, { roots }).client)).toBe(true);
    expectRefused(withServer(wrong, { roots }), Alert.unknownCa);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "a clock that says %d is refused",
    (time) => {
      expectRefused(withServer({}, { time }), Alert.certificateExpired);
    },
  );

  it("without a name there is no client", () => {
    for (const serverName of ["", "."]) expect(() => client({ serverName })).toThrow(/serverName is empty/);
  });

  it("without an application protocol there is no client", () => {
    expect(() => client({ alpn: [] })).toThrow(/alpn is empty/);
  });

  it("the environment and the options of node:tls mean nothing", () => {
    const former = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
    try {
      const tempting = {
        serverName: NAME,
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
        insecure: true,
        verify: false,
      };
      expectRefused(withServer(wrong, tempting), Alert.unknownCa);
    } finally {
      if (former === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      else process.env.NODE_TLS_REJECT_UNAUTHORIZED = former;
    }
  });

  it("no message of the server's can be left out", () => {
    for (const type of [Type.encryptedExtensions, Type.certificate, Type.certificateVerify, Type.finished]) {
      const outcome = shake({ client: client(), server: server() }, (from, message) =>
        from === "server" && message.bytes[0] === type ? [] : [message],
      );
      expect(completed(outcome.client)).toBe(false);
      if (type !== Type.finished) expectRefused(outcome, Alert.unexpectedMessage);
    }
  });
});

describe("CertificateVerify", () => {
  const resigned = (scheme: number, signature: Buffer): Buffer =>
    handshakeMessage(15, u16(scheme), vector(2, signature));

  it("with a bit flipped, cut off, or empty is refused", () => {
    const length = 4 + 4 + 70;
    for (let at = 8; at < length - 2; at += 9) {
      expectRefused(
        changed(Type.certificateVerify, (bytes) => {
          bytes[at] = (bytes[at] ?? 0) ^ 0x10;
          return bytes;
        }),
        Alert.decryptError,
      );
    }
    expectRefused(
      changed(Type.certificateVerify, () => resigned(0x0403, EMPTY)),
      Alert.decryptError,
    );
    expectRefused(
      changed(Type.certificateVerify, (bytes) => resigned(0x0403, bytes.subarray(8, -1))),
      Alert.decryptError,
    );
    expectRefused(
      changed(Type.certificateVerify, (bytes) => resigned(0x0403, Buffer.concat([bytes.subarray(8), Buffer.of(0)]))),
      Alert.decryptError,
    );
  });

  it.each([
    ["RSA PKCS #1 with SHA-256", 0x0401],
    ["RSA PKCS #1 with SHA-512", 0x0601],
    ["RSA PKCS #1 with SHA-1", 0x0201],
    ["ECDSA with SHA-1", 0x0203],
    ["ECDSA P-521, not offered", 0x0603],
    ["ECDSA P-384, not of this key", 0x0503],
    ["Ed25519, not of this key", 0x0807],
    ["RSA-PSS, not of this key", 0x0804],
    ["none there is", 0xfefe],
  ])("with the scheme %s is refused", (_name, scheme) => {
    expectRefused(
      changed(Type.certificateVerify, (bytes) => resigned(scheme, bytes.subarray(8))),
      Alert.illegalParameter,
    );
  });

  it("of an RSA key is refused as PKCS #1 v1.5, whatever it signs", () => {
    const own = leaf(INTERMEDIATE, { keys: rsaKeys() });
    const key = { key: own.keys.privateKey, padding: constants.RSA_PKCS1_PADDING };
    const outcome = shake(
      { client: client(), server: server(identity(own, INTERMEDIATE)) },
      changing(Type.certificateVerify, () => resigned(0x0401, sign("sha256", Buffer.of(1), key))),
    );
    expectRefused(outcome, Alert.illegalParameter);
  });

  it("of a key that TLS 1.3 has no scheme for is refused", () => {
    for (const [namedCurve, alert] of [
      ["P-521", Alert.illegalParameter],
      ["secp256k1", Alert.badCertificate],
    ] as const) {
      const keys = generateKeyPairSync("ec", { namedCurve });
      const own = leaf(INTERMEDIATE, { keys });
      const outcome = shake(
        { client: client(), server: server() },
        changing(Type.certificate, () => writeCertificate(EMPTY, [own.der, INTERMEDIATE.der])),
      );
      expectRefused(outcome, alert);
    }
  });
});

describe("Finished", () => {
  it("of the server, when it is wrong, is refused", () => {
    for (const at of [4, 20, 35]) {
      expectRefused(
        changed(Type.finished, (bytes) => {
          bytes[at] = (bytes[at] ?? 0) ^ 1;
          return bytes;
        }),
        Alert.decryptError,
      );
    }
    for (const length of [0, 31, 33, 48]) {
      expectRefused(
        changed(Type.finished, () => handshakeMessage(20, Buffer.alloc(length))),
        Alert.decryptError,
      );
    }
  });
});
