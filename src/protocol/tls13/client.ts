/**
 * The client (RFC 8446 § 2, App. A.1):
 *
 *   ClientHello → [HelloRetryRequest → ClientHello] → ServerHello, EncryptedExtensions, [CertificateRequest], Certificate,
 *   CertificateVerify, Finished → [Certificate], Finished; then only NewSessionTicket comes
 */
import type { KeyObject } from "node:crypto";
import { addressBytes } from "../bytes/ip-address.ts";
import { handshakeMessage } from "./byte-writer.ts";
import { type SuiteDetails, suiteDetails } from "./cipher-suites.ts";
import { writeClientHello } from "./client-hello.ts";
import { Extension, MessageType } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import { expectOnly, readAlpn } from "./extensions.ts";
import { createKeyShare, groupCodePoint, type KeyShare, type NamedGroup, usableGroups } from "./groups.ts";
import { Handshake, sides } from "./handshake-base.ts";
import {
  checkNewSessionTicket,
  readCertificate,
  readCertificateRequest,
  readCertificateVerify,
  readEncryptedExtensions,
  writeCertificate,
} from "./handshake-messages.ts";
import { KeySchedule, type TrafficSecrets } from "./key-schedule.ts";
import { readServerHello } from "./server-hello.ts";
import { fitsKey, verifyTranscript } from "./signature-schemes.ts";
import type { TlsClientOptions } from "./types.ts";
import { verifyChain } from "./x509/chain.ts";
import { type TrustAnchors, trustAnchors } from "./x509/trust-anchors.ts";

type State = "server-hello" | "encrypted-extensions" | "certificate" | "certificate-verify" | "finished" | "complete";

export class ClientHandshake extends Handshake {
  readonly #options: TlsClientOptions;
  readonly #anchors: TrustAnchors;
  readonly #groups: readonly NamedGroup[];
  readonly #suites: readonly SuiteDetails[];
  readonly #random: Buffer;
  readonly #serverName: string;
  readonly #isAddress: boolean;
  #share: KeyShare;
  #state: State = "server-hello";
  #retried: SuiteDetails | undefined;
  #suite: SuiteDetails | undefined;
  #schedule: KeySchedule | undefined;
  #secrets: TrafficSecrets | undefined;
  #alpn = "";
  #requestContext: Buffer | undefined;
  #serverKey: KeyObject | undefined;

  constructor(options: TlsClientOptions) {
    super();
    this.#options = options;
    this.#anchors = trustAnchors(options.roots);
    this.#groups = usableGroups(options.groups, options.mlKem);
    this.#suites = suiteDetails(options.suites);
    this.#random = Buffer.from(options.random(32));
    this.#serverName = options.serverName.replace(/\.$/, "").toLowerCase();
    expectUsable(this.#serverName, options.alpn);
    this.#isAddress = addressBytes(this.#serverName) !== undefined;
    this.#share = createKeyShare(this.#groups[0] as NamedGroup, options.mlKem);
  }

  protected begin(): void {
    this.#hello(undefined);
  }

  #hello(cookie: Buffer | undefined): void {
    const { group, publicBytes } = this.#share;
    const message = writeClientHello({
      random: this.#random,
      suites: this.#suites.map((suite) => suite.codePoint),
      groups: this.#groups.map(groupCodePoint),
      share: { group: groupCodePoint(group), bytes: publicBytes },
      dnsName: this.#isAddress ? undefined : this.#serverName,
      alpn: this.#options.alpn,
      transportParameters: this.#options.transportParameters,
      cookie,
    });
    this.send("initial", message);
  }

  protected onMessage(type: number, body: Buffer, message: Buffer): void {
    switch (this.#state) {
      case "server-hello":
        if (type !== MessageType.serverHello) break;
        this.#onServerHello(body, message);
        return;
      case "encrypted-extensions":
        if (type !== MessageType.encryptedExtensions) break;
        this.#onEncryptedExtensions(body, message);
        return;
      case "certificate":
        if (type === MessageType.certificateRequest && this.#requestContext === undefined) {
          this.#requestContext = Buffer.from(readCertificateRequest(body));
          this.transcript.add(message);
          return;
        }
        if (type !== MessageType.certificate) break;
        this.#onCertificate(body, message);
        return;
      case "certificate-verify":
        if (type !== MessageType.certificateVerify) break;
        this.#onCertificateVerify(body, message);
        return;
      case "finished":
        if (type !== MessageType.finished) break;
        this.#onFinished(body, message);
        return;
      case "complete":
        // KeyUpdate has no place in QUIC (RFC 9001 § 6), and we did not offer authentication afterwards.
        if (type !== MessageType.newSessionTicket) break;
        checkNewSessionTicket(body);
        return;
    }
    throw this.unexpected(type);
  }

