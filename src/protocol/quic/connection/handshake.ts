/** TLS over CRYPTO frames (RFC 9001 § 4): feeds the session in order, and does what it says. */
import { TlsAlertError } from "../../tls13/errors.ts";
import type { EncryptionLevel, TlsEvent, TlsSession } from "../../tls13/session.ts";
import { TransportError, TransportErrorCode } from "../errors.ts";
import { type PacketNumberSpace, Space } from "../packet-number.ts";
import type { Core } from "./core.ts";

const LEVELS: readonly EncryptionLevel[] = ["initial", "handshake", "application"];
const SPACE_OF = { initial: Space.initial, handshake: Space.handshake, application: Space.application } as const;

export class Handshake {
  readonly #core: Core;
  readonly #session: TlsSession;

  constructor(core: Core, session: TlsSession) {
    this.#core = core;
    this.#session = session;
  }

  start(): void {
    this.#run(() => this.#session.start());
  }

  onCrypto(space: PacketNumberSpace, offset: number, bytes: Buffer): void {
    const level = LEVELS[space] as EncryptionLevel;
    this.#core.crypto[space].receive(offset, bytes, (chunk) => this.#run(() => this.#session.receive(level, chunk)));
  }

  #run(step: () => readonly TlsEvent[]): void {
    let events: readonly TlsEvent[];
    try {
      events = step();
    } catch (error) {
      if (!(error instanceof TlsAlertError)) throw error;
      // RFC 9001 § 4.8.
      throw new TransportError(TransportErrorCode.CRYPTO_ERROR + error.alert, error.message, { cause: error });
    }
    for (const event of events) this.#do(event);
  }

  #do(event: TlsEvent): void {
    const core = this.#core;
    switch (event.kind) {
      case "send":
        core.crypto[SPACE_OF[event.level]].write(event.bytes);
        break;
      case "secret":
        core.keys.install(SPACE_OF[event.level], event.direction, event.suite, event.secret);
        break;
      case "peer-transport-parameters":
        core.setPeerParameters(event.bytes);
        break;
      case "complete":
        core.completeHandshake({ alpn: event.alpn, group: event.group, suite: event.suite });
        break;
    }
  }
}
