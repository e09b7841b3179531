import { createECDH } from "node:crypto";
import { describe, expect, it } from "vitest";
import { handshakeMessage, u16, vector } from "../../../src/protocol/tls13/byte-writer.ts";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { writeCertificate } from "../../../src/protocol/tls13/handshake-messages.ts";
import { MAX_CHAIN_CERTIFICATES } from "../../../src/protocol/tls13/limits.ts";
import { loadMlKem } from "../../../src/protocol/tls13/ml-kem.ts";
import { writeHelloRetryRequest } from "../../../src/protocol/tls13/server-hello.ts";
import { editEncryptedExtensions, editHello, type ExtensionList, get, type HelloParts, put } from "./edit.ts";
import {
  alertOf,
  changed,
  expectRefused,
  Type,
  changing,
  client,
  flightFor,
  INTERMEDIATE,
  LEAF,
  type Outcome,
  ROOT,
  server,
  shake,
} from "./rig.ts";
import { play } from "./scripted-server.ts";

const EMPTY = Buffer.alloc(0);
const mlKem = await loadMlKem();

describe("ServerHello", () => {
  const shareOf = (group: number, bytes: Buffer): Buffer => Buffer.concat([u16(group), vector(2, bytes)]);
  const point = (): Buffer => createECDH("prime256v1").generateKeys();
  const share = (parts: HelloParts): Buffer => get(parts.extensions, 51).subarray(4);
  const random = (end: string): Buffer => Buffer.concat([Buffer.alloc(24, 7), Buffer.from(end, "latin1")]);

  const CASES: readonly (readonly [string, (parts: HelloParts) => void, number])[] = [
    ["of version 0x0304", (parts) => (parts.version = 0x0304), Alert.illegalParameter],
    ["of TLS 1.1", (parts) => (parts.version = 0x0302), Alert.illegalParameter],
    ["with a session id", (parts) => (parts.sessionId = Buffer.alloc(32)), Alert.illegalParameter],
    ["with compression", (parts) => (parts.compression = Buffer.of(1)), Alert.illegalParameter],
    ["with a suite of TLS 1.2", (parts) => (parts.suites = [0xc02b]), Alert.illegalParameter],
    ["with a suite that nobody offered", (parts) => (parts.suites = [0x1304]), Alert.illegalParameter],
    ["without supported_versions", (parts) => put(parts.extensions, 43, undefined), Alert.protocolVersion],
    ["without extensions", (parts) => (parts.extensions = []), Alert.protocolVersion],
    ["without even a list of them", (parts) => (parts.extensions = undefined), Alert.protocolVersion],
    [
      "downgraded to TLS 1.2",
      (parts) => ((parts.extensions = undefined), (parts.random = random("DOWNGRD\x01"))),
      Alert.illegalParameter,
    ],
    [
      "downgraded to TLS 1.1",
      (parts) => ((parts.extensions = []), (parts.random = random("DOWNGRD\x00"))),
      Alert.illegalParameter,
    ],
    ["that selects TLS 1.2", (parts) => put(parts.extensions, 43, u16(0x0303)), Alert.illegalParameter],
    ["that selects a draft", (parts) => put(parts.extensions, 43, u16(0x7f1c)), Alert.illegalParameter],
    ["that selects a list", (parts) => put(parts.extensions, 43, Buffer.of(2, 3, 4)), Alert.decodeError],
    ["without a key share", (parts) => put(parts.extensions, 51, undefined), Alert.missingExtension],
    [
      "with a key share of another offered group",
      (parts) => put(parts.extensions, 51, shareOf(0x17, point())),
      Alert.illegalParameter,
    ],
    [
      "with a share that is said to be of another offered group",
      (parts) => put(parts.extensions, 51, shareOf(0x17, share(parts))),
      Alert.illegalParameter,
    ],
    [
      "with one of a group that nobody offered",
      (parts) => put(parts.extensions, 51, shareOf(0x18, Buffer.alloc(97, 4))),
      Alert.illegalParameter,
    ],
    ["with a group and no share", (parts) => put(parts.extensions, 51, u16(0x1d)), Alert.decodeError],
    ["with an empty share", (parts) => put(parts.extensions, 51, shareOf(0x1d, EMPTY)), Alert.decodeError],
    [
      "with a short share",
      (parts) => put(parts.extensions, 51, shareOf(0x1d, share(parts).subarray(1))),
      Alert.illegalParameter,
    ],
    [
      "with a long share",
      (parts) => put(parts.extensions, 51, shareOf(0x1d, Buffer.alloc(33, 9))),
      Alert.illegalParameter,
    ],
    [
      "with two shares",
      (parts) => put(parts.extensions, 51, Buffer.concat([get(parts.extensions, 51), get(parts.extensions, 51)])),
      Alert.decodeError,
    ],
    ["with an extension twice", (parts) => parts.extensions?.push([43, u16(0x0304)]), Alert.illegalParameter],
    [
      "with ALPN, which has its place elsewhere",
      (parts) => put(parts.extensions, 16, Buffer.of(0, 2, 1, 97)),
      Alert.illegalParameter,
    ],
    ["with a cookie", (parts) => put(parts.extensions, 44, Buffer.of(0, 1, 7)), Alert.illegalParameter],
    [
      "with a pre-shared key that nobody offered",
      (parts) => put(parts.extensions, 41, u16(0)),
      Alert.unsupportedExtension,
    ],
    [
      "with an extension that nobody offered",
      (parts) => put(parts.extensions, 0xff01, Buffer.of(0)),
      Alert.unsupportedExtension,
    ],
    ["with bytes behind its end", (parts) => (parts.tail = Buffer.of(0)), Alert.decodeError],
  ];

  it.each(CASES)("%s is refused", (_name, change, alert) => {
    expectRefused(
      changed(Type.serverHello, (bytes) => editHello(bytes, change)),
      alert,
    );
  });

  it("with a suite that this client does not offer is refused", () => {
    const suites = { suites: ["TLS_AES_128_GCM_SHA256"] } as const;
    const other = (bytes: Buffer): Buffer => editHello(bytes, (parts) => (parts.suites = [0x1302]));
    expectRefused(changed(Type.serverHello, other, suites), Alert.illegalParameter);
  });

  it.each([
    ["zero", "00".repeat(32)],
    ["one", `01${"00".repeat(31)}`],
    ["of order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"],
    ["of order 8, another", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"],
    ["p - 1", `ec${"ff".repeat(30)}7f`],
    ["p", `ed${"ff".repeat(30)}7f`],
    ["p + 1", `ee${"ff".repeat(30)}7f`],
  ])("with an X25519 share of small order, %s, is refused (RFC 7748 § 6.1)", (_name, bytes) => {
    const change = (message: Buffer): Buffer =>
      editHello(message, (parts) => put(parts.extensions, 51, shareOf(0x1d, Buffer.from(bytes, "hex"))));
    expectRefused(changed(Type.serverHello, change), Alert.illegalParameter);
    const hybrid = (message: Buffer): Buffer =>
      editHello(message, (parts) => {
        put(
          parts.extensions,
          51,
          shareOf(0x11ec, Buffer.concat([share(parts).subarray(0, 1088), Buffer.from(bytes, "hex")])),
        );
      });
    const outcome = shake(
      { client: client({ groups: ["X25519MLKEM768"], mlKem }), server: server({ groups: ["X25519MLKEM768"], mlKem }) },
      changing(Type.serverHello, hybrid),
    );
    expectRefused(outcome, Alert.illegalParameter);
  });

  const good = point();
  const flipped = Buffer.from(good);
  flipped[64] = (flipped[64] ?? 0) ^ 1;
  const compressed = Buffer.concat([Buffer.of(2 + ((good[64] ?? 0) & 1)), good.subarray(1, 33)]);
  const mixed = Buffer.from(good);
  mixed[0] = 6 + ((good[64] ?? 0) & 1);
  it.each([
    ["off the curve", flipped],
    ["compressed", compressed],
    ["in hybrid form", mixed],
    ["at infinity", Buffer.of(0)],
    ["of zeros", Buffer.concat([Buffer.of(4), Buffer.alloc(64)])],
    ["beyond the field", Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)])],
    ["that is short", good.subarray(0, 64)],
    ["that is long", Buffer.concat([good, Buffer.of(0)])],
  ])("with a P-256 point %s is refused", (_name, bytes) => {
    const change = (message: Buffer): Buffer =>
      editHello(message, (parts) => put(parts.extensions, 51, shareOf(0x17, bytes)));
    expectRefused(changed(Type.serverHello, change, { groups: ["P-256"] }), Alert.illegalParameter);
  });

  it("with a hybrid share of the wrong length is refused; a wrong ciphertext ends with other keys", () => {
    const groups = ["X25519MLKEM768"] as const;
    const hybrid = (change: (bytes: Buffer) => Buffer): Outcome =>
      shake(
        { client: client({ groups, mlKem }), server: server({ groups, mlKem }) },
        changing(Type.serverHello, (message) =>
          editHello(message, (parts) => put(parts.extensions, 51, shareOf(0x11ec, change(Buffer.from(share(parts)))))),
        ),
      );
    expectRefused(
      hybrid((bytes) => bytes.subarray(1)),
      Alert.illegalParameter,
    );
    expectRefused(
      hybrid((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
      Alert.illegalParameter,
    );
    expectRefused(
      hybrid((bytes) => bytes.subarray(0, 32)),
      Alert.illegalParameter,
    );
    // Implicit rejection (FIPS 203 § 6.3): a secret that nobody knows.
    const implicit = hybrid((bytes) => {
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      return bytes;
    });
    expectRefused(implicit, Alert.decryptError);
  });
});

