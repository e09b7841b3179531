/**
 * Loss detection and congestion control of a connection (RFC 9002), all packet number spaces: which packets are acknowledged or lost,
 * when to probe for an answer, how much may be in flight. It never looks inside the packets.
 */
import { protocolViolation } from "../errors.ts";
import type { AckFrame, Role } from "../frames.ts";
import { MAX_PROBE_TIMEOUT } from "../limits.ts";
import { type PacketNumberSpace, Space, SPACES } from "../packet-number.ts";
import type { PathState } from "./path-state.ts";
import type { RoundTripTime } from "./round-trip-time.ts";
import { type SentPacket, SentPackets } from "./sent-packets.ts";
import { SkippedNumbers } from "./skipped-numbers.ts";

export type { SentPacket } from "./sent-packets.ts";

export interface RecoveryOptions {
  readonly role: Role;
  readonly path: PathState;
  readonly random: (length: number) => Buffer;
}

/** Who is told what became of packets. */
export interface RecoverySink<P extends SentPacket> {
  onAcked(packet: P): void;
  onLost(packet: P): void;
}

export type CongestionState = "slow-start" | "congestion-avoidance" | "application-limited" | "recovery";

/** By what told it: later packets that arrived, or time. */
export interface LostPackets {
  readonly reordering: number;
  readonly time: number;
}

/** What a probe timeout asks for: so many packets in that space that must be acknowledged, beyond the congestion window. */
export interface Probe {
  readonly space: PacketNumberSpace;
  readonly probes: 1 | 2;
}

/** Before the peer has told (RFC 9000 § 18.2). */
const DEFAULT_MAX_ACK_DELAY = 25;

/** RFC 9002 § 7.6.1. */
const PERSISTENT_CONGESTION_THRESHOLD = 3;

/** How many probe timeouts late a packet may be and still be known. */
const LATE_TIMEOUTS = 3;

/** Datagrams that may be missing to a full window, out of slow start: a burst that is waiting for its ACK. */
const UNUSED_PACKETS = 3;

export class Recovery<P extends SentPacket = SentPacket> {
  /** Probe timeouts since the last acknowledgement. */
  probeTimeouts = 0;
  readonly #isClient: boolean;
  readonly #spaces: readonly [SentPackets<P>, SentPackets<P>, SentPackets<P>];
  #path: PathState;
  #mtu: number;
  #maxAckDelay = DEFAULT_MAX_ACK_DELAY;
  #confirmed = false;
  /** A server that has not validated a client's address can't send: the client must not wait for it (RFC 9002 § 6.2.2.1). */
  #peerValidatedUs: boolean;
  /** Initial keys are gone. */
  #initialDiscarded = false;
  /** From when on a client waits for such a server. */
  #waitingSince: number | undefined = undefined;
  #probeSpace: PacketNumberSpace = Space.initial;
  /** There was less to send than was allowed. */
  #appLimited = true;
  readonly #acked: P[] = [];
  readonly #lost: P[] = [];

