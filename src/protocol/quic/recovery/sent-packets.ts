/**
 * The packets of one packet number space that are in flight, by their numbers, and which of them are lost (RFC 9002 § 6.1).
 *
 *    forgotten | slots: in flight (packet), acknowledged (null), not in flight (undefined) | next
 *              first                                                                         largest sent + 1
 */
import type { AckFrame } from "../frames.ts";
import type { PacketNumberSpace } from "../packet-number.ts";
import type { SkippedNumbers } from "./skipped-numbers.ts";

export interface SentPacket {
  readonly packetNumber: number;
  readonly space: PacketNumberSpace;
  readonly sentAt: number;
  readonly size: number;
  readonly ackEliciting: boolean;
  readonly inFlight: boolean;
  /** `pto`: sent beyond the congestion window. `mtu`: its loss says nothing about congestion (RFC 9000 § 14.4). */
  readonly probe: "none" | "pto" | "mtu";
}

/** Empty slots at the front are given back in one go. */
const COMPACT_FROM = 512;

export class SentPackets<P extends SentPacket> {
  next = 0;
  largestAcked = -1;
  /** When the last packet went out that must be acknowledged. */
  lastAckElicitingAt = 0;
  ackElicitingInFlight = 0;
  bytesInFlight = 0;
  /** When the oldest packet that was overtaken counts as lost. */
  lossTime: number | undefined = undefined;
  /** Packets that were lost because later ones arrived, and those that were overtaken for too long. */
  lostByReordering = 0;
  lostByTime = 0;
  readonly #skipped: SkippedNumbers | undefined;
  #slots: (P | null | undefined)[] = [];
  #first = 0;
  /** The slot of the oldest packet. */
  #head = 0;
  /** When the first packet was sent of those that were lost with none acknowledged since. */
  #lossesSince: number | undefined = undefined;
  /** The first packet of the path at hand. */
  #pathStart = 0;

  constructor(skipped: SkippedNumbers | undefined) {
    this.#skipped = skipped;
  }

  add(packet: P): void {
    const { packetNumber } = packet;
    this.next = this.#skipped === undefined ? packetNumber + 1 : this.#skipped.pass(packetNumber + 1);
    if (!packet.inFlight) return;
    if (this.#head === this.#slots.length) {
      // Who acknowledged what in between is not known here.
      if (packetNumber !== this.#first + this.#head) this.#lossesSince = undefined;
      this.#slots.length = 0;
      this.#head = 0;
      this.#first = packetNumber;
    }
    while (this.#first + this.#slots.length < packetNumber) this.#slots.push(undefined);
    this.#slots.push(packet);
    this.bytesInFlight += packet.size;
    if (!packet.ackEliciting) return;
    this.ackElicitingInFlight++;
    this.lastAckElicitingAt = packet.sentAt;
  }

  /** Whether an ACK frame names numbers that were never sent. */
  isForged(ack: AckFrame): boolean {
    return ack.largest >= this.next || this.#skipped?.isNamedBy(ack) === true;
  }

  /** Takes out what an ACK frame names for the first time, newest first. */
  acknowledge(ack: AckFrame, acked: P[]): void {
    if (ack.largest > this.largestAcked) this.largestAcked = ack.largest;
    const oldest = this.#first + this.#head;
    const newest = this.#first + this.#slots.length - 1;
    for (let i = 0; i < ack.count; i++) {
      const largest = ack.ranges[2 * i + 1] as number;
      if (largest < oldest) return;
      const from = Math.max(ack.ranges[2 * i] as number, oldest) - this.#first;
      for (let slot = Math.min(largest, newest) - this.#first; slot >= from; slot--) {
        const packet = this.#slots[slot];
        if (packet === null) continue;
        this.#slots[slot] = null;
        if (packet === undefined) continue;
        this.#left(packet);
        acked.push(packet);
      }
    }
  }

  /**
   * Takes out what was overtaken by `reordering` packets, or for longer than `delay`. True when that makes persistent congestion
   * (RFC 9002 § 7.6): all packets of `persistent` milliseconds were lost, `since` at the earliest.
   */
  detectLost(
    now: number,
    delay: number,
    reordering: number,
    persistent: number,
    since: number | undefined,
    lost: P[],
  ): boolean {
    let isPersistent = false;
    this.lossTime = undefined;
    while (this.#head < this.#slots.length && this.#first + this.#head <= this.largestAcked) {
      const packet = this.#slots[this.#head];
      if (packet === null) {
        this.#lossesSince = undefined;
      } else if (packet !== undefined) {
        if (packet.sentAt + delay > now && packet.packetNumber + reordering > this.largestAcked) {
          this.lossTime = packet.sentAt + delay;
          break;
        }
        this.#left(packet);
        if (packet.sentAt + delay <= now) this.lostByTime++;
        else this.lostByReordering++;
        lost.push(packet);
        if (
          packet.ackEliciting &&
          packet.probe !== "mtu" &&
          this.isOfPath(packet) &&
          since !== undefined &&
          packet.sentAt > since
        ) {
          this.#lossesSince ??= packet.sentAt;
          if (packet.sentAt - this.#lossesSince > persistent) isPersistent = true;
        }
      }
      this.#slots[this.#head++] = undefined;
    }
    this.#compact();
    return isPersistent;
  }

  /** The oldest packet in flight that must be acknowledged. */
  oldest(): P | undefined {
    for (let slot = this.#head; slot < this.#slots.length; slot++) {
      const packet = this.#slots[slot];
      if (packet?.ackEliciting === true) return packet;
    }
    return undefined;
  }

  /** Another path is used from now on: what is in flight is not in flight there. */
  leavePath(): void {
    this.#pathStart = this.next;
    this.#lossesSince = undefined;
    this.bytesInFlight = 0;
  }

  /** What becomes of others says nothing about the path at hand (RFC 9000 § 9.4). */
  isOfPath(packet: SentPacket): boolean {
    return packet.packetNumber >= this.#pathStart;
  }

  /** Nobody will acknowledge what is in flight; numbers go on. */
  forget(): void {
    this.#slots = [];
    this.#head = 0;
    this.#first = this.next;
    this.#lossesSince = undefined;
    this.lossTime = undefined;
    this.bytesInFlight = 0;
    this.ackElicitingInFlight = 0;
  }

  #left(packet: P): void {
    if (this.isOfPath(packet)) this.bytesInFlight -= packet.size;
    if (packet.ackEliciting) this.ackElicitingInFlight--;
  }

  #compact(): void {
    if (this.#head < COMPACT_FROM || 2 * this.#head < this.#slots.length) return;
    this.#slots.splice(0, this.#head);
    this.#first += this.#head;
    this.#head = 0;
  }
}
