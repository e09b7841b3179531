import { describe, expect, it } from "vitest";
import { handshakeMessage, u16, u16List, vector } from "../../../src/protocol/tls13/byte-writer.ts";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { loadMlKem } from "../../../src/protocol/tls13/ml-kem.ts";
import type { NamedGroup } from "../../../src/protocol/tls13/session.ts";
import { editHello, get, type HelloParts, put } from "./edit.ts";
import { alertOf, client, completed, type Meddler, refusal, server, type ServerChange, shake } from "./rig.ts";

const EMPTY = Buffer.alloc(0);
const mlKem = await loadMlKem();

/** What the server says to a client's first message, changed. */
function answer(change: (parts: HelloParts) => void, options: ServerChange = {}): number | "ok" {
  const [event] = client().start();
  if (event?.kind !== "send") throw new Error("no ClientHello");
  return alertOf(() => server(options).receive("initial", editHello(event.bytes, change)));
}

const entry = (group: number, bytes: Buffer): Buffer => Buffer.concat([u16(group), vector(2, bytes)]);
const X25519 = entry(0x1d, Buffer.alloc(32, 9));

describe("a ClientHello", () => {
  it.each<[string, (parts: HelloParts) => void, number]>([
    ["without supported_versions", (parts) => put(parts.extensions, 43, undefined), Alert.protocolVersion],
    ["of TLS 1.2 alone", (parts) => put(parts.extensions, 43, u16List(1, [0x0303])), Alert.protocolVersion],
    ["without extensions", (parts) => (parts.extensions = undefined), Alert.protocolVersion],
    ["of SSL 3.0", (parts) => (parts.version = 0x0300), Alert.protocolVersion],
    ["with a session id (RFC 9001 § 8.4)", (parts) => (parts.sessionId = Buffer.alloc(32)), Alert.illegalParameter],
    ["with compression", (parts) => (parts.compression = Buffer.of(1, 0)), Alert.illegalParameter],
    ["with no compression method", (parts) => (parts.compression = EMPTY), Alert.decodeError],
    ["without groups", (parts) => put(parts.extensions, 10, undefined), Alert.missingExtension],
    ["without key shares", (parts) => put(parts.extensions, 51, undefined), Alert.missingExtension],
    ["without signature algorithms", (parts) => put(parts.extensions, 13, undefined), Alert.missingExtension],
    ["without transport parameters", (parts) => put(parts.extensions, 0x39, undefined), Alert.missingExtension],
    ["without ALPN", (parts) => put(parts.extensions, 16, undefined), Alert.noApplicationProtocol],
    [
      "with another protocol",
      (parts) => put(parts.extensions, 16, vector(2, vector(1, Buffer.from("h3")))),
      Alert.noApplicationProtocol,
    ],
    ["without a suite of ours", (parts) => (parts.suites = [0x1304, 0xc02b]), Alert.handshakeFailure],
    ["without suites", (parts) => (parts.suites = []), Alert.decodeError],
    [
      "without a signature of our key",
      (parts) => put(parts.extensions, 13, u16List(2, [0x0804, 0x0401])),
      Alert.handshakeFailure,
    ],
    [
      "with half a signature algorithm",
      (parts) => put(parts.extensions, 13, Buffer.of(0, 3, 4, 3, 8)),
      Alert.decodeError,
    ],
    ["with an extension twice", (parts) => parts.extensions?.push([10, u16List(2, [0x1d])]), Alert.illegalParameter],
    [
      "with a share of a group that it does not list",
      (parts) => put(parts.extensions, 51, vector(2, entry(0x18, Buffer.alloc(97)))),
      Alert.illegalParameter,
    ],
    [
      "with two shares of one group",
      (parts) => put(parts.extensions, 51, vector(2, X25519, X25519)),
      Alert.illegalParameter,
    ],
    [
      "with shares in another order than groups",
      (parts) => put(parts.extensions, 51, vector(2, entry(0x17, Buffer.alloc(65)), X25519)),
      Alert.illegalParameter,
    ],
    [
      "with a share of zeros",
      (parts) => put(parts.extensions, 51, vector(2, entry(0x1d, Buffer.alloc(32)))),
      Alert.illegalParameter,
    ],
    [
      "with a short share",
      (parts) => put(parts.extensions, 51, vector(2, entry(0x1d, Buffer.alloc(31, 9)))),
      Alert.illegalParameter,
    ],
    [
      "with bytes behind the shares",
      (parts) => put(parts.extensions, 51, Buffer.concat([vector(2, X25519), Buffer.of(0)])),
      Alert.decodeError,
    ],
    [
      "with a pre-shared key before its end",
      (parts) => parts.extensions?.unshift([45, Buffer.of(1, 1)], [41, EMPTY]),
      Alert.illegalParameter,
    ],
    ["with a pre-shared key and no mode for it", (parts) => put(parts.extensions, 41, EMPTY), Alert.missingExtension],
    ["with bytes behind its end", (parts) => (parts.tail = Buffer.of(0)), Alert.decodeError],
  ])("%s is refused", (_name, change, alert) => {
    expect(answer(change)).toBe(alert);
  });

  it.each<[string, (parts: HelloParts) => void]>([
    ["as it is", () => {}],
    ["with another old version, which says nothing (RFC 8446 § 4.2.1)", (parts) => (parts.version = 0x0301)],
    ["with suites that nobody knows", (parts) => parts.suites.unshift(0x0a0a)],
    ["with groups that nobody knows", (parts) => put(parts.extensions, 10, u16List(2, [0x2a2a, 0x1d]))],
    ["with versions that nobody knows", (parts) => put(parts.extensions, 43, u16List(1, [0x3a3a, 0x0304, 0x0303]))],
    [
      "with extensions that nobody knows",
      (parts) => parts.extensions?.unshift([0x4a4a, EMPTY], [0x5a5a, Buffer.of(0)]),
    ],
    [
      "with a pre-shared key, which we don't resume from",
      (parts) => parts.extensions?.push([45, Buffer.of(1, 1)], [41, Buffer.of(1)]),
    ],
    ["with padding", (parts) => put(parts.extensions, 21, Buffer.alloc(1000))],
    ["without a share, which takes a HelloRetryRequest", (parts) => put(parts.extensions, 51, vector(2))],
  ])("%s is answered", (_name, change) => {
    expect(answer(change)).toBe("ok");
  });

  it("with an ML-KEM key that is no such key is refused (FIPS 203 § 7.2)", () => {
    const groups: readonly NamedGroup[] = ["X25519MLKEM768"];
    const refuse = (change: (share: Buffer) => Buffer): number | "ok" => {
      const [event] = client({ groups, mlKem }).start();
      if (event?.kind !== "send") throw new Error("no ClientHello");
      const hello = editHello(event.bytes, (parts) => {
        const share = Buffer.from(get(parts.extensions, 51).subarray(6));
        put(parts.extensions, 51, vector(2, entry(0x11ec, change(share))));
      });
      return alertOf(() => server({ groups, mlKem }).receive("initial", hello));
    };
    expect(refuse((share) => share)).toBe("ok");
    // The first coefficient above the modulus 3329.
    expect(refuse((share) => (share.writeUInt16LE(0x0fff, 0), share))).toBe(Alert.illegalParameter);
    expect(refuse((share) => (share.fill(0xff, 0, 1152), share))).toBe(Alert.illegalParameter);
    expect(refuse((share) => share.subarray(1))).toBe(Alert.illegalParameter);
    expect(refuse((share) => share.subarray(0, 1184))).toBe(Alert.illegalParameter);
    expect(refuse((share) => Buffer.concat([share, Buffer.of(0)]))).toBe(Alert.illegalParameter);
    expect(refuse((share) => (share.fill(0, 1184), share))).toBe(Alert.illegalParameter);
  });
});

