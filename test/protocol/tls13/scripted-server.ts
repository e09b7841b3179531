/** A server that says what it is told to, with a transcript and keys that are right for it. */
import { randomBytes } from "node:crypto";
import { handshakeMessage } from "../../../src/protocol/tls13/byte-writer.ts";
import { readClientHello } from "../../../src/protocol/tls13/client-hello.ts";
import { answerKeyShare, type NamedGroup } from "../../../src/protocol/tls13/groups.ts";
import {
  writeCertificate,
  writeCertificateVerify,
  writeEncryptedExtensions,
} from "../../../src/protocol/tls13/handshake-messages.ts";
import { KeySchedule } from "../../../src/protocol/tls13/key-schedule.ts";
import { writeServerHello } from "../../../src/protocol/tls13/server-hello.ts";
import type { TlsSession } from "../../../src/protocol/tls13/session.ts";
import { signTranscript } from "../../../src/protocol/tls13/signature-schemes.ts";
import { Transcript } from "../../../src/protocol/tls13/transcript.ts";
import { INTERMEDIATE, LEAF, type Message, messagesOf, SERVER_PARAMETERS } from "./rig.ts";

export interface Script {
  /** Goes out first; the client's second ClientHello is then waited for. */
  readonly retry?: Buffer;
  /** Between EncryptedExtensions and Certificate. */
  readonly request?: Buffer;
  readonly serverHello?: (message: Buffer) => Buffer;
  readonly encryptedExtensions?: Buffer;
  readonly certificates?: readonly Buffer[];
}

const GROUPS: ReadonlyMap<number, NamedGroup> = new Map([
  [0x1d, "X25519"],
  [0x17, "P-256"],
]);

/** What the client answers to the whole flight, whether its Finished is right, and what it said before. */
export function play(client: TlsSession, script: Script = {}) {
  const transcript = new Transcript();
  const hellos: Buffer[] = [];
  const receiveHello = (events: ReturnType<TlsSession["start"]>): Buffer => {
    const [message] = events.flatMap((event) => (event.kind === "send" ? [event.bytes] : []));
    if (message === undefined) throw new Error("no ClientHello");
    hellos.push(message);
    transcript.add(message);
    return message;
  };
  let hello = receiveHello(client.start());
  if (script.retry !== undefined) {
    transcript.retry("sha256");
    transcript.add(script.retry);
    hello = receiveHello(client.receive("initial", script.retry));
  }
  const [share] = readClientHello(hello.subarray(4)).shares;
  const group = GROUPS.get(share?.group ?? 0);
  if (share === undefined || group === undefined) throw new Error("no share");
  const { publicBytes, secret } = answerKeyShare(group, share.bytes, undefined);
  const serverHello = writeServerHello(randomBytes(32), 0x1301, { group: share.group, bytes: publicBytes });
  const sent = script.serverHello?.(serverHello) ?? serverHello;
  transcript.choose("sha256");
  transcript.add(sent);
  const schedule = new KeySchedule("sha256");
  const handshake = schedule.handshakeSecrets(secret, transcript.digest());
  client.receive("initial", sent);
  const say = (bytes: Buffer): Message[] => {
    transcript.add(bytes);
    return client.receive("handshake", bytes).flatMap((event) => (event.kind === "send" ? messagesOf(event) : []));
  };
  say(script.encryptedExtensions ?? writeEncryptedExtensions("argotunnel", SERVER_PARAMETERS));
  if (script.request !== undefined) say(script.request);
  say(writeCertificate(Buffer.alloc(0), script.certificates ?? [LEAF.der, INTERMEDIATE.der]));
  say(writeCertificateVerify(0x0403, signTranscript(0x0403, LEAF.keys.privateKey, transcript.digest())));
  const answer = say(handshakeMessage(20, schedule.finished(handshake.server, transcript.digest())));
  const finished = answer.at(-1)?.bytes ?? Buffer.alloc(0);
  for (const { bytes } of answer.slice(0, -1)) transcript.add(bytes);
  const isFinished = schedule.isFinished(handshake.client, transcript.digest(), finished.subarray(4));
  return { hellos, answer, isFinished };
}
