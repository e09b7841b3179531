/** Packets and ACK frames for tests of loss detection. */
import type { AckFrame } from "../../../../src/protocol/quic/frames.ts";
import { type PacketNumberSpace, Space } from "../../../../src/protocol/quic/packet-number.ts";
import { PathState } from "../../../../src/protocol/quic/recovery/path-state.ts";
import {
  Recovery,
  type RecoveryOptions,
  type RecoverySink,
  type SentPacket,
} from "../../../../src/protocol/quic/recovery/recovery.ts";

export const MTU = 1200;

/** Skips no number below 256. */
export const noSkips = (length: number): Buffer => Buffer.alloc(length, 0xff);

/** Of ranges as [smallest, largest], newest first. */
export function ackOf(...ranges: readonly (readonly [number, number])[]): AckFrame {
  return {
    largest: ranges[0]?.[1] ?? -1,
    delay: 0,
    ranges: Float64Array.from(ranges.flat()),
    count: ranges.length,
  };
}

/** A sender whose packets the test acknowledges. */
export class Lab implements RecoverySink<SentPacket> {
  readonly recovery: Recovery;
  now = 1000;
  readonly acked: number[] = [];
  readonly lost: number[] = [];

  constructor(options: Partial<RecoveryOptions> = {}) {
    const path = new PathState("new-reno", { initial: MTU });
    this.recovery = new Recovery({ role: "server", path, random: noSkips, ...options });
  }

  onAcked(packet: SentPacket): void {
    this.acked.push(packet.packetNumber);
  }
  onLost(packet: SentPacket): void {
    this.lost.push(packet.packetNumber);
  }

  send(packet: Partial<SentPacket> = {}): number {
    const space = packet.space ?? Space.application;
    const packetNumber = this.recovery.nextPacketNumber(space);
    this.recovery.onPacketSent({
      packetNumber,
      sentAt: this.now,
      size: MTU,
      ackEliciting: true,
      inFlight: true,
      probe: "none",
      ...packet,
      space,
    });
    return packetNumber;
  }

  /** Returns their numbers. */
  sendMany(count: number, packet: Partial<SentPacket> = {}): number[] {
    return Array.from({ length: count }, () => this.send(packet));
  }

  ack(...ranges: readonly (readonly [number, number])[]): void {
    this.ackIn(Space.application, 0, ...ranges);
  }

  /** Of numbers that ascend. */
  ackEach(numbers: readonly number[]): void {
    const ranges: [number, number][] = [];
    for (const number of numbers) {
      const newest = ranges[0];
      if (newest !== undefined && newest[1] === number - 1) newest[1] = number;
      else ranges.unshift([number, number]);
    }
    this.ack(...ranges);
  }

  ackIn(space: PacketNumberSpace, delay: number, ...ranges: readonly (readonly [number, number])[]): void {
    this.recovery.onAckReceived(space, ackOf(...ranges), delay, this.now, this);
  }

  /** One packet sent and acknowledged after `rtt`. */
  roundTrip(rtt: number, space: PacketNumberSpace = Space.application): void {
    const packetNumber = this.send({ space });
    this.now += rtt;
    this.ackIn(space, 0, [packetNumber, packetNumber]);
  }

  /** Lets the time of the next timer come. */
  timeout(): ReturnType<Recovery["onTimeout"]> {
    const at = this.recovery.deadline();
    if (at === undefined) throw new Error("no timer is set");
    this.now = Math.max(this.now, at);
    return this.recovery.onTimeout(this.now, this);
  }
}