describe("the ClientHello after a HelloRetryRequest", () => {
  const second = (change: (parts: HelloParts) => void): Meddler => {
    let hellos = 0;
    return (from, message) => {
      if (from !== "client" || message.bytes[0] !== 1 || ++hellos !== 2) return [message];
      return [{ level: message.level, bytes: editHello(message.bytes, change) }];
    };
  };

  it.each<[string, (parts: HelloParts) => void, number]>([
    ["without the cookie", (parts) => put(parts.extensions, 44, undefined), Alert.illegalParameter],
    ["with another cookie", (parts) => put(parts.extensions, 44, vector(2, Buffer.alloc(32))), Alert.illegalParameter],
    [
      "with a shorter cookie",
      (parts) => put(parts.extensions, 44, vector(2, Buffer.alloc(31))),
      Alert.illegalParameter,
    ],
    ["with another random", (parts) => (parts.random = Buffer.alloc(32)), Alert.illegalParameter],
    ["with other suites", (parts) => parts.suites.reverse(), Alert.illegalParameter],
    [
      "with another protocol more",
      (parts) =>
        put(parts.extensions, 16, vector(2, vector(1, Buffer.from("argotunnel")), vector(1, Buffer.from("x")))),
      Alert.illegalParameter,
    ],
    ["with other transport parameters", (parts) => put(parts.extensions, 0x39, EMPTY), Alert.illegalParameter],
    ["with an extension more", (parts) => parts.extensions?.push([0x4a4a, EMPTY]), Alert.illegalParameter],
    ["with another server name", (parts) => put(parts.extensions, 0, EMPTY), Alert.illegalParameter],
    ["without a share", (parts) => put(parts.extensions, 51, vector(2)), Alert.illegalParameter],
    ["with the share of the first", (parts) => put(parts.extensions, 51, vector(2, X25519)), Alert.illegalParameter],
    [
      "with two shares",
      (parts) => put(parts.extensions, 51, vector(2, X25519, get(parts.extensions, 51).subarray(2))),
      Alert.illegalParameter,
    ],
  ])("%s is refused", (_name, change, alert) => {
    const outcome = shake({ client: client(), server: server({ groups: ["P-256"] }) }, second(change));
    expect(refusal(outcome)).toMatchObject({ role: "server", alert });
    expect(completed(outcome.client)).toBe(false);
  });

  it("with a share of another group than was asked for is refused, though we have that group", () => {
    const session = server({ groups: ["P-256", "X25519"] });
    const [first] = client({ groups: ["X25519", "P-256"] }).start();
    if (first?.kind !== "send") throw new Error("no ClientHello");
    const without = editHello(first.bytes, (parts) => put(parts.extensions, 51, vector(2)));
    const [retry] = session.receive("initial", without);
    if (retry?.kind !== "send") throw new Error("no HelloRetryRequest");
    const again = editHello(first.bytes, (parts) => {
      editHello(retry.bytes, (asked) => put(parts.extensions, 44, get(asked.extensions, 44)));
    });
    expect(alertOf(() => session.receive("initial", again))).toBe(Alert.illegalParameter);
  });

  it("may have another pre-shared key (RFC 8446 § 4.1.2)", () => {
    const session = server({ groups: ["P-256"] });
    const peer = client();
    const [first] = peer.start();
    if (first?.kind !== "send") throw new Error("no ClientHello");
    const keyed = (bytes: Buffer, key: number): Buffer =>
      editHello(bytes, (parts) => parts.extensions?.push([45, Buffer.of(1, 1)], [41, Buffer.of(key)]));
    const [retry] = session.receive("initial", keyed(first.bytes, 1));
    if (retry?.kind !== "send") throw new Error("no HelloRetryRequest");
    const [again] = peer.receive("initial", retry.bytes);
    if (again?.kind !== "send") throw new Error("no second ClientHello");
    expect(alertOf(() => session.receive("initial", keyed(again.bytes, 2)))).toBe("ok");
  });

  it("may have padding more or less (RFC 8446 § 4.1.2)", () => {
    // The server goes on; the client notices that its words were changed.
    const outcome = shake(
      { client: client(), server: server({ groups: ["P-256"] }) },
      second((parts) => put(parts.extensions, 21, Buffer.alloc(9))),
    );
    expect(refusal(outcome)).toMatchObject({ role: "client", alert: Alert.decryptError });
  });
});