describe("HelloRetryRequest", () => {
  const COOKIE = Buffer.from("a cookie");
  const retry = (change: (parts: HelloParts) => void): Buffer =>
    editHello(writeHelloRetryRequest(0x1301, 0x17, COOKIE), change);
  const refuse = (change: (parts: HelloParts) => void): number | "ok" => {
    const session = client();
    session.start();
    return alertOf(() => session.receive("initial", retry(change)));
  };

  it.each<[string, (parts: HelloParts) => void, number]>([
    ["the group whose share was sent", (parts) => put(parts.extensions, 51, u16(0x1d)), Alert.illegalParameter],
    ["a group that was not offered", (parts) => put(parts.extensions, 51, u16(0x18)), Alert.illegalParameter],
    ["nothing", (parts) => (parts.extensions = [[43, u16(0x0304)]]), Alert.illegalParameter],
    ["a group, with a share", (parts) => put(parts.extensions, 51, Buffer.of(0, 0x17, 0, 1, 4)), Alert.decodeError],
    ["an empty cookie", (parts) => put(parts.extensions, 44, u16(0)), Alert.decodeError],
    ["a cookie and a byte", (parts) => put(parts.extensions, 44, Buffer.of(0, 1, 7, 7)), Alert.decodeError],
    ["a suite that was not offered", (parts) => (parts.suites = [0x1304]), Alert.illegalParameter],
    ["another version", (parts) => put(parts.extensions, 43, u16(0x0303)), Alert.illegalParameter],
    ["no version", (parts) => put(parts.extensions, 43, undefined), Alert.protocolVersion],
    ["a session id", (parts) => (parts.sessionId = Buffer.of(1)), Alert.illegalParameter],
    ["ALPN", (parts) => put(parts.extensions, 16, Buffer.of(0, 2, 1, 97)), Alert.illegalParameter],
    ["an extension that nobody offered", (parts) => put(parts.extensions, 0x1234, EMPTY), Alert.unsupportedExtension],
  ])("that asks for %s is refused", (_name, change, alert) => {
    expect(refuse(change)).toBe(alert);
  });

  it("with a cookie alone is answered with it and the same share", () => {
    const { hellos, isFinished } = play(client(), { retry: retry((parts) => put(parts.extensions, 51, undefined)) });
    const [first, second] = hellos.map((hello) => {
      let found: HelloParts | undefined;
      editHello(hello, (parts) => (found = parts));
      return found;
    });
    expect(get(second?.extensions, 44)).toEqual(vector(2, COOKIE));
    expect(get(second?.extensions, 51)).toEqual(get(first?.extensions, 51));
    expect(second?.random).toEqual(first?.random);
    expect(isFinished).toBe(true);
  });

  it("and then a ServerHello with another suite, or another group, is refused", () => {
    const changes: readonly ((parts: HelloParts) => void)[] = [
      (parts) => (parts.suites = [0x1303]),
      (parts) => put(parts.extensions, 51, Buffer.concat([u16(0x1d), vector(2, Buffer.alloc(32, 9))])),
      (parts) => put(parts.extensions, 51, undefined),
    ];
    const alerts = changes.map((change) =>
      alertOf(() => play(client(), { retry: retry(() => {}), serverHello: (message) => editHello(message, change) })),
    );
    expect(alerts).toEqual([Alert.illegalParameter, Alert.illegalParameter, Alert.missingExtension]);
    expect(play(client(), { retry: retry(() => {}) }).isFinished).toBe(true);
  });
});

