/**
 * The path to the peer: how much may be sent before its address is validated (RFC 9000 § 8.1), challenges and their answers
 * (§ 8.2). A server checks a path anew when its client's address changes (§ 9.3), as behind a NAT.
 */
import { timingSafeEqual } from "node:crypto";
import type { FrameWriter } from "../frame-writer.ts";
import { AMPLIFICATION_FACTOR, MAX_PATH_CHALLENGES, MAX_PATH_RESPONSES } from "../limits.ts";

const CHALLENGE_LENGTH = 8;

export class Path {
  #validated: boolean;
  /** Since the address was new. */
  #received = 0;
  #sent = 0;
  readonly #responses: Buffer[] = [];
  #challenge: Buffer | undefined;
  #challengesSent = 0;
  #challengeAt = 0;

  /** A client's path needs no validation: it chose it. */
  constructor(validated: boolean) {
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

  /** The handshake, or a token, has shown that the peer receives at its address. */
  validate(): void {
    this.#validated = true;
    this.#challenge = undefined;
  }

  /** The peer sends from another address: it is challenged with 8 random bytes. */
  changed(received: number, challenge: Buffer, now: number): void {
    this.#validated = false;
    this.#received = received;
    this.#sent = 0;
    this.#challenge = Buffer.from(challenge.subarray(0, CHALLENGE_LENGTH));
    this.#challengesSent = 0;
    this.#challengeAt = now;
  }

  onChallenge(data: Buffer): void {
    if (this.#responses.length >= MAX_PATH_RESPONSES) this.#responses.shift();
    this.#responses.push(Buffer.from(data));
  }

  /** One that does not answer our challenge is late, and says nothing. */
  onResponse(data: Buffer): void {
    if (this.#challenge !== undefined && timingSafeEqual(this.#challenge, data)) this.validate();
  }

  /** When the challenge goes out, again until it is answered; undefined = none. `pto` doubles each time. */
  challengeDeadline(): number | undefined {
    return this.#challenge === undefined || this.#challengesSent >= MAX_PATH_CHALLENGES ? undefined : this.#challengeAt;
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
    if (at === undefined || now < at || this.#challenge === undefined || !writer.pathChallenge(this.#challenge)) return;
    this.#challengesSent++;
    this.#challengeAt = now + pto * 2 ** (this.#challengesSent - 1);
  }
}
