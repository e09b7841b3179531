import { describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { loadMlKem } from "../../../src/protocol/tls13/ml-kem.ts";
import type { CipherSuite, NamedGroup } from "../../../src/protocol/tls13/session.ts";
import { ecKeys, edKeys, type Keys, leaf, rsaKeys } from "./certificates.ts";
import {
  client,
  CLIENT_PARAMETERS,
  completed,
  identity,
  INTERMEDIATE,
  type Meddler,
  type Outcome,
  refusal,
  secretsOf,
  server,
  SERVER_PARAMETERS,
  shake,
} from "./rig.ts";

/** Both are through, and have the same secrets, the one's to write with being the other's to read with. */
function expectAgreement(outcome: Outcome): void {
  expect(refusal(outcome)).toBeUndefined();
  expect(completed(outcome.client)).toBe(true);
  expect(completed(outcome.server)).toBe(true);
  const [ours, theirs] = [secretsOf(outcome.client), secretsOf(outcome.server)];
  for (const level of ["handshake", "application"]) {
    expect(ours[`${level} read`]).toBe(theirs[`${level} write`]);
    expect(ours[`${level} write`]).toBe(theirs[`${level} read`]);
    expect(ours[`${level} write`]).not.toBe(ours[`${level} read`]);
  }
}

const kinds = (events: Outcome["client"]): string[] =>
  events.map((event) => {
    if (event.kind === "secret") return `${event.level} ${event.direction}`;
    return event.kind === "send" ? `send ${event.level}` : event.kind;
  });

const HRR_RANDOM = "cf21ad74e59a6111";
const retries = (outcome: Outcome): number =>
  outcome.server.filter((event) => event.kind === "send" && event.bytes.toString("hex", 6, 14) === HRR_RANDOM).length;

const mlKem = await loadMlKem();

describe("a handshake", () => {
  it("tells in order what happens, and each end's parameters", () => {
    const outcome = shake({ client: client(), server: server() });
    expectAgreement(outcome);
    expect(kinds(outcome.client)).toEqual([
      "send initial",
      "handshake write",
      "handshake read",
      "peer-transport-parameters",
      "send handshake",
      "application write",
      "application read",
      "complete",
    ]);
    // What a client sends before its Finished must not be read (RFC 9001 § 5.7).
    expect(kinds(outcome.server)).toEqual([
      "peer-transport-parameters",
      "send initial",
      "handshake write",
      "handshake read",
      "send handshake",
      "send handshake",
      "send handshake",
      "application write",
      "application read",
      "complete",
    ]);
    expect(outcome.client.find((event) => event.kind === "peer-transport-parameters")?.bytes).toEqual(
      SERVER_PARAMETERS,
    );
    expect(outcome.server.find((event) => event.kind === "peer-transport-parameters")?.bytes).toEqual(
      CLIENT_PARAMETERS,
    );
  });

  it.each<[CipherSuite, number]>([
    ["TLS_AES_128_GCM_SHA256", 64],
    ["TLS_AES_256_GCM_SHA384", 96],
    ["TLS_CHACHA20_POLY1305_SHA256", 64],
  ])("agrees with the suite %s", (suite, hexLength) => {
    const outcome = shake({ client: client({ suites: [suite] }), server: server() });
    expectAgreement(outcome);
    expect(secretsOf(outcome.client)["application write"]).toHaveLength(hexLength);
    for (const events of [outcome.client, outcome.server]) {
      expect(events.at(-1)).toEqual({ kind: "complete", alpn: "argotunnel", group: "X25519", suite });
    }
  });

  it("takes the server's order of suites and of application protocols", () => {
    const outcome = shake({
      client: client({ alpn: ["a", "b"] }),
      server: server({ alpn: ["z", "b", "a"], suites: ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"] }),
    });
    expectAgreement(outcome);
    expect(outcome.client.at(-1)).toMatchObject({ alpn: "b", suite: "TLS_CHACHA20_POLY1305_SHA256" });
  });

  const groups: readonly NamedGroup[] = ["X25519", "P-256", "X25519MLKEM768"];
  it.each(groups)("agrees in the group %s", (group) => {
    if (group === "X25519MLKEM768") expect(mlKem, "ML-KEM: of Node.js or of the package").toBeDefined();
    const outcome = shake({ client: client({ groups: [group], mlKem }), server: server({ groups, mlKem }) });
    expectAgreement(outcome);
    expect(retries(outcome)).toBe(0);
    expect(outcome.client.at(-1)).toMatchObject({ group });
    expect(outcome.server.at(-1)).toMatchObject({ group });
  });

  it.each<[string, () => Keys]>([
    ["ECDSA P-256", ecKeys],
    ["ECDSA P-384", () => ecKeys("P-384")],
    ["Ed25519", edKeys],
    ["RSA", rsaKeys],
  ])("takes a server's signature with %s", (_name, keys) => {
    const own = leaf(INTERMEDIATE, { keys: keys() });
    expectAgreement(shake({ client: client(), server: server(identity(own, INTERMEDIATE)) }));
  });

  it("has other secrets each time", () => {
    const [first, second] = [1, 2].map(() => shake({ client: client(), server: server() }));
    expect(secretsOf(first?.client ?? [])).not.toEqual(secretsOf(second?.client ?? []));
  });
});

describe("HelloRetryRequest", () => {
  it.each<[NamedGroup[], NamedGroup]>([
    [["X25519", "P-256"], "P-256"],
    [["P-256", "X25519"], "X25519"],
    [["X25519MLKEM768", "P-256"], "P-256"],
    [["P-256", "X25519MLKEM768"], "X25519MLKEM768"],
  ])("leads a client that offers %s to %s", (offered, wanted) => {
    for (const suite of ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"] as const) {
      const outcome = shake({
        client: client({ groups: offered, mlKem }),
        server: server({ groups: [wanted], suites: [suite], mlKem }),
      });
      expectAgreement(outcome);
      expect(retries(outcome)).toBe(1);
      expect(outcome.client.at(-1)).toMatchObject({ group: wanted, suite });
    }
  });

  it("leaves random, suites and the rest of the ClientHello as they were, and gives the cookie back", () => {
    const outcome = shake({ client: client({ groups: ["P-256", "X25519"] }), server: server({ groups: ["X25519"] }) });
    const hellos = outcome.client.flatMap((event) =>
      event.kind === "send" && event.level === "initial" ? [event.bytes] : [],
    );
    expect(hellos).toHaveLength(2);
    const [first, second] = hellos as [Buffer, Buffer];
    // Version, random, session id, suites, compression.
    expect(second.subarray(4, 4 + 35 + 8 + 2)).toEqual(first.subarray(4, 4 + 35 + 8 + 2));
    const retry = outcome.server.find((event) => event.kind === "send");
    const cookie = retry?.kind === "send" ? retry.bytes.subarray(-32) : Buffer.alloc(0);
    expect(first.includes(cookie)).toBe(false);
    expect(second.includes(cookie)).toBe(true);
  });

  it("is spared where the client's share will do, whatever the server would rather have", () => {
    const outcome = shake({
      client: client({ groups: ["X25519", "P-256"] }),
      server: server({ groups: ["P-256", "X25519"] }),
    });
    expectAgreement(outcome);
    expect(retries(outcome)).toBe(0);
    expect(outcome.client.at(-1)).toMatchObject({ group: "X25519" });
  });

  it("is refused a second time", () => {
    const twice: Meddler = (from, message, index) =>
      from === "server" && index === 1 ? [message, message] : [message];
    const outcome = shake({ client: client(), server: server({ groups: ["P-256"] }) }, twice);
    expect(refusal(outcome)).toMatchObject({ role: "client", alert: Alert.unexpectedMessage });
  });

  it("fails where there is no group in common", () => {
    const outcome = shake({ client: client({ groups: ["X25519"] }), server: server({ groups: ["P-256"] }) });
    expect(refusal(outcome)).toMatchObject({ role: "server", alert: Alert.handshakeFailure });
  });

  it("X25519MLKEM768 alone, with a server that has none of it, fails and does not fall back", () => {
    const outcome = shake({ client: client({ groups: ["X25519MLKEM768"], mlKem }), server: server() });
    expect(refusal(outcome)).toMatchObject({ role: "server", alert: Alert.handshakeFailure });
    expect(() => client({ groups: ["X25519MLKEM768"] })).toThrow(/needs ML-KEM/);
  });
});

describe("handshake bytes", () => {
  const cut =
    (size: number): Meddler =>
    (_from, { level, bytes }) => {
      const pieces: { level: typeof level; bytes: Buffer }[] = [];
      for (let at = 0; at < bytes.length; at += size) pieces.push({ level, bytes: bytes.subarray(at, at + size) });
      return pieces;
    };

  it.each([1, 3, 4, 5, 100, 1000])("may come in pieces of %i", (size) => {
    expectAgreement(shake({ client: client(), server: server({ groups: ["P-256"] }) }, cut(size)));
  });

  it("may come with several messages together, cut anywhere", () => {
    for (const size of [37, 200, 1 << 20]) {
      let kept: Buffer[] = [];
      // All of the handshake level up to Finished at once, in pieces.
      const together: Meddler = (from, { level, bytes }) => {
        if (from === "client" || level === "initial") return [{ level, bytes }];
        kept.push(bytes);
        if (bytes[0] !== 20) return [];
        const all = Buffer.concat(kept);
        kept = [];
        return cut(size)(from, { level, bytes: all }, 0);
      };
      expectAgreement(shake({ client: client(), server: server() }, together));
    }
  });

  it("are not kept when empty", () => {
    const noisy: Meddler = (_from, message) => [{ level: message.level, bytes: Buffer.alloc(0) }, message];
    expectAgreement(shake({ client: client(), server: server() }, noisy));
  });

  it("may be overwritten by their owner once they were received", () => {
    const reused: Meddler = (_from, { level, bytes }) => [{ level, bytes: Buffer.from(bytes) }];
    const ends = { client: client(), server: server() };
    const receive = ends.client.receive.bind(ends.client);
    ends.client.receive = (level, bytes) => {
      const events = receive(level, bytes);
      bytes.fill(0xff);
      return events;
    };
    const receiveAtServer = ends.server.receive.bind(ends.server);
    ends.server.receive = (level, bytes) => {
      const events = receiveAtServer(level, bytes);
      bytes.fill(0xff);
      return events;
    };
    expectAgreement(shake(ends, reused));
  });
});