describe("EncryptedExtensions", () => {
  const alpn = (...list: readonly string[]): Buffer => vector(2, ...list.map((name) => vector(1, Buffer.from(name))));

  it.each<[string, (extensions: ExtensionList) => void, number]>([
    ["without ALPN", (list) => put(list, 16, undefined), Alert.noApplicationProtocol],
    ["with a protocol that was not offered", (list) => put(list, 16, alpn("h3")), Alert.illegalParameter],
    ["with two protocols", (list) => put(list, 16, alpn("argotunnel", "argotunnel")), Alert.illegalParameter],
    ["with no protocol in ALPN", (list) => put(list, 16, alpn()), Alert.decodeError],
    ["with an empty protocol", (list) => put(list, 16, alpn("")), Alert.decodeError],
    ["without transport parameters", (list) => put(list, 0x39, undefined), Alert.missingExtension],
    ["with ALPN twice", (list) => list.push([16, alpn("argotunnel")]), Alert.illegalParameter],
    ["with a server name that says something", (list) => put(list, 0, Buffer.of(1)), Alert.decodeError],
    ["with half a list of groups", (list) => put(list, 10, Buffer.of(0, 3, 0, 0x1d, 0)), Alert.decodeError],
    ["with a key share", (list) => put(list, 51, Buffer.of(0, 0x1d)), Alert.illegalParameter],
    ["with supported_versions", (list) => put(list, 43, u16(0x0304)), Alert.illegalParameter],
    ["with early data, which nobody offered", (list) => put(list, 42, EMPTY), Alert.unsupportedExtension],
    ["with the parameters of a draft of QUIC", (list) => put(list, 0xffa5, EMPTY), Alert.unsupportedExtension],
    ["with what nobody offered", (list) => put(list, 0xfafa, EMPTY), Alert.unsupportedExtension],
  ])("%s is refused", (_name, change, alert) => {
    expectRefused(
      changed(Type.encryptedExtensions, (bytes) => editEncryptedExtensions(bytes, change)),
      alert,
    );
  });

  it("may not say that a name was used where none was sent", () => {
    const named = (bytes: Buffer): Buffer => editEncryptedExtensions(bytes, (list) => put(list, 0, EMPTY));
    expectRefused(changed(Type.encryptedExtensions, named, { serverName: "192.0.2.1" }), Alert.illegalParameter);
  });

  it("may say that the name was used, and which groups the server has", () => {
    const [, message] = flightFor(client().start());
    const encryptedExtensions = editEncryptedExtensions(message?.bytes ?? EMPTY, (list) => {
      put(list, 0, EMPTY);
      put(list, 10, Buffer.of(0, 4, 0, 0x18, 0, 0x1d));
    });
    expect(play(client(), { encryptedExtensions }).isFinished).toBe(true);
  });
});

