/**
 * A handshake that agrees on secrets without any cryptography of its own: for tests of what runs above it, fast and the same in
 * each run. Its flights have TLS 1.3's shape: type 1 | length 3 | body.
 *
 *   initial     client hello (1): random 32, parameters    server hello (2): random 32
 *   handshake   server: parameters (8) and filling, finished (20)      client: finished (20)
 */
import { createHash } from "node:crypto";
import { TlsAlertError } from "../../../src/protocol/tls13/errors.ts";
import type { CipherSuite, EncryptionLevel, TlsEvent, TlsSession } from "../../../src/protocol/tls13/session.ts";

export interface FakeTlsOptions {
  readonly transportParameters: Buffer;
  readonly random: (length: number) => Buffer;
  readonly suite?: CipherSuite;
  /** Bytes that the server's flight has more, as a chain of certificates would. */
  readonly filling?: number;
  /** Bytes that the client's first flight has more, as a key share for post-quantum groups would. */
  readonly helloFilling?: number;
  /** The server's ticket after the handshake. */
  readonly ticket?: boolean;
  /** Told of each secret, for tests that speak in an end's name. */
  readonly onSecret?: (level: "handshake" | "application", direction: "read" | "write", secret: Buffer) => void;
}

const Type = { clientHello: 1, serverHello: 2, ticket: 4, parameters: 8, filling: 11, finished: 20 } as const;

function message(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  head[0] = type;
  return Buffer.concat([head, body]);
}

const unexpected = (what: string): TlsAlertError => new TlsAlertError(10, `unexpected ${what}`);

class FakeTls implements TlsSession {
  readonly #options: FakeTlsOptions;
  readonly #isClient: boolean;
  readonly #random: Buffer;
  readonly #suite: CipherSuite;
  readonly #pending = new Map<EncryptionLevel, Buffer>();
  #transcript: Buffer = Buffer.alloc(0);
  #done = false;

  constructor(options: FakeTlsOptions, isClient: boolean) {
    this.#options = options;
    this.#isClient = isClient;
    this.#random = Buffer.from(options.random(32));
    this.#suite = options.suite ?? "TLS_AES_128_GCM_SHA256";
  }

  start(): readonly TlsEvent[] {
    if (!this.#isClient) return [];
    this.#transcript = this.#random;
    const filling = Buffer.alloc(this.#options.helloFilling ?? 0, 1);
    const head = Buffer.alloc(2);
    head.writeUInt16BE(this.#options.transportParameters.length);
    const body = Buffer.concat([this.#random, head, this.#options.transportParameters, filling]);
    return [{ kind: "send", level: "initial", bytes: message(Type.clientHello, body) }];
  }

  receive(level: EncryptionLevel, bytes: Buffer): readonly TlsEvent[] {
    const events: TlsEvent[] = [];
    let pending = Buffer.concat([this.#pending.get(level) ?? Buffer.alloc(0), bytes]);
    while (pending.length >= 4) {
      const end = 4 + (pending.readUInt32BE(0) & 0xff_ffff);
      if (end > 100_000) throw new TlsAlertError(50, "a message is too long");
      if (pending.length < end) break;
      this.#message(level, pending[0] as number, pending.subarray(4, end), events);
      pending = pending.subarray(end);
    }
    this.#pending.set(level, pending);
    return events;
  }

  #message(level: EncryptionLevel, type: number, body: Buffer, events: TlsEvent[]): void {
    const expected = this.#isClient ? this.#client(level, type, body, events) : this.#server(level, type, body, events);
    if (!expected) throw unexpected(`message ${type} at level ${level}`);
  }

  #client(level: EncryptionLevel, type: number, body: Buffer, events: TlsEvent[]): boolean {
    if (level === "initial" && type === Type.serverHello) {
      this.#transcript = Buffer.concat([this.#transcript, body]);
      this.#secrets("handshake", events);
    } else if (level === "handshake" && type === Type.parameters) {
      events.push({ kind: "peer-transport-parameters", bytes: Buffer.from(body) });
    } else if (level === "handshake" && type === Type.finished && !this.#done) {
      this.#done = true;
      events.push({ kind: "send", level: "handshake", bytes: message(Type.finished, Buffer.alloc(32)) });
      this.#secrets("application", events);
      events.push(this.#complete());
    } else {
      return (level === "handshake" && type === Type.filling) || (level === "application" && type === Type.ticket);
    }
    return true;
  }

  #server(level: EncryptionLevel, type: number, body: Buffer, events: TlsEvent[]): boolean {
    if (level === "initial" && type === Type.clientHello && this.#transcript.length === 0) {
      const length = body.readUInt16BE(32);
      this.#transcript = Buffer.concat([body.subarray(0, 32), this.#random]);
      events.push({ kind: "peer-transport-parameters", bytes: Buffer.from(body.subarray(34, 34 + length)) });
      events.push({ kind: "send", level: "initial", bytes: message(Type.serverHello, this.#random) });
      this.#secrets("handshake", events);
      const filling = message(Type.filling, Buffer.alloc(this.#options.filling ?? 2500, 2));
      const parameters = message(Type.parameters, this.#options.transportParameters);
      const finished = message(Type.finished, Buffer.alloc(32));
      events.push({ kind: "send", level: "handshake", bytes: Buffer.concat([parameters, filling, finished]) });
      this.#secrets("application", events);
      return true;
    }
    if (level !== "handshake" || type !== Type.finished || this.#done) return false;
    this.#done = true;
    events.push(this.#complete());
    if (this.#options.ticket === true) {
      events.push({ kind: "send", level: "application", bytes: message(Type.ticket, Buffer.alloc(100)) });
    }
    return true;
  }

  #complete(): TlsEvent {
    return { kind: "complete", alpn: "test", group: "X25519", suite: this.#suite };
  }

  #secrets(level: "handshake" | "application", events: TlsEvent[]): void {
    for (const direction of ["write", "read"] as const) {
      const sender = (direction === "write") === this.#isClient ? "client" : "server";
      const hash = this.#suite === "TLS_AES_256_GCM_SHA384" ? "sha384" : "sha256";
      const secret = createHash(hash).update(`${level} ${sender}`).update(this.#transcript).digest();
      this.#options.onSecret?.(level, direction, secret);
      events.push({ kind: "secret", level, direction, suite: this.#suite, secret });
    }
  }
}

export const fakeTlsClient = (options: FakeTlsOptions): TlsSession => new FakeTls(options, true);
export const fakeTlsServer = (options: FakeTlsOptions): TlsSession => new FakeTls(options, false);