  constructor(options: RecoveryOptions) {
    this.#isClient = options.role === "client";
    this.#peerValidatedUs = !this.#isClient;
    this.#path = options.path;
    this.#mtu = options.path.mtu.current;
    this.#spaces = [
      new SentPackets<P>(undefined),
      new SentPackets<P>(undefined),
      new SentPackets<P>(new SkippedNumbers(options.random)),
    ];
    this.#setRate();
  }

  get rtt(): RoundTripTime {
    return this.#path.rtt;
  }

  /** Of the path at hand. */
  get path(): PathState {
    return this.#path;
  }

  get bytesInFlight(): number {
    const [initial, handshake, application] = this.#spaces;
    return initial.bytesInFlight + handshake.bytesInFlight + application.bytesInFlight;
  }

  get congestionWindow(): number {
    return this.#path.congestion.window;
  }

  get congestionState(): CongestionState {
    if (this.#path.congestion.inRecovery) return "recovery";
    if (this.#appLimited) return "application-limited";
    return this.#path.congestion.inSlowStart ? "slow-start" : "congestion-avoidance";
  }

  get packetsLost(): LostPackets {
    const [initial, handshake, application] = this.#spaces;
    return {
      reordering: initial.lostByReordering + handshake.lostByReordering + application.lostByReordering,
      time: initial.lostByTime + handshake.lostByTime + application.lostByTime,
    };
  }

  get minimumWindow(): number {
    return this.#path.congestion.minimum;
  }

  /** The number of the packet that is sent next in a space; the same until one is. */
  nextPacketNumber(space: PacketNumberSpace): number {
    return this.#spaces[space].next;
  }

  /** The oldest packet of a space that waits for its acknowledgement. */
  oldestUnacked(space: PacketNumberSpace): P | undefined {
    return this.#spaces[space].oldest();
  }

  // --- What the connection learns ---

  setMtu(mtu: number): void {
    this.#mtu = mtu;
    this.#path.congestion.setMtu(mtu);
    this.#setRate();
  }

  /** Another path is used from now on: its round-trip time, window and MTU count. */
  changePath(path: PathState): void {
    if (path === this.#path) return;
    this.#path.mtu.pause();
    this.#path = path;
    this.#spaces[Space.application].leavePath();
    this.probeTimeouts = 0;
    this.setMtu(path.mtu.current);
  }

  /** Whether a packet went over the path at hand. */
  isOfPath(packet: SentPacket): boolean {
    return this.#spaces[packet.space].isOfPath(packet);
  }

  setPeerAckDelay(milliseconds: number): void {
    this.#maxAckDelay = milliseconds;
  }

  onHandshakeConfirmed(): void {
    this.#confirmed = true;
    this.#peerValidatedUs = true;
  }

  /** The keys of a space are gone, and with them the acknowledgements of what it has in flight (RFC 9002 § 6.4). */
  discardSpace(space: 0 | 1): void {
    this.#spaces[space].forget();
    this.probeTimeouts = 0;
    if (space === Space.initial) this.#initialDiscarded = true;
  }

  /** The server did not take our Initials: it wants them again, with a token (RFC 9002 § 6.3). */
  onRetry(): void {
    this.#spaces[Space.initial].forget();
    this.probeTimeouts = 0;
  }

  // --- Sending ---

  /** Bytes that window and pacer allow now, together. */
  sendAllowance(now: number): number {
    return Math.max(
      0,
      Math.min(this.#path.congestion.window - this.bytesInFlight, this.#path.pacer.available(now, this.#mtu)),
    );
  }

  /** When the pacer allows a datagram; undefined = the window does not, and time alone changes nothing. */
  pacingDeadline(): number | undefined {
    return this.#path.congestion.window - this.bytesInFlight < this.#mtu
      ? undefined
      : this.#path.pacer.deadline(this.#mtu);
  }

  /** Nothing was left to send, or flow control did not allow it: the window must not grow for what was not tried (RFC 9002 § 7.8). */
  onAppLimited(): void {
    this.#appLimited = true;
  }

  onPacketSent(packet: P): void {
    this.#spaces[packet.space].add(packet);
    if (!packet.inFlight) return;
    this.#waitingSince = packet.sentAt;
    this.#path.pacer.onSent(packet.size);
    if (this.#path.congestion.window - this.bytesInFlight < this.#mtu || this.#path.pacer.tokens < this.#mtu) {
      this.#appLimited = false;
    }
  }

  // --- Acknowledgements and losses ---

  /** `ackDelay` in milliseconds. Throws TransportError on an ACK of what was never sent. */
  onAckReceived(space: PacketNumberSpace, ack: AckFrame, ackDelay: number, now: number, sink: RecoverySink<P>): void {
    const sent = this.#spaces[space];
    if (sent.isForged(ack)) throw protocolViolation("an ACK of a packet that was never sent");
    if (space === Space.handshake) this.#peerValidatedUs = true;
    const used = this.#isWindowUsed();
    const acked = this.#acked;
    acked.length = 0;
    sent.acknowledge(ack, acked);
    if (space === Space.application) this.#findSpurious(ack, now);
    const newest = acked[0];
    if (newest === undefined) return;
    if (newest.packetNumber === ack.largest && sent.isOfPath(newest) && hasAckEliciting(acked)) {
      this.#sample(newest, this.#confirmed ? Math.min(ackDelay, this.#maxAckDelay) : ackDelay, now);
    }
    // A server may not be able to answer yet, whatever it acknowledged (RFC 9002 § 6.2.1).
    if (this.#peerValidatedUs) this.probeTimeouts = 0;
    this.#waitingSince = now;
    this.#detectLost(sent, now);
    for (const packet of acked) {
      if (!sent.isOfPath(packet)) continue;
      this.#path.congestion.onAcked(packet.size, packet.sentAt, used, now, this.rtt.smoothed);
    }
    this.#setRate();
    for (const packet of acked) sink.onAcked(packet);
    acked.length = 0;
    this.#tellLost(sink);
  }

  /** When `onTimeout` wants to be called; undefined = never. */
  deadline(): number | undefined {
    let lossTime: number | undefined;
    for (const { lossTime: at } of this.#spaces) {
      if (at !== undefined && (lossTime === undefined || at < lossTime)) lossTime = at;
    }
    return lossTime ?? this.#probeTimeout();
  }

  /** Declares packets lost that were overtaken for too long; else, if it is time, asks for probes. */
  onTimeout(now: number, sink: RecoverySink<P>): Probe | undefined {
    let isLossTimer = false;
    for (const sent of this.#spaces) {
      if (sent.lossTime === undefined) continue;
      isLossTimer = true;
      if (sent.lossTime <= now) this.#detectLost(sent, now);
    }
    if (isLossTimer) {
      this.#setRate();
      this.#tellLost(sink);
      return undefined;
    }
    const at = this.#probeTimeout();
    if (at === undefined || now < at) return undefined;
    const space = this.#probeSpace;
    this.probeTimeouts++;
    this.#waitingSince = now;
    // A second one in case the first is lost too; but nothing is gained by two that only ask for an answer.
    return { space, probes: this.#spaces[space].ackElicitingInFlight > 0 ? 2 : 1 };
  }

  // --- Inside ---

  #isWindowUsed(): boolean {
    if (!this.#appLimited) return true;
    const { window } = this.#path.congestion;
    const unused = this.#path.congestion.inSlowStart ? window / 2 : UNUSED_PACKETS * this.#mtu;
    return window - this.bytesInFlight <= unused;
  }

  #sample(newest: P, ackDelay: number, now: number): void {
    const latest = Math.max(0, now - newest.sentAt);
    this.rtt.sample(latest, ackDelay, now);
    this.#path.congestion.onRttSample(latest, newest.sentAt, now);
  }

  #findSpurious(ack: AckFrame, now: number): void {
    const { late, congestion } = this.#path;
    late.forgetBefore(now - LATE_TIMEOUTS * this.rtt.probeTimeout(this.#maxAckDelay));
    const { largestAcked } = this.#spaces[Space.application];
    late.onAck(ack, largestAcked, congestion);
  }

  #detectLost(sent: SentPackets<P>, now: number): void {
    const { rtt } = this;
    const lost = this.#lost;
    const from = lost.length;
    const delay = rtt.lossDelay(this.#path.late.timeThreshold);
    const persistent = PERSISTENT_CONGESTION_THRESHOLD * rtt.probeTimeout(this.#maxAckDelay);
    const { packetThreshold } = this.#path.late;
    const isPersistent = sent.detectLost(now, delay, packetThreshold, persistent, rtt.firstSampleAt, lost);
    for (let i = from; i < lost.length; i++) {
      const packet = lost[i] as P;
      if (packet.probe === "mtu" || !sent.isOfPath(packet)) continue;
      const event = this.#path.congestion.onLost(packet.sentAt, now);
      if (packet.space === Space.application) {
        this.#path.late.add(packet.packetNumber, event, sent.largestAcked, now);
      }
    }
    if (!isPersistent) return;
    this.#path.congestion.onPersistentCongestion();
    this.#path.late.reset();
    rtt.forgetMin();
  }

  #tellLost(sink: RecoverySink<P>): void {
    const lost = this.#lost;
    for (const packet of lost) sink.onLost(packet);
    lost.length = 0;
  }

  /** When it comes, and in `#probeSpace` for which space (RFC 9002 App. A.8). */
  #probeTimeout(): number | undefined {
    let at: number | undefined;
    for (const space of SPACES) {
      const sent = this.#spaces[space];
      // Before the handshake is confirmed, the peer may not be able to open 1-RTT packets (RFC 9002 § 6.2.1).
      if (sent.ackElicitingInFlight === 0 || (space === Space.application && !this.#confirmed)) continue;
      const due = sent.lastAckElicitingAt + this.#backedOff(space === Space.application ? this.#maxAckDelay : 0);
      if (at !== undefined && due >= at) continue;
      at = due;
      this.#probeSpace = space;
    }
    if (at !== undefined || this.#peerValidatedUs || this.#waitingSince === undefined) return at;
    this.#probeSpace = this.#initialDiscarded ? Space.handshake : Space.initial;
    return this.#waitingSince + this.#backedOff(0);
  }

  #backedOff(maxAckDelay: number): number {
    return Math.min(this.rtt.probeTimeout(maxAckDelay) * 2 ** this.probeTimeouts, MAX_PROBE_TIMEOUT);
  }

  #setRate(): void {
    this.#path.pacer.setRate(this.#path.congestion.window, this.rtt.smoothed, this.#path.congestion.inSlowStart);
  }
}

function hasAckEliciting(packets: readonly SentPacket[]): boolean {
  for (const packet of packets) if (packet.ackEliciting) return true;
  return false;
}
