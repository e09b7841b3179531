/** What becomes of the packets that we sent: who is told when one is acknowledged or lost, and what goes out as a probe (RFC 9002 § 6.2). */
import type { AckFrame } from "../frames.ts";
import { type PacketNumberSpace, Space } from "../packet-number.ts";
import type { RecoverySink } from "../recovery/recovery.ts";
import type { Core } from "./core.ts";
import type { PacketRecord } from "./packet-record.ts";

const HANDSHAKE_SPACES = [Space.initial, Space.handshake] as const;

export class Delivery implements RecoverySink<PacketRecord> {
  readonly #core: Core;
  /** Probes that are to be sent, by space. */
  readonly probes: [number, number, number] = [0, 0, 0];
  readonly largestAcked: [number, number, number] = [-1, -1, -1];

  constructor(core: Core) {
    this.#core = core;
  }

  onAck(space: PacketNumberSpace, ack: AckFrame): void {
    const core = this.#core;
    // Delays are told after the handshake only (RFC 9000 § 13.2.5).
    const delay = space === Space.application ? (ack.delay * 2 ** core.peer.ackDelayExponent) / 1000 : 0;
    core.recovery.onAckReceived(space, ack, delay, core.now, this);
    if (space === Space.application) core.keys.phases?.onAck(ack.largest);
    if (ack.largest > this.largestAcked[space]) this.largestAcked[space] = ack.largest;
  }

  onAcked(packet: PacketRecord): void {
    const core = this.#core;
    const { space, control } = packet;
    if (packet.ackLargest >= 0) core.received[space].onAckOfAck(packet.ackLargest);
    if (!core.recovery.isOfPath(packet)) {
      // What passes elsewhere says nothing about the path at hand.
    } else if (packet.probe === "mtu") {
      core.pathMtu.onProbeAcked(packet.size);
      this.followMtu();
    } else {
      core.pathMtu.onPacketAcked(packet.size);
    }
    if (control !== undefined) core.control.onAcked(control);
    core.crypto[space].onFramesAcked(packet);
    if (space === Space.application) core.streams?.onFramesAcked(packet);
  }

  onLost(packet: PacketRecord): void {
    const { pathMtu, recovery, now } = this.#core;
    const isOfPath = recovery.isOfPath(packet);
    if (packet.probe === "mtu") {
      if (isOfPath) pathMtu.onProbeLost(packet.size);
      return;
    }
    if (isOfPath) {
      pathMtu.onPacketLost(packet.size, now);
      this.followMtu();
    }
    this.#sendAgain(packet);
  }

  onTooBig(limit: number): void {
    this.#core.pathMtu.onTooBig(limit);
    this.followMtu();
  }

  /** Window and pacer count in datagrams. */
  followMtu(): void {
    const { pathMtu, recovery } = this.#core;
    recovery.setMtu(pathMtu.current);
  }

  #sendAgain(packet: PacketRecord): void {
    const core = this.#core;
    const { space, control } = packet;
    if (control !== undefined) core.control.onLost(control);
    // A probe tells it again before the packet counts as lost, if it ever does: once is enough.
    packet.control = undefined;
    core.crypto[space].onFramesLost(packet);
    if (space === Space.application) core.streams?.onFramesLost(packet);
  }

  /** The loss timer, or a probe timeout: then what the oldest packet said goes out again, as it is the likeliest to be missed. */
  onTimeout(): void {
    const core = this.#core;
    const probe = core.recovery.onTimeout(core.now, this);
    if (probe === undefined) return;
    const { space, probes } = probe;
    core.pathMtu.onProbeTimeout(core.recovery.probeTimeouts);
    this.followMtu();
    this.probes[space] = probes;
    if (space === Space.application) {
      const oldest = core.recovery.oldestUnacked(space);
      if (oldest !== undefined) this.#sendAgain(oldest);
      return;
    }
    // What waits in the other space of the handshake goes along: the window may be full of packets that can't be opened without it.
    for (const other of HANDSHAKE_SPACES) {
      if (!core.keys.canSend(other)) continue;
      core.crypto[other].resendAll();
      if (core.crypto[other].pending && this.probes[other] === 0) this.probes[other] = 1;
    }
  }
}
