/**
 * Packets that were declared lost a short time ago: if one is acknowledged after all, it was only late, and the thresholds by which
 * packets count as lost grow (RFC 9002 §§ 6.1.1, 6.1.2 leave that to the sender).
 */
import type { AckFrame } from "../frames.ts";
import type { CongestionController } from "./congestion-controller.ts";
import { MAX_REMEMBERED_LOSSES, MAX_REORDERING } from "../limits.ts";

/** RFC 9002 §§ 6.1.1, 6.1.2. */
const PACKET_THRESHOLD = 3;
const TIME_THRESHOLD = 9 / 8;
const TIME_STEP = 1 / 8;
const MAX_TIME_THRESHOLD = 2;

interface LatePacket {
  readonly packetNumber: number;
  readonly lostAt: number;
  /** Of the congestion controller. */
  readonly event: number;
  /** It was overtaken by too few packets: for too long, then. */
  readonly byTime: boolean;
}

export class LatePackets {
  /** Numbers ascend. */
  #packets: LatePacket[] = [];
  packetThreshold = PACKET_THRESHOLD;
  timeThreshold = TIME_THRESHOLD;

  add(packetNumber: number, event: number, largestAcked: number, lostAt: number): void {
    if (this.#packets.length >= MAX_REMEMBERED_LOSSES) this.#packets.shift();
    const byTime = largestAcked - packetNumber < this.packetThreshold;
    this.#packets.push({ packetNumber, lostAt, event, byTime });
  }

  /** Takes back the loss of each that an ACK frame names. */
  onAck(ack: AckFrame, largestAcked: number, congestion: CongestionController): void {
    const packets = this.#packets;
    let range = 0;
    for (let i = packets.length - 1; i >= 0; i--) {
      const packet = packets[i] as LatePacket;
      while (range < ack.count && packet.packetNumber < (ack.ranges[2 * range] as number)) range++;
      if (range >= ack.count) return;
      if (packet.packetNumber > (ack.ranges[2 * range + 1] as number)) continue;
      packets.splice(i, 1);
      if (packet.byTime) {
        this.timeThreshold = Math.min(this.timeThreshold + TIME_STEP, MAX_TIME_THRESHOLD);
      } else {
        const reordering = largestAcked - packet.packetNumber + 1;
        this.packetThreshold = Math.max(this.packetThreshold, Math.min(reordering, MAX_REORDERING));
      }
      congestion.onSpuriousLoss(packet.event);
    }
  }

  /** Forgets what was lost before a time: nobody would acknowledge it so late. */
  forgetBefore(time: number): void {
    const packets = this.#packets;
    const oldest = packets[0];
    if (oldest === undefined || oldest.lostAt >= time) return;
    this.#packets = packets.filter((packet) => packet.lostAt >= time);
  }

  /** The path is not what it was. */
  reset(): void {
    this.#packets = [];
    this.packetThreshold = PACKET_THRESHOLD;
    this.timeThreshold = TIME_THRESHOLD;
  }
}
