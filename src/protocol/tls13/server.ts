/**
 * The server (RFC 8446 § 2, App. A.2):
 *
 *   ClientHello → [HelloRetryRequest → ClientHello →] ServerHello, EncryptedExtensions, Certificate, CertificateVerify, Finished
 *   → Finished; nothing after it
 */
import { timingSafeEqual } from "node:crypto";
import { handshakeMessage } from "./byte-writer.ts";
import { type SuiteDetails, suiteDetails } from "./cipher-suites.ts";
import { type ClientHello, readClientHello } from "./client-hello.ts";
import { MessageType } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import { answerKeyShare, groupCodePoint, type NamedGroup, usableGroups } from "./groups.ts";
import { Handshake, sides } from "./handshake-base.ts";
import { writeCertificate, writeCertificateVerify, writeEncryptedExtensions } from "./handshake-messages.ts";
import { KeySchedule } from "./key-schedule.ts";
import { writeHelloRetryRequest, writeServerHello } from "./server-hello.ts";
import { chooseScheme, signTranscript } from "./signature-schemes.ts";
import type { TlsServerOptions } from "./types.ts";

const EMPTY = Buffer.alloc(0);
const COOKIE_LENGTH = 32;

/** What was chosen from a ClientHello. */
interface Choice {
  readonly suite: SuiteDetails;
  readonly group: NamedGroup;
  readonly alpn: string;
  readonly scheme: number;
}

interface Retry {
  readonly choice: Choice;
  readonly cookie: Buffer;
  readonly constant: Buffer;
}

interface Flight {
  readonly choice: Choice;
  readonly schedule: KeySchedule;
  readonly clientSecret: Buffer;
  readonly applicationRead: Buffer;
}

export class ServerHandshake extends Handshake {
  readonly #options: TlsServerOptions;
  readonly #groups: readonly NamedGroup[];
  readonly #suites: readonly SuiteDetails[];
  #retry: Retry | undefined;
  #flight: Flight | undefined;
  #complete = false;

  constructor(options: TlsServerOptions) {
    super();
    this.#options = options;
    this.#groups = usableGroups(options.groups, options.mlKem);
    this.#suites = suiteDetails(options.suites);
  }

  protected begin(): void {}

  protected onMessage(type: number, body: Buffer, message: Buffer): void {
    if (type === MessageType.clientHello && this.#flight === undefined && !this.#complete) {
      this.#onClientHello(body, message);
    } else if (type === MessageType.finished && this.#flight !== undefined) {
      this.#onFinished(body, this.#flight);
    } else {
      throw this.unexpected(type);
    }
  }

  #onClientHello(body: Buffer, message: Buffer): void {
    const hello = readClientHello(body);
    const choice = this.#choose(hello);
    const retry = this.#retry;
    const codePoint = groupCodePoint(choice.group);
    const share = hello.shares.find((offered) => offered.group === codePoint);
    this.transcript.add(message);
    if (retry !== undefined) {
      this.#expectAnswer(hello, retry, choice);
    } else if (share === undefined) {
      this.#sendRetry(hello, choice);
      return;
    }
    if (share === undefined) {
      throw new TlsAlertError(Alert.illegalParameter, "the second ClientHello lacks the key share that was asked for");
    }
    this.emit({ kind: "peer-transport-parameters", bytes: hello.transportParameters });
    this.#sendFlight(choice, share.bytes);
  }

  #choose(hello: ClientHello): Choice {
    const suite = this.#suites.find((own) => hello.suites.includes(own.codePoint));
    if (suite === undefined)
      throw new TlsAlertError(Alert.handshakeFailure, "the client offers none of our cipher suites");
    const common = this.#groups.filter((own) => hello.groups.includes(groupCodePoint(own)));
    // A share that is here saves a round trip.
    const shared = common.find((own) => hello.shares.some((share) => share.group === groupCodePoint(own)));
    const group = shared ?? common[0];
    if (group === undefined) throw new TlsAlertError(Alert.handshakeFailure, "the client offers none of our groups");
    const scheme = chooseScheme(this.#options.privateKey, hello.schemes);
    if (scheme === undefined) {
      throw new TlsAlertError(Alert.handshakeFailure, "the client takes no signature that our key can make");
    }
    const alpn = this.#options.alpn.find((own) => hello.alpn.includes(own));
    if (alpn === undefined) {
      throw new TlsAlertError(
        Alert.noApplicationProtocol,
        "the client offers none of our application protocols (ALPN)",
      );
    }
    return { suite, group, scheme, alpn };
  }

  #sendRetry(hello: ClientHello, choice: Choice): void {
    const { suite, group } = choice;
    const cookie = Buffer.from(this.#options.random(COOKIE_LENGTH));
    this.#retry = { choice, cookie, constant: hello.constant };
    this.transcript.retry(suite.hash);
    this.send("initial", writeHelloRetryRequest(suite.codePoint, groupCodePoint(group), cookie));
  }

  #expectAnswer(hello: ClientHello, { choice, cookie, constant }: Retry, now: Choice): void {
    const echoed = hello.cookie ?? EMPTY;
    if (echoed.length !== cookie.length || !timingSafeEqual(echoed, cookie)) {
      throw new TlsAlertError(Alert.illegalParameter, "the second ClientHello does not have the cookie");
    }
    if (!hello.constant.equals(constant) || now.group !== choice.group || hello.shares.length !== 1) {
      throw new TlsAlertError(Alert.illegalParameter, "the second ClientHello differs where it must not");
    }
  }

  #sendFlight(choice: Choice, peerShare: Buffer): void {
    const { suite, group, alpn, scheme } = choice;
    const { random, transportParameters, certificateChain, privateKey, mlKem } = this.#options;
    const { publicBytes, secret } = answerKeyShare(group, peerShare, mlKem);
    this.transcript.choose(suite.hash);
    const share = { group: groupCodePoint(group), bytes: publicBytes };
    this.send("initial", writeServerHello(Buffer.from(random(32)), suite.codePoint, share));
    const schedule = new KeySchedule(suite.hash);
    const handshake = schedule.handshakeSecrets(secret, this.transcript.digest());
    const { read, write } = sides(handshake, "server");
    this.secret("handshake", "write", suite, write);
    this.secret("handshake", "read", suite, read);
    this.send(
      "handshake",
      writeEncryptedExtensions(alpn, transportParameters),
      writeCertificate(EMPTY, certificateChain),
    );
    const signature = signTranscript(scheme, privateKey, this.transcript.digest());
    this.send("handshake", writeCertificateVerify(scheme, signature));
    const verifyData = schedule.finished(handshake.server, this.transcript.digest());
    this.send("handshake", handshakeMessage(MessageType.finished, verifyData));
    const application = sides(schedule.applicationSecrets(this.transcript.digest()), "server");
    this.secret("application", "write", suite, application.write);
    this.#flight = { choice, schedule, clientSecret: handshake.client, applicationRead: application.read };
    this.readLevel = "handshake";
  }

  #onFinished(body: Buffer, { choice, schedule, clientSecret, applicationRead }: Flight): void {
    if (!schedule.isFinished(clientSecret, this.transcript.digest(), body)) {
      throw new TlsAlertError(Alert.decryptError, "the client's Finished is wrong");
    }
    this.#flight = undefined;
    this.#complete = true;
    this.readLevel = "application";
    // Only now: what a client sends before its Finished must not be read (RFC 9001 § 5.7).
    this.secret("application", "read", choice.suite, applicationRead);
    this.emit({ kind: "complete", alpn: choice.alpn, group: choice.group, suite: choice.suite.name });
  }
}
