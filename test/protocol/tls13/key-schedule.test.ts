import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  randomBytes,
  X509Certificate,
} from "node:crypto";
import { describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import {
  checkNewSessionTicket,
  readCertificate,
  readCertificateVerify,
} from "../../../src/protocol/tls13/handshake-messages.ts";
import { hkdfExpandLabel, hkdfExtract } from "../../../src/protocol/tls13/hkdf.ts";
import { KeySchedule } from "../../../src/protocol/tls13/key-schedule.ts";
import { readServerHello } from "../../../src/protocol/tls13/server-hello.ts";
import { verifyTranscript } from "../../../src/protocol/tls13/signature-schemes.ts";
import { Transcript } from "../../../src/protocol/tls13/transcript.ts";
import { parseCertificate } from "../../../src/protocol/tls13/x509/certificate.ts";
import { readPublicKey } from "../../../src/protocol/tls13/x509/public-key.ts";
import { EXPANSIONS, RETRY, SIMPLE } from "./rfc8448.ts";
import { alertOf } from "./rig.ts";

const EMPTY = Buffer.alloc(0);
const EMPTY_SHA256 = Buffer.from("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "hex");
const body = (message: Buffer): Buffer => message.subarray(4);

describe("HKDF", () => {
  it("extracts as RFC 5869 App. A.1 does", () => {
    const ikm = Buffer.alloc(22, 0x0b);
    const salt = Buffer.from("000102030405060708090a0b0c", "hex");
    expect(hkdfExtract("sha256", salt, ikm).toString("hex")).toBe(
      "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
    );
  });

  it("expands the labels of RFC 8448 § 3", () => {
    const zeros = Buffer.alloc(32);
    const early = hkdfExtract("sha256", zeros, zeros);
    expect(early).toEqual(EXPANSIONS.early);
    expect(hkdfExpandLabel("sha256", early, "derived", EMPTY_SHA256, 32)).toEqual(EXPANSIONS.earlyDerived);
    expect(hkdfExtract("sha256", EXPANSIONS.earlyDerived, SIMPLE.keyExchange)).toEqual(EXPANSIONS.handshake);
    expect(hkdfExpandLabel("sha256", EXPANSIONS.handshake, "derived", EMPTY_SHA256, 32)).toEqual(
      EXPANSIONS.handshakeDerived,
    );
    expect(hkdfExtract("sha256", EXPANSIONS.handshakeDerived, zeros)).toEqual(EXPANSIONS.master);
    expect(hkdfExpandLabel("sha256", SIMPLE.serverHandshake, "key", EMPTY, 16)).toEqual(EXPANSIONS.serverHandshakeKey);
    expect(hkdfExpandLabel("sha256", SIMPLE.serverHandshake, "iv", EMPTY, 12)).toEqual(EXPANSIONS.serverHandshakeIv);
  });

  it.each(["sha256", "sha384"] as const)("expands as OpenSSL does with %s, over several blocks too", (hash) => {
    for (const length of [1, 16, 32, 48, 49, 96, 100, 255]) {
      const [salt, ikm, context] = [randomBytes(32), randomBytes(48), randomBytes(length % 50)];
      const label = Buffer.from("tls13 some label");
      const info = Buffer.concat([
        Buffer.of(length >>> 8, length & 0xff, label.length),
        label,
        Buffer.of(context.length),
        context,
      ]);
      const expected = Buffer.from(hkdfSync(hash, ikm, salt, info, length));
      const secret = hkdfExtract(hash, salt, ikm);
      expect(hkdfExpandLabel(hash, secret, "some label", context, length)).toEqual(expected);
    }
  });
});

/** All that follows from the messages: in the order of a handshake. */
function drive(transcript: Transcript, trace: typeof SIMPLE | typeof RETRY) {
  const schedule = new KeySchedule("sha256");
  transcript.choose("sha256");
  transcript.add(trace.serverHello);
  const helloHash = transcript.digest();
  const handshake = schedule.handshakeSecrets(trace.keyExchange, helloHash);
  transcript.add(trace.encryptedExtensions);
  transcript.add(trace.certificate);
  const signedHash = transcript.digest();
  transcript.add(trace.certificateVerify);
  const serverFinishedHash = transcript.digest();
  const serverFinished = schedule.finished(handshake.server, serverFinishedHash);
  transcript.add(trace.serverFinished);
  const clientFinished = schedule.finished(handshake.client, transcript.digest());
  const application = schedule.applicationSecrets(transcript.digest());
  return {
    schedule,
    helloHash,
    handshake,
    signedHash,
    serverFinishedHash,
    serverFinished,
    clientFinished,
    application,
  };
}

function hasRightSignature(trace: typeof SIMPLE | typeof RETRY, signedHash: Buffer): boolean {
  const [certificate = EMPTY] = readCertificate(body(trace.certificate));
  const { scheme, signature } = readCertificateVerify(body(trace.certificateVerify));
  return verifyTranscript(scheme, new X509Certificate(certificate).publicKey, signedHash, signature);
}

describe("the trace of RFC 8448 § 3, a simple handshake", () => {
  it("has our secrets, Finished messages and signature", () => {
    const transcript = new Transcript();
    transcript.add(SIMPLE.clientHello);
    const outcome = drive(transcript, SIMPLE);
    expect(outcome.handshake).toEqual({ client: SIMPLE.clientHandshake, server: SIMPLE.serverHandshake });
    expect(outcome.serverFinished).toEqual(body(SIMPLE.serverFinished));
    expect(outcome.clientFinished).toEqual(body(SIMPLE.clientFinished));
    expect(outcome.application).toEqual({ client: SIMPLE.clientApplication, server: SIMPLE.serverApplication });
    expect(hasRightSignature(SIMPLE, outcome.signedHash)).toBe(true);
    expect(hasRightSignature(SIMPLE, outcome.helloHash)).toBe(false);
  });

  it("has a Finished that is refused with a bit flipped, shortened, lengthened, empty", () => {
    const transcript = new Transcript();
    transcript.add(SIMPLE.clientHello);
    const { schedule, serverFinishedHash } = drive(transcript, SIMPLE);
    const finished = body(SIMPLE.serverFinished);
    const isFinished = (bytes: Buffer): boolean =>
      schedule.isFinished(SIMPLE.serverHandshake, serverFinishedHash, bytes);
    expect(isFinished(finished)).toBe(true);
    for (let at = 0; at < 32; at++) {
      const wrong = Buffer.from(finished);
      wrong[at] = (wrong[at] ?? 0) ^ 0x01;
      expect(isFinished(wrong)).toBe(false);
    }
    for (const wrong of [EMPTY, finished.subarray(0, 31), Buffer.concat([finished, Buffer.of(0)])]) {
      expect(isFinished(wrong)).toBe(false);
    }
    expect(schedule.isFinished(SIMPLE.clientHandshake, serverFinishedHash, finished)).toBe(false);
  });

  it("has a ServerHello that is read, with a share that leads to its key exchange", () => {
    const hello = readServerHello(body(SIMPLE.serverHello));
    expect(hello).toEqual({ kind: "hello", suite: 0x1301, share: { group: 0x1d, bytes: SIMPLE.serverPublic } });
    const privateKey = createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b656e04220420", "hex"), SIMPLE.clientPrivate]),
      format: "der",
      type: "pkcs8",
    });
    const publicKey = createPublicKey({
      key: Buffer.concat([Buffer.from("302a300506032b656e032100", "hex"), SIMPLE.serverPublic]),
      format: "der",
      type: "spki",
    });
    expect(diffieHellman({ privateKey, publicKey })).toEqual(SIMPLE.keyExchange);
  });

  it("has a certificate that is read, and whose key is too short", () => {
    const [der = EMPTY] = readCertificate(body(SIMPLE.certificate));
    const certificate = parseCertificate(der);
    expect(certificate).toMatchObject({
      notBefore: Date.UTC(2016, 6, 30, 1, 23, 59),
      notAfter: Date.UTC(2026, 6, 30, 1, 23, 59),
      version: 2,
      extensions: { authority: { isAuthority: false }, keyUsage: 0b101 },
    });
    expect(() => readPublicKey(certificate.publicKey)).toThrow(/RSA key of 1024 bits/);
  });

  it("has a ticket that QUIC does not allow, for it limits early data (RFC 9001 § 4.6.1)", () => {
    expect(alertOf(() => checkNewSessionTicket(body(SIMPLE.ticket)))).toBe(Alert.illegalParameter);
    const unlimited = Buffer.from(body(SIMPLE.ticket));
    unlimited.fill(0xff, unlimited.length - 4);
    expect(alertOf(() => checkNewSessionTicket(unlimited))).toBe("ok");
  });
});

