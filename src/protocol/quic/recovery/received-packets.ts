/**
 * What was received in one packet number space, and when it is acknowledged (RFC 9000 § 13.2). Ranges stand newest first, as the ACK
 * frame has them: pairs of the smallest and the largest packet number.
 */
import type { FrameWriter } from "../frame-writer.ts";
import { MAX_RECEIVED_RANGES } from "../limits.ts";
import { type PacketNumberSpace, Space } from "../packet-number.ts";

/** Packets that need acknowledging, after so many of which an ACK goes out at once (RFC 9000 § 13.2.2). */
const ACK_EVERY = 2;

/** What we announced. */
export interface AckParameters {
  /** Milliseconds. */
  readonly maxAckDelay: number;
  readonly ackDelayExponent: number;
}

export class ReceivedPackets {
  readonly #space: PacketNumberSpace;
  readonly #maxAckDelay: number;
  /** Microseconds in a unit of the ACK frame's delay. */
  readonly #delayUnit: number;
  readonly #ranges = new Float64Array(2 * (MAX_RECEIVED_RANGES + 1));
  #count = 0;
  /** Numbers below are taken for duplicates: whether they were received is forgotten. */
  #floor = 0;
  /** The peer knows that we have what is told of up to this number; -1 = it knows nothing yet. */
  #told = -1;
  #largestAt = 0;
  /** Packets that need acknowledging, since the last ACK. */
  #unacknowledged = 0;
  #dueAt: number | undefined = undefined;

  constructor(space: PacketNumberSpace, parameters: AckParameters) {
    this.#space = space;
    // Timers are late by up to a millisecond, and what we announced holds.
    this.#maxAckDelay = Math.max(0, parameters.maxAckDelay - 1);
    this.#delayUnit = 2 ** parameters.ackDelayExponent;
  }

  /** The largest number received; -1 at first. */
  get largest(): number {
    return this.#count === 0 ? -1 : (this.#ranges[1] as number);
  }

  isDuplicate(packetNumber: number): boolean {
    if (packetNumber < this.#floor) return true;
    const ranges = this.#ranges;
    for (let i = 0; i < this.#count; i++) {
      if (packetNumber > (ranges[2 * i + 1] as number)) return false;
      if (packetNumber >= (ranges[2 * i] as number)) return true;
    }
    return false;
  }

  /** A packet that is no duplicate has been dealt with. */
  onPacket(packetNumber: number, ackEliciting: boolean, now: number): void {
    const { largest } = this;
    // Late, or behind a gap: the sender wants to know at once (RFC 9000 § 13.2.1).
    const isOutOfOrder = packetNumber !== largest + 1;
    this.#insert(packetNumber);
    if (packetNumber > largest) this.#largestAt = now;
    if (!ackEliciting) return;
    this.#told = Math.min(this.#told, packetNumber - 1);
    this.#unacknowledged++;
    if (this.#space !== Space.application || isOutOfOrder || this.#unacknowledged >= ACK_EVERY) this.#dueAt = now;
    else this.#dueAt ??= now + this.#maxAckDelay;
  }

  ackDue(now: number): boolean {
    return this.#dueAt !== undefined && now >= this.#dueAt;
  }

  /** When an ACK must go out; in the past when at once. */
  ackDeadline(): number | undefined {
    return this.#dueAt;
  }

  /**
   * Writes an ACK frame, due or not, if a packet waits for it. Returns the largest number that it names; -1 = it did not fit, or there
   * is nothing to acknowledge.
   */
  write(writer: FrameWriter, now: number): number {
    if (this.#dueAt === undefined) return -1;
    const delay = Math.max(0, Math.floor(((now - this.#largestAt) * 1000) / this.#delayUnit));
    if (!writer.ack(this.#ranges, this.#untold(), delay)) return -1;
    this.#dueAt = undefined;
    this.#unacknowledged = 0;
    return this.largest;
  }

  /** The peer has an ACK of ours that names `largest`: it need not be told again of that and what is older (RFC 9000 § 13.2.4). */
  onAckOfAck(largest: number): void {
    if (largest > this.#told) this.#told = largest;
  }

  /** Ranges that are new to the peer; the newest is told always. */
  #untold(): number {
    let count = 1;
    while (count < this.#count && (this.#ranges[2 * count + 1] as number) > this.#told) count++;
    return count;
  }

  #insert(packetNumber: number): void {
    const ranges = this.#ranges;
    let at = 0;
    while (at < this.#count && packetNumber < (ranges[2 * at] as number) - 1) at++;
    if (at < this.#count && packetNumber === (ranges[2 * at] as number) - 1) {
      ranges[2 * at] = packetNumber;
      this.#joinNext(at);
      return;
    }
    if (at < this.#count && packetNumber === (ranges[2 * at + 1] as number) + 1) {
      ranges[2 * at + 1] = packetNumber;
      return;
    }
    ranges.copyWithin(2 * at + 2, 2 * at, 2 * this.#count);
    ranges[2 * at] = packetNumber;
    ranges[2 * at + 1] = packetNumber;
    this.#count++;
    if (this.#count <= MAX_RECEIVED_RANGES) return;
    this.#count--;
    this.#floor = (ranges[2 * this.#count + 1] as number) + 1;
  }

  /** The range at `at` has grown downwards, and may touch the next. */
  #joinNext(at: number): void {
    const ranges = this.#ranges;
    if (at + 1 >= this.#count || (ranges[2 * at] as number) !== (ranges[2 * at + 3] as number) + 1) return;
    ranges[2 * at] = ranges[2 * at + 2] as number;
    ranges.copyWithin(2 * at + 2, 2 * at + 4, 2 * this.#count);
    this.#count--;
  }
}
