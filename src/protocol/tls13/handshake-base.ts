/** What both roles do alike: messages in order at the right level, the transcript, secrets, events. */
import type { SuiteDetails } from "./cipher-suites.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import { MessageBuffer } from "./message-buffer.ts";
import { Transcript } from "./transcript.ts";
import type { TrafficSecrets } from "./key-schedule.ts";
import type { EncryptionLevel, TlsEvent, TlsSession } from "./types.ts";

export const HEAD_LENGTH = 4;

export abstract class Handshake implements TlsSession {
  protected readonly transcript = new Transcript();
  readonly #messages = new MessageBuffer();
  #events: TlsEvent[] = [];
  /** Of what the peer sends next. */
  protected readLevel: EncryptionLevel = "initial";
  #broken = false;

  start(): readonly TlsEvent[] {
    return this.#run(() => this.begin());
  }

  receive(level: EncryptionLevel, bytes: Buffer): readonly TlsEvent[] {
    return this.#run(() => {
      this.#messages.receive(bytes, (message) => {
        // Also for what stands behind the last message before a change of keys (RFC 8446 § 5.1, RFC 9001 § 4.1.3).
        this.#expectLevel(level);
        this.onMessage(message[0] ?? 0, message.subarray(HEAD_LENGTH), message);
      });
      if (this.#messages.partial) this.#expectLevel(level);
    });
  }

  protected abstract begin(): void;
  /** `body` is a view on `message`. */
  protected abstract onMessage(type: number, body: Buffer, message: Buffer): void;

  protected emit(event: TlsEvent): void {
    this.#events.push(event);
  }

  protected send(level: EncryptionLevel, ...messages: readonly Buffer[]): void {
    for (const message of messages) this.transcript.add(message);
    this.emit({ kind: "send", level, bytes: Buffer.concat(messages) });
  }

  protected secret(
    level: "handshake" | "application",
    direction: "read" | "write",
    { name }: SuiteDetails,
    secret: Buffer,
  ): void {
    this.emit({ kind: "secret", level, direction, suite: name, secret });
  }

  protected unexpected(type: number): TlsAlertError {
    return new TlsAlertError(Alert.unexpectedMessage, `handshake message ${type} does not belong here`);
  }

  #expectLevel(level: EncryptionLevel): void {
    if (level === this.readLevel) return;
    throw new TlsAlertError(
      Alert.unexpectedMessage,
      `a handshake message came at the level ${level}, where ${this.readLevel} was due`,
    );
  }

  #run(step: () => void): readonly TlsEvent[] {
    if (this.#broken) throw new TlsAlertError(Alert.unexpectedMessage, "the handshake has failed before");
    this.#broken = true;
    step();
    this.#broken = false;
    const events = this.#events;
    this.#events = [];
    return events;
  }
}

/** Both ends' secrets, from one end's side. */
export function sides(
  secrets: TrafficSecrets,
  role: "client" | "server",
): { readonly read: Buffer; readonly write: Buffer } {
  return role === "client"
    ? { read: secrets.server, write: secrets.client }
    : { read: secrets.client, write: secrets.server };
}