  #onServerHello(body: Buffer, message: Buffer): void {
    const hello = readServerHello(body);
    const suite = this.#suites.find((offered) => offered.codePoint === hello.suite);
    if (suite === undefined || (this.#retried !== undefined && this.#retried !== suite)) {
      throw new TlsAlertError(
        Alert.illegalParameter,
        `the server chose the suite ${hello.suite}, which was not offered`,
      );
    }
    if (hello.kind === "retry") {
      this.#retry(suite, hello.group, hello.cookie, message);
      return;
    }
    if (hello.share.group !== groupCodePoint(this.#share.group)) {
      throw new TlsAlertError(Alert.illegalParameter, "the server answers with a key share for another group");
    }
    const keyExchange = this.#share.agree(hello.share.bytes);
    this.transcript.choose(suite.hash);
    this.transcript.add(message);
    this.#suite = suite;
    this.#schedule = new KeySchedule(suite.hash);
    this.#secrets = this.#schedule.handshakeSecrets(keyExchange, this.transcript.digest());
    const { read, write } = sides(this.#secrets, "client");
    this.secret("handshake", "write", suite, write);
    this.secret("handshake", "read", suite, read);
    this.#state = "encrypted-extensions";
    this.readLevel = "handshake";
  }

  /** RFC 8446 § 4.1.4: once, and it must change what we say. */
  #retry(suite: SuiteDetails, groupPoint: number | undefined, cookie: Buffer | undefined, message: Buffer): void {
    if (this.#retried !== undefined) {
      throw new TlsAlertError(Alert.unexpectedMessage, "the server sends a second HelloRetryRequest");
    }
    const group = this.#groups.find((offered) => groupCodePoint(offered) === groupPoint);
    const isNew = group !== undefined && group !== this.#share.group;
    if (groupPoint === undefined ? cookie === undefined : !isNew) {
      throw new TlsAlertError(
        Alert.illegalParameter,
        "HelloRetryRequest asks for nothing that was offered and not sent",
      );
    }
    this.#retried = suite;
    this.transcript.retry(suite.hash);
    this.transcript.add(message);
    if (group !== undefined) this.#share = createKeyShare(group, this.#options.mlKem);
    this.#hello(cookie);
  }

  #onEncryptedExtensions(body: Buffer, message: Buffer): void {
    const extensions = readEncryptedExtensions(body);
    const allowed: number[] = [Extension.alpn, Extension.quicTransportParameters, Extension.supportedGroups];
    if (!this.#isAddress) allowed.push(Extension.serverName);
    expectOnly(extensions, allowed, "EncryptedExtensions");
    const alpn = extensions.get(Extension.alpn);
    const [chosen, ...more] = alpn === undefined ? [] : readAlpn(alpn);
    if (chosen === undefined) {
      // RFC 9001 § 8.1: without it the connection has no meaning.
      throw new TlsAlertError(Alert.noApplicationProtocol, "the server chose no application protocol (ALPN)");
    }
    if (more.length > 0 || !this.#options.alpn.includes(chosen)) {
      throw new TlsAlertError(Alert.illegalParameter, "the server chose an application protocol that was not offered");
    }
    const parameters = extensions.get(Extension.quicTransportParameters);
    if (parameters === undefined) {
      throw new TlsAlertError(Alert.missingExtension, "the server sends no QUIC transport parameters");
    }
    this.#alpn = chosen;
    this.transcript.add(message);
    this.emit({ kind: "peer-transport-parameters", bytes: Buffer.from(parameters) });
    this.#state = "certificate";
  }

  #onCertificate(body: Buffer, message: Buffer): void {
    const chain = readCertificate(body);
    this.#serverKey = verifyChain({
      chain,
      anchors: this.#anchors,
      serverName: this.#serverName,
      time: this.#options.time,
    });
    this.transcript.add(message);
    this.#state = "certificate-verify";
  }

  #onCertificateVerify(body: Buffer, message: Buffer): void {
    const { scheme, signature } = readCertificateVerify(body);
    const key = this.#serverKey as KeyObject;
    if (!fitsKey(scheme, key)) {
      throw new TlsAlertError(
        Alert.illegalParameter,
        `CertificateVerify has the signature scheme 0x${scheme.toString(16)}, which was not offered or is not its key's`,
      );
    }
    if (!verifyTranscript(scheme, key, this.transcript.digest(), signature)) {
      throw new TlsAlertError(Alert.decryptError, "the signature of CertificateVerify is wrong");
    }
    this.transcript.add(message);
    this.#state = "finished";
  }

  #onFinished(body: Buffer, message: Buffer): void {
    const suite = this.#suite as SuiteDetails;
    const schedule = this.#schedule as KeySchedule;
    const handshake = this.#secrets as TrafficSecrets;
    if (!schedule.isFinished(handshake.server, this.transcript.digest(), body)) {
      throw new TlsAlertError(Alert.decryptError, "the server's Finished is wrong");
    }
    this.transcript.add(message);
    const application = sides(schedule.applicationSecrets(this.transcript.digest()), "client");
    // We have no certificate: an empty list says so (§ 4.4.2).
    if (this.#requestContext !== undefined) this.send("handshake", writeCertificate(this.#requestContext, []));
    const verifyData = schedule.finished(handshake.client, this.transcript.digest());
    this.send("handshake", handshakeMessage(MessageType.finished, verifyData));
    this.secret("application", "write", suite, application.write);
    this.secret("application", "read", suite, application.read);
    this.#secrets = undefined;
    this.#schedule = undefined;
    this.#state = "complete";
    this.readLevel = "application";
    this.emit({ kind: "complete", alpn: this.#alpn, group: this.#share.group, suite: suite.name });
  }
}

/** Without a name there is nothing that a certificate could be checked against; RFC 9001 § 8.1 wants an application protocol. */
function expectUsable(serverName: string, alpn: readonly string[]): void {
  if (serverName === "") {
    throw new TlsAlertError(
      Alert.badCertificate,
      "serverName is empty: the name in the server's certificate is wanted",
    );
  }
  if (alpn.length === 0) {
    throw new TlsAlertError(Alert.noApplicationProtocol, "alpn is empty: one application protocol at least is wanted");
  }
}