describe("the client's Finished", () => {
  it.each([
    ["with a bit flipped", (bytes: Buffer) => ((bytes[4] = (bytes[4] ?? 0) ^ 1), bytes)],
    ["that is empty", () => handshakeMessage(20)],
    ["that is short", (bytes: Buffer) => handshakeMessage(20, bytes.subarray(5))],
    ["that is long", (bytes: Buffer) => handshakeMessage(20, bytes.subarray(4), Buffer.of(0))],
  ])("%s is refused, and no keys to read with are given", (_name, change) => {
    const outcome = shake({ client: client(), server: server() }, (from, message) =>
      from === "client" && message.bytes[0] === 20
        ? [{ level: message.level, bytes: change(Buffer.from(message.bytes)) }]
        : [message],
    );
    expect(refusal(outcome)).toMatchObject({ role: "server", alert: Alert.decryptError });
    expect(completed(outcome.server)).toBe(false);
    expect(outcome.server).not.toContainEqual(
      expect.objectContaining({ kind: "secret", level: "application", direction: "read" }),
    );
  });
});

describe("the ClientHello of ours", () => {
  const hello = (change: Parameters<typeof client>[0]): HelloParts => {
    const [event] = client(change).start();
    if (event?.kind !== "send") throw new Error("no ClientHello");
    let found: HelloParts | undefined;
    editHello(event.bytes, (parts) => (found = parts));
    if (found === undefined) throw new Error("not read");
    return found;
  };

  it("offers what cloudflared does, with a share for the first group alone (wire § 3)", () => {
    const parts = hello({ groups: ["X25519MLKEM768", "P-256"], mlKem });
    expect(parts).toMatchObject({ version: 0x0303, suites: [0x1301, 0x1302, 0x1303], compression: Buffer.of(0) });
    expect(parts.sessionId).toHaveLength(0);
    expect(get(parts.extensions, 10)).toEqual(u16List(2, [0x11ec, 0x0017]));
    expect(get(parts.extensions, 43)).toEqual(u16List(1, [0x0304]));
    expect(get(parts.extensions, 16)).toEqual(vector(2, vector(1, Buffer.from("argotunnel"))));
    const share = get(parts.extensions, 51);
    expect([share.readUInt16BE(2), share.length]).toEqual([0x11ec, 2 + 4 + 1184 + 32]);
    expect(parts.extensions?.map(([type]) => type)).toEqual([0, 10, 13, 16, 43, 51, 0x39]);
  });

  it("leaves ML-KEM out where there is none", () => {
    expect(get(hello({ groups: ["X25519MLKEM768", "P-256"] }).extensions, 10)).toEqual(u16List(2, [0x17]));
  });

  it("names the server as DNS does, and no address (RFC 6066 § 3)", () => {
    const name = get(hello({ serverName: "Edge.Example.TEST." }).extensions, 0);
    expect(name.subarray(5).toString()).toBe("edge.example.test");
    for (const serverName of ["192.0.2.1", "2001:db8::1"]) {
      expect(hello({ serverName }).extensions?.some(([type]) => type === 0)).toBe(false);
    }
  });

  it("takes RSA PKCS #1 for certificates, and nothing with SHA-1", () => {
    const list = get(hello({}).extensions, 13).subarray(2);
    const schemes = Array.from({ length: list.length / 2 }, (_, index) => list.readUInt16BE(2 * index));
    expect(schemes).toEqual([
      0x0403, 0x0807, 0x0503, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601,
    ]);
  });
});
