/**
 * From what waits to datagrams (RFC 9000 §§ 12.2, 13, 14): a burst is built and sealed before any of it goes out. Each datagram
 * holds a packet of every space that has something to say.
 */
import { TransportErrorCode } from "../errors.ts";
import type { FrameWriter } from "../frame-writer.ts";
import { FrameType } from "../frames.ts";
import { MAX_ACK_ONLY_PACKETS, MAX_BURST, MAX_CONNECTION_ID_LENGTH, MIN_DATAGRAM_SIZE } from "../limits.ts";
import { type PacketNumberSpace, Space, SPACES } from "../packet-number.ts";
import { TAG_LENGTH } from "../protection.ts";
import type { Core } from "./core.ts";
import { DatagramBuilder } from "./datagram-builder.ts";
import { PacketRecord } from "./packet-record.ts";

/** No packet is begun for less: what is smaller than the largest frame without data would stand in a datagram in vain. */
const MIN_PAYLOAD = 64;

/** But a challenge alone is worth a packet: a path that has changed may allow no more, as three times of an ACK are few bytes. */
const CHALLENGE_PAYLOAD = 9;

/** A 1-RTT packet with that payload. */
const MIN_PACKET = CHALLENGE_PAYLOAD + 1 + MAX_CONNECTION_ID_LENGTH + 4 + TAG_LENGTH;

const NO_REASON = Buffer.alloc(0);

export class Sender {
  readonly #core: Core;
  readonly #builder: DatagramBuilder;
  /** Of the datagram at hand, by its packets' order. */
  readonly #records: PacketRecord[] = [];
  /** What the congestion window and the pacer allow in this burst. */
  #allowance = 0;
  /** The datagram proves something about its path, and so must be large. */
  #provesPath = false;
  /** 1-RTT packets without anything to acknowledge since the last that had. */
  #ackOnly = 0;
  /** There is more than one burst takes. */
  more = false;
  /** Where the last burst goes. */
  address: string;

  constructor(core: Core) {
    this.#core = core;
    this.address = core.path.address;
    this.#builder = new DatagramBuilder(core.keys);
  }

  /** By type. */
  get framesSent(): Float64Array {
    return this.#builder.writer.counts;
  }

  burst(): Buffer[] {
    const core = this.#core;
    const datagrams: Buffer[] = [];
    this.more = false;
    this.#builder.beginBurst();
    const aside = this.#aside();
    if (aside !== undefined) return [aside];
    this.address = core.path.address;
    this.#allowance = core.recovery.sendAllowance(core.now);
    this.#fill(datagrams);
    // Writers that were paused go on only now, between packets, and may have more for this burst.
    core.streams?.resumeWriters();
    if (!core.ended) this.#fill(datagrams);
    this.#builder.protect();
    this.more = datagrams.length === MAX_BURST;
    if (!this.more && this.#maySendData()) core.recovery.onAppLimited();
    return datagrams;
  }

  /** What is asked and answered over another path than the followed one: a datagram that is all of its burst. */
  #aside(): Buffer | undefined {
    const core = this.#core;
    const builder = this.#builder;
    const path = core.paths.waiting(MIN_PACKET);
    if (path === undefined) return undefined;
    const packetNumber = core.recovery.nextPacketNumber(Space.application);
    builder.begin(Math.min(MIN_DATAGRAM_SIZE, path.allowance));
    this.#records.length = 0;
    const largest = core.delivery.largestAcked[Space.application];
    if (!builder.open(Space.application, core.headerIds(), undefined, packetNumber, largest, CHALLENGE_PAYLOAD))
      return undefined;
    path.write(builder.writer, core.now, core.pto());
    builder.close();
    this.#records.push(new PacketRecord(Space.application, packetNumber, core.now));
    const datagram = this.#finish(path.allowance >= MIN_DATAGRAM_SIZE ? MIN_DATAGRAM_SIZE : 0, path);
    builder.protect();
    core.paths.onSent();
    this.address = path.address;
    this.more = true;
    return datagram;
  }

  /** When something of other paths, or the validation of any, is due. */
  pathDeadline(): number {
    return this.#core.paths.deadline(MIN_PACKET);
  }

  /** The datagrams of the last burst have left. */
  recycle(): void {
    this.#builder.recycle();
  }

