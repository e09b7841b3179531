/**
 * One path to the peer: how much may be sent over it before its address is validated (RFC 9000 § 8.1), challenges and their answers
 * (§ 8.2).
 */
import { timingSafeEqual } from "node:crypto";
import type { FrameWriter } from "../frame-writer.ts";
import { AMPLIFICATION_FACTOR, MAX_PATH_CHALLENGES, MAX_PATH_RESPONSES } from "../limits.ts";

interface Challenge {
  readonly data: Buffer;
  /** When validation has failed. */
  readonly until: number;
  sent: number;
  /** When it goes out, again. */
  at: number;
}

export class Path {
  /** The peer's, `ip:port`. */
  readonly address: string;
  #validated: boolean;
  #received = 0;
  #sent = 0;
  readonly #responses: Buffer[] = [];
  #challenge: Challenge | undefined;

  constructor(address: string, validated: boolean) {
    this.address = address;
    this.#validated = validated;
  }

  get validated(): boolean {
    return this.#validated;
  }

  onReceived(bytes: number): void {
    if (!this.#validated) this.#received += bytes;
  }

  onSent(bytes: number): void {
    if (!this.#validated) this.#sent += bytes;
  }

  /** Bytes that may go out on this path. */
  get allowance(): number {
    return this.#validated ? Number.POSITIVE_INFINITY : AMPLIFICATION_FACTOR * this.#received - this.#sent;
  }

  /** The handshake, a token, or an answer has shown that the peer receives at its address. */
  validate(): void {
    this.#validated = true;
    this.#challenge = undefined;
  }

  /** Asks the peer, by 8 random bytes, to show that it receives here. */
  challenge(data: Buffer, now: number, until: number): void {
    this.#challenge = { data: Buffer.from(data), until, sent: 0, at: now };
  }

  onChallenge(data: Buffer): void {
    if (this.#responses.length >= MAX_PATH_RESPONSES) this.#responses.shift();
    this.#responses.push(Buffer.from(data));
  }

  /** Whether it answers our challenge, wherever it came from (§ 8.2.3). */
  onResponse(data: Buffer): boolean {
    if (this.#challenge === undefined || !timingSafeEqual(this.#challenge.data, data)) return false;
    this.validate();
    return true;
  }

  /** When validation fails; undefined = none is under way. */
  get validationDeadline(): number | undefined {
    return this.#challenge?.until;
  }

  giveUp(): void {
    this.#challenge = undefined;
  }

  /** When the challenge goes out, again until it is answered; undefined = none. `pto` doubles each time. */
  challengeDeadline(): number | undefined {
    const challenge = this.#challenge;
    return challenge === undefined || challenge.sent >= MAX_PATH_CHALLENGES ? undefined : challenge.at;
  }

  /** Nothing is asked or to be answered here. */
  get isDone(): boolean {
    return this.#challenge === undefined && this.#responses.length === 0;
  }

  /** Whether a frame of this path waits: its datagram is filled up to 1200 bytes, to prove that they pass (§ 8.2.1). */
  wants(now: number): boolean {
    const at = this.challengeDeadline();
    return this.#responses.length > 0 || (at !== undefined && now >= at);
  }

  write(writer: FrameWriter, now: number, pto: number): void {
    for (let next = this.#responses[0]; next !== undefined; next = this.#responses[0]) {
      if (!writer.pathResponse(next)) return;
      this.#responses.shift();
    }
    const at = this.challengeDeadline();
    const challenge = this.#challenge;
    if (at === undefined || now < at || challenge === undefined || !writer.pathChallenge(challenge.data)) return;
    challenge.at = now + pto * 2 ** challenge.sent++;
  }
}