describe("Certificate", () => {
  const entry = (der: Buffer, ...extensions: readonly Buffer[]): Buffer =>
    Buffer.concat([vector(3, der), vector(2, ...extensions)]);
  const message = (...entries: readonly Buffer[]): Buffer => handshakeMessage(11, vector(1), vector(3, ...entries));
  const ofCount = (count: number): Buffer[] => [LEAF.der, INTERMEDIATE.der, ...Array<Buffer>(count - 2).fill(ROOT.der)];

  it.each<[string, Buffer, number]>([
    ["without a certificate", message(), Alert.decodeError],
    ["with an empty one", message(entry(EMPTY)), Alert.decodeError],
    ["with what is none", message(entry(Buffer.from("certificate"))), Alert.badCertificate],
    [
      "with a byte behind the certificate",
      message(entry(Buffer.concat([LEAF.der, Buffer.of(0)]))),
      Alert.badCertificate,
    ],
    ["cut off", message(entry(LEAF.der.subarray(0, -1))), Alert.badCertificate],
    ["with what is none behind it", message(entry(LEAF.der), entry(Buffer.of(0x30, 0))), Alert.badCertificate],
    ["in answer to a request", writeCertificate(Buffer.of(1), [LEAF.der]), Alert.illegalParameter],
    [
      "with an OCSP response that nobody asked for",
      message(entry(LEAF.der, u16(5), vector(2))),
      Alert.unsupportedExtension,
    ],
    ["with too many", writeCertificate(EMPTY, ofCount(MAX_CHAIN_CERTIFICATES + 1)), Alert.badCertificate],
  ])("%s is refused", (_name, bytes, alert) => {
    expectRefused(
      changed(Type.certificate, () => bytes),
      alert,
    );
  });

  it("may have as many as we look at", () => {
    expect(play(client(), { certificates: ofCount(MAX_CHAIN_CERTIFICATES) }).isFinished).toBe(true);
  });
});

