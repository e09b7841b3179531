/**
 * The keys of 1-RTT packets and their updates (RFC 9001 § 6). A generation is one pair of keys; its lowest bit is the key phase
 * bit of the header. Both directions move from one generation to the next together:
 *
 *   receive   previous (until 3 PTO after the first packet of the current one) · current · next (made ahead: § 9.5)
 *   send      the generation of receive's current
 */
import { TransportError, TransportErrorCode } from "./errors.ts";
import { deriveHeaderKey, derivePacketKey, nextSecret } from "./key-schedule.ts";
import type { HeaderKey, PacketKey, SuiteParameters } from "./protection.ts";

interface SendKeys {
  readonly header: HeaderKey;
  packet: PacketKey;
  secret: Buffer;
}

interface ReceiveKeys {
  readonly header: HeaderKey;
  previous: PacketKey | undefined;
  current: PacketKey;
  next: PacketKey;
  /** Of `next`. */
  nextSecret: Buffer;
}

function keyUpdateError(reason: string): TransportError {
  return new TransportError(TransportErrorCode.KEY_UPDATE_ERROR, reason);
}

export class KeyPhases {
  readonly #suite: SuiteParameters;
  #send: SendKeys | undefined;
  #receive: ReceiveKeys | undefined;
  #generation = 0;
  /** Packets sealed by the current send key. */
  #sealed = 0;
  /** The first packet number that the current send key sealed; undefined before it. */
  #firstSent: number | undefined;
  #firstSentAcked = false;
  /** The lowest packet number that the current receive key opened; Infinity before it. No packet is older than the first keys. */
  #firstReceived = 0;
  /** When the previous key goes; undefined while the current one has opened nothing. */
  #previousUntil: number | undefined;
  #failed = 0;
  /** The last packet was opened by the previous key. */
  #openedByPrevious = false;

  constructor(suite: SuiteParameters) {
    this.#suite = suite;
  }

  installSend(secret: Buffer): void {
    const suite = this.#suite;
    this.#send = { header: deriveHeaderKey(suite, secret), packet: derivePacketKey(suite, secret), secret };
  }

  installReceive(secret: Buffer): void {
    const suite = this.#suite;
    const next = nextSecret(suite, secret);
    this.#receive = {
      header: deriveHeaderKey(suite, secret),
      previous: undefined,
      current: derivePacketKey(suite, secret),
      next: derivePacketKey(suite, next),
      nextSecret: next,
    };
  }

  get canSend(): boolean {
    return this.#send !== undefined;
  }

  /** How many updates there were, of either side. */
  get generation(): number {
    return this.#generation;
  }

  /** The bit for the headers of what we send. */
  get phase(): number {
    return this.#generation & 1;
  }

  /** Packets that the current key sealed. */
  get sealed(): number {
    return this.#sealed;
  }

  get sendHeader(): HeaderKey {
    return this.#sending().header;
  }

  get receiveHeader(): HeaderKey | undefined {
    return this.#receive?.header;
  }

  #sending(): SendKeys {
    if (this.#send === undefined) throw new TransportError(TransportErrorCode.INTERNAL_ERROR, "no keys to send with");
    return this.#send;
  }

  /** As PacketKey.seal. Throws AEAD_LIMIT_REACHED at the end of a key that could not be updated. */
  seal(packetNumber: number, bytes: Buffer, start: number, payloadStart: number, payloadEnd: number): number {
    if (this.#sealed >= this.#suite.confidentialityLimit) {
      throw new TransportError(TransportErrorCode.AEAD_LIMIT_REACHED, "too many packets under one key");
    }
    this.#sealed++;
    this.#firstSent ??= packetNumber;
    return this.#sending().packet.seal(packetNumber, bytes, start, payloadStart, payloadEnd);
  }

  /** As PacketKey.open, by the key that number and phase bit tell; moves on when the peer has updated its keys. */
  open(
    packetNumber: number,
    phase: number,
    bytes: Buffer,
    start: number,
    payloadStart: number,
    end: number,
  ): Buffer | undefined {
    const keys = this.#receive;
    if (keys === undefined) return undefined;
    this.#openedByPrevious = false;
    if (phase === this.phase) {
      const payload = keys.current.open(packetNumber, bytes, start, payloadStart, end);
      if (payload === undefined) this.#countFailure();
      else if (packetNumber < this.#firstReceived) this.#firstReceived = packetNumber;
      return payload;
    }
    if (packetNumber < this.#firstReceived) {
      // Sent before the update; without the previous key it came too late.
      const payload = keys.previous?.open(packetNumber, bytes, start, payloadStart, end);
      if (payload !== undefined) this.#openedByPrevious = true;
      else if (keys.previous !== undefined) this.#countFailure();
      return payload;
    }
    const payload = keys.next.open(packetNumber, bytes, start, payloadStart, end);
    if (payload !== undefined) {
      this.#onPeerUpdate(packetNumber);
      return payload;
    }
    if (keys.previous?.open(packetNumber, bytes, start, payloadStart, end) !== undefined) {
      throw keyUpdateError("the peer went back to old keys");
    }
    this.#countFailure();
    return undefined;
  }

  #onPeerUpdate(packetNumber: number): void {
    if (this.#generation > 0 && this.#firstSent === undefined) {
      throw keyUpdateError("the peer updated its keys twice without waiting for us");
    }
    this.#advance();
    this.#firstReceived = packetNumber;
  }

  #advance(): void {
    const suite = this.#suite;
    const send = this.#sending();
    const receive = this.#receive;
    if (receive === undefined) throw new TransportError(TransportErrorCode.INTERNAL_ERROR, "no keys to receive with");
    this.#generation++;
    send.secret = nextSecret(suite, send.secret);
    send.packet = derivePacketKey(suite, send.secret);
    receive.previous = receive.current;
    receive.current = receive.next;
    receive.nextSecret = nextSecret(suite, receive.nextSecret);
    receive.next = derivePacketKey(suite, receive.nextSecret);
    this.#sealed = 0;
    this.#firstSent = undefined;
    this.#firstSentAcked = false;
    this.#firstReceived = Number.POSITIVE_INFINITY;
    this.#previousUntil = undefined;
  }

  /** Whether we may update: the last update has arrived on both sides, and old packets have left the network (§§ 6.1, 6.5). */
  get canUpdate(): boolean {
    return this.#receive !== undefined && this.#firstSentAcked && this.#receive.previous === undefined;
  }

  /** Updates the keys, where we may. The caller knows that the handshake is confirmed. */
  update(): boolean {
    if (!this.canUpdate) return false;
    this.#advance();
    return true;
  }

  /** Told of each ACK right after `open` of its packet. */
  onAck(largest: number): void {
    if (this.#firstSent === undefined || largest < this.#firstSent) return;
    if (this.#openedByPrevious) throw keyUpdateError("old keys acknowledged a packet under new ones");
    this.#firstSentAcked = true;
  }

  /** Lets the previous key go when its time has come; `retention` is 3 PTO. */
  expire(now: number, retention: number): void {
    const keys = this.#receive;
    if (keys?.previous === undefined || this.#firstReceived === Number.POSITIVE_INFINITY) return;
    if (this.#previousUntil === undefined) this.#previousUntil = now + retention;
    else if (now >= this.#previousUntil) keys.previous = undefined;
  }

  #countFailure(): void {
    this.#failed++;
    if (this.#failed > this.#suite.integrityLimit) {
      throw new TransportError(TransportErrorCode.AEAD_LIMIT_REACHED, "too many packets that don't open");
    }
  }
}