  #fill(datagrams: Buffer[]): void {
    while (datagrams.length < MAX_BURST) {
      // The probe goes first: who has much to send would never have room for it afterwards.
      const probe = datagrams.length === 0 ? this.#mtuProbe() : undefined;
      const datagram = probe ?? this.#datagram() ?? this.#mtuProbe();
      if (datagram === undefined) return;
      datagrams.push(datagram);
    }
  }

  /**
   * Whether the peer's address may be sent anything (RFC 9000 § 8.1). In the handshake that is a whole datagram of 1200 bytes, as
   * less proves nothing (§ 14.1); a path that has changed is checked by what it allows (§ 8.2.1).
   */
  get maySend(): boolean {
    const { path, handshakeConfirmed } = this.#core;
    return path.allowance >= (handshakeConfirmed ? MIN_PACKET : MIN_DATAGRAM_SIZE);
  }

  /** Whether data waits that only the pacer holds back. */
  get blockedByPacer(): boolean {
    if (this.#maySendData()) return false;
    for (const space of SPACES) {
      if (this.#core.keys.canSend(space) && this.#wantsData(space)) return true;
    }
    return false;
  }

  /** Window and pacer allow another datagram. */
  #maySendData(): boolean {
    return this.#allowance >= this.#core.pathMtu.current;
  }

  #datagram(): Buffer | undefined {
    const core = this.#core;
    const builder = this.#builder;
    const { path, keys } = core;
    let maxSize = core.pathMtu.current;
    if (!path.validated) {
      if (!this.maySend) return undefined;
      // Three times of 1200 make three datagrams.
      maxSize = Math.min(MIN_DATAGRAM_SIZE, maxSize, path.allowance);
    }
    builder.begin(maxSize);
    this.#records.length = 0;
    this.#provesPath = false;
    for (const space of SPACES) {
      if (keys.canSend(space)) this.#packet(space);
    }
    if (builder.count === 0) return undefined;
    const first = builder.packet(0);
    const hasInitial = first.space === Space.initial && (core.role === "client" || first.ackEliciting);
    // Filled up to less it would prove nothing, and use up what a path that is not validated may be sent (RFC 9000 § 8.2.1).
    const proves = this.#provesPath && path.allowance >= MIN_DATAGRAM_SIZE;
    return this.#finish(hasInitial || proves ? MIN_DATAGRAM_SIZE : 0);
  }

  #finish(padTo: number, path = this.#core.path): Buffer {
    const core = this.#core;
    const builder = this.#builder;
    const datagram = builder.finish(padTo);
    let handshake = false;
    for (let i = 0; i < builder.count; i++) {
      const packet = builder.packet(i);
      const record = this.#records[i] as PacketRecord;
      record.size = packet.size;
      record.ackEliciting = packet.ackEliciting;
      // What becomes of it on another path says nothing about the followed one; its frames have a timer of their own, or none.
      record.inFlight = path === core.path && (packet.ackEliciting || packet.padded);
      handshake = handshake || packet.space === Space.handshake;
      if (record.inFlight) this.#allowance -= packet.size;
      if (packet.ackEliciting) core.liveness.onSentAckEliciting(core.now);
      core.recovery.onPacketSent(record);
      core.packetsSent++;
    }
    core.bytesSent += datagram.length;
    path.onSent(datagram.length);
    // A client needs no Initial any more once it speaks under handshake keys (RFC 9001 § 4.9.1).
    if (handshake && core.role === "client") core.discard(Space.initial);
    return datagram;
  }

  #wantsData(space: PacketNumberSpace): boolean {
    const core = this.#core;
    if (core.crypto[space].pending) return true;
    if (space !== Space.application) return false;
    return (
      core.control.pending ||
      core.pingPending ||
      core.datagrams.length > 0 ||
      core.streams?.pending() === true ||
      core.path.wants(core.now)
    );
  }

  /** One packet of a space, if it has something to say and may. */
  #packet(space: PacketNumberSpace): void {
    const core = this.#core;
    const received = core.received[space];
    const probe = core.delivery.probes[space] > 0;
    const ackDue = received.ackDue(core.now);
    // What is in flight went the old way, and takes nothing from the new one.
    const challenge =
      space === Space.application && (core.path.challengeDeadline() ?? Number.POSITIVE_INFINITY) <= core.now;
    const mayData = probe || challenge || this.#maySendData();
    if (!ackDue && !probe && !(mayData && this.#wantsData(space))) return;
    const packetNumber = core.recovery.nextPacketNumber(space);
    const builder = this.#builder;
    const token = space === Space.initial ? core.token : undefined;
    const minPayload = core.handshakeConfirmed && !core.path.validated ? CHALLENGE_PAYLOAD : MIN_PAYLOAD;
    if (!builder.open(space, core.headerIds(), token, packetNumber, core.delivery.largestAcked[space], minPayload))
      return;
    // Both probes of the handshake say all that they can: either may be lost.
    if (probe && space !== Space.application && !core.crypto[space].pending) core.crypto[space].resendAll();
    const record = new PacketRecord(space, packetNumber, core.now);
    this.#write(space, builder.writer, record, mayData);
    if (probe) {
      if (!builder.writer.ackEliciting) builder.writer.ping();
      core.delivery.probes[space]--;
      record.probe = "pto";
    }
    if (builder.close()) this.#records.push(record);
  }

  #write(space: PacketNumberSpace, writer: FrameWriter, record: PacketRecord, mayData: boolean): void {
    const core = this.#core;
    // First what validates the path: there may be no room for more.
    if (mayData && space === Space.application) this.#writePath(writer);
    record.ackLargest = core.received[space].write(writer, core.now);
    if (mayData) {
      if (core.crypto[space].pending) core.crypto[space].writeFrames(writer, record);
      if (space === Space.application) this.#writeApplication(writer, record);
    }
    if (space !== Space.application) return;
    if (writer.ackEliciting) {
      this.#ackOnly = 0;
    } else if (++this.#ackOnly > MAX_ACK_ONLY_PACKETS) {
      // What only acknowledges is never acknowledged itself, and its ranges would never be done with (RFC 9000 § 13.2.4).
      this.#ackOnly = 0;
      writer.ping();
    }
  }

  #writePath(writer: FrameWriter): void {
    const core = this.#core;
    if (!core.path.wants(core.now)) return;
    this.#provesPath = true;
    core.path.write(writer, core.now, core.pto());
  }

  #writeApplication(writer: FrameWriter, record: PacketRecord): void {
    const core = this.#core;
    record.control = core.control.write(writer);
    if (core.pingPending && writer.ping()) core.pingPending = false;
    if (core.datagrams.length > 0) core.datagrams.write(writer, core.maxDatagramSize);
    core.streams?.writeFrames(writer, record);
  }

  /** A datagram of a size that is to be tried (RFC 8899). */
  #mtuProbe(): Buffer | undefined {
    const core = this.#core;
    if (!core.handshakeConfirmed || !core.path.validated) return undefined;
    const size = core.pathMtu.probeDue(core.now);
    if (size === undefined || this.#allowance < size) return undefined;
    const builder = this.#builder;
    const packetNumber = core.recovery.nextPacketNumber(Space.application);
    builder.begin(size);
    this.#records.length = 0;
    const largest = core.delivery.largestAcked[Space.application];
    if (!builder.open(Space.application, core.headerIds(), undefined, packetNumber, largest, MIN_PAYLOAD))
      return undefined;
    const record = new PacketRecord(Space.application, packetNumber, core.now);
    record.probe = "mtu";
    builder.writer.ping();
    builder.close();
    this.#records.push(record);
    core.pathMtu.onProbeSent(size);
    return this.#finish(size);
  }

  /**
   * A datagram with CONNECTION_CLOSE in a packet of each space that the peer may be able to open (RFC 9000 § 10.2.3). An
   * application's error is told by the transport where others could read it. Undefined when nothing may be sent.
   */
  close(errorCode: number, frameType: number | undefined, reason: string): Buffer | undefined {
    const core = this.#core;
    const builder = this.#builder;
    if (!this.maySend) return undefined;
    builder.beginBurst();
    builder.begin(Math.min(MIN_DATAGRAM_SIZE, core.path.allowance));
    this.#records.length = 0;
    for (const space of SPACES) {
      if (!core.keys.canSend(space) || (space === Space.application && !core.handshakeComplete)) continue;
      const packetNumber = core.recovery.nextPacketNumber(space);
      const token = space === Space.initial ? core.token : undefined;
      if (!builder.open(space, core.headerIds(), token, packetNumber, core.delivery.largestAcked[space], MIN_PAYLOAD))
        continue;
      if (frameType !== undefined || space === Space.application) {
        builder.writer.connectionClose(errorCode, frameType, Buffer.from(reason));
      } else {
        builder.writer.connectionClose(TransportErrorCode.APPLICATION_ERROR, FrameType.PADDING, NO_REASON);
      }
      if (builder.close()) this.#records.push(new PacketRecord(space, packetNumber, core.now));
    }
    if (builder.count === 0) return undefined;
    const hasInitial = builder.packet(0).space === Space.initial;
    const datagram = this.#finish(hasInitial && core.role === "client" ? MIN_DATAGRAM_SIZE : 0);
    builder.protect();
    return datagram;
  }
}