describe("CertificateRequest", () => {
  const SCHEMES = Buffer.from("000d0004000208040000", "hex").subarray(0, 8);
  const request = (context: Buffer, ...extensions: readonly Buffer[]): Buffer =>
    handshakeMessage(13, vector(1, context), vector(2, ...extensions));

  it("is answered with no certificate (RFC 8446 § 4.4.2)", () => {
    // What is not known in it is ignored (§ 4.3.2).
    const { answer, isFinished } = play(client(), { request: request(EMPTY, SCHEMES, u16(0xfafa), vector(2)) });
    expect(answer.map(({ bytes }) => bytes[0])).toEqual([11, 20]);
    expect(answer[0]?.bytes.toString("hex")).toBe("0b00000400000000");
    expect(isFinished).toBe(true);
  });

  it("is refused with a context, without signature algorithms, cut off", () => {
    const alerts = [
      request(Buffer.of(1), SCHEMES),
      request(EMPTY),
      request(EMPTY, Buffer.from("000d00020000", "hex")),
      request(EMPTY, Buffer.from("000d00050002080400", "hex")),
      handshakeMessage(13, vector(1)),
    ].map((bytes) => alertOf(() => play(client(), { request: bytes })));
    expect(alerts).toEqual([
      Alert.illegalParameter,
      Alert.missingExtension,
      Alert.decodeError,
      Alert.decodeError,
      Alert.decodeError,
    ]);
  });
});