describe("the trace of RFC 8448 § 5, with a HelloRetryRequest", () => {
  it("has our secrets, Finished and signature: a hash stands for the first ClientHello", () => {
    const ecdh = createECDH("prime256v1");
    ecdh.setPrivateKey(RETRY.clientPrivate);
    const hello = readServerHello(body(RETRY.serverHello));
    if (hello.kind !== "hello") throw new Error("a ServerHello was wanted");
    expect(ecdh.computeSecret(hello.share.bytes)).toEqual(RETRY.keyExchange);

    const transcript = new Transcript();
    transcript.add(RETRY.clientHello1);
    transcript.retry("sha256");
    transcript.add(RETRY.helloRetryRequest);
    transcript.add(RETRY.clientHello2);
    const outcome = drive(transcript, RETRY);
    expect(outcome.helloHash).toEqual(RETRY.helloHash);
    expect(outcome.handshake).toEqual({ client: RETRY.clientHandshake, server: RETRY.serverHandshake });
    expect(outcome.serverFinished).toEqual(body(RETRY.serverFinished));
    expect(outcome.application).toEqual({ client: RETRY.clientApplication, server: RETRY.serverApplication });
    expect(hasRightSignature(RETRY, outcome.signedHash)).toBe(true);
  });

  it("has a HelloRetryRequest that is read", () => {
    const retry = readServerHello(body(RETRY.helloRetryRequest));
    expect(retry).toMatchObject({ kind: "retry", suite: 0x1301, group: 0x17 });
    expect(retry.kind === "retry" && retry.cookie?.length).toBe(114);
  });
});
