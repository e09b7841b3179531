/**
 * From datagrams to frames: cuts datagrams into packets, opens those that concern us, and hands their frames over. What does not
 * open is dropped without a word (RFC 9000 § 12.2); what opens and breaks a rule throws TransportError.
 */
import { protocolViolation, QuicConnectionError, TransportError, TransportErrorCode } from "../errors.ts";
import { readFrames } from "../frame-reader.ts";
import { PacketTrait } from "../frames.ts";
import { HeaderReader, PacketType } from "../header.ts";
import { MAX_CONNECTION_ID_LENGTH, MAX_RETRY_TOKEN, MIN_DATAGRAM_SIZE } from "../limits.ts";
import { type PacketNumberSpace, Space, SPACES } from "../packet-number.ts";
import { openRetry } from "../retry.ts";
import { isStatelessReset } from "../stateless-reset.ts";
import { refusesVersion1 } from "../version-negotiation.ts";
import type { Core } from "./core.ts";
import type { FrameDispatch } from "./frame-dispatch.ts";
import { type DropReason, UNKNOWN_TYPE } from "./packet-drops.ts";
import { Undecryptable } from "./undecryptable.ts";

/** By packet type. */
const SPACE_OF = [
  Space.initial,
  undefined,
  Space.handshake,
  undefined,
  Space.application,
  undefined,
  undefined,
] as const;

export class Receiver {
  readonly #core: Core;
  readonly #frames: FrameDispatch;
  readonly #header = new HeaderReader();
  readonly #undecryptable = new Undecryptable();
  /** A packet of the datagram at hand opened. */
  #opened = false;

  constructor(core: Core, frames: FrameDispatch) {
    this.#core = core;
    this.#frames = frames;
  }

  /** Takes a datagram in. `onStatelessReset` tells that it is one. */
  receive(datagram: Buffer): void {
    const core = this.#core;
    this.#opened = false;
    this.#packets(datagram, 0);
    this.#retryUndecryptable();
    if (!this.#opened && core.handshakeComplete && isStatelessReset(datagram, core.remoteIds.resetTokens())) {
      throw new QuicConnectionError(
        "stateless-reset",
        "the peer has lost the state of this connection (stateless reset)",
      );
    }
  }

  #packets(datagram: Buffer, from: number): void {
    const core = this.#core;
    const header = this.#header;
    let at = from;
    let firstStart = 0;
    let firstEnd = 0;
    while (at < datagram.length && !core.ended) {
      if (!header.read(datagram, at, core.localIdLength)) {
        core.drops.add(UNKNOWN_TYPE, "header_parse_error", datagram.length - at);
        return;
      }
      at = header.end;
      const { destinationStart, destinationEnd } = header;
      if (header.start === from) {
        firstStart = destinationStart;
        firstEnd = destinationEnd;
      } else if (datagram.compare(datagram, firstStart, firstEnd, destinationStart, destinationEnd) !== 0) {
        // Coalesced packets are for one connection (RFC 9000 § 12.2).
        this.#drop("unknown_connection_id");
        continue;
      }
      this.#packet(datagram);
    }
  }

  #packet(datagram: Buffer): void {
    const core = this.#core;
    const header = this.#header;
    if (header.type === PacketType.versionNegotiation) {
      this.#versionNegotiation(datagram);
      return;
    }
    if (!core.isLocalId(datagram, header.destinationStart, header.destinationEnd, header.type)) {
      this.#drop("unknown_connection_id");
      return;
    }
    if (header.type === PacketType.retry) {
      this.#retry(datagram);
      return;
    }
    const space = SPACE_OF[header.type];
    if (space === undefined || core.keys.isDiscarded(space)) {
      this.#drop(space === undefined ? "unexpected_packet" : "key_unavailable");
      return;
    }
    // 1-RTT packets say nothing before the peer has proved who it is (RFC 9001 § 5.7).
    if (!core.keys.canReceive(space) || (space === Space.application && !core.handshakeComplete)) {
      const kept = this.#undecryptable.keep(space, datagram.subarray(header.start, header.end));
      if (kept) core.packetsBuffered[header.type] = (core.packetsBuffered[header.type] ?? 0) + 1;
      else this.#drop("key_unavailable");
      return;
    }
    this.#protected(space, datagram);
  }

  #protected(space: PacketNumberSpace, datagram: Buffer): void {
    const core = this.#core;
    const header = this.#header;
    const received = core.received[space];
    const payload = core.keys.open(space, header, datagram, received.largest);
    if (payload === undefined) {
      this.#drop("payload_decrypt_error");
      return;
    }
    const { packetNumber } = core.keys;
    this.#opened = true;
    if (received.isDuplicate(packetNumber)) {
      this.#drop("duplicate");
      return;
    }
    if (space === Space.initial && !this.#acceptInitial(datagram)) return;
    core.packetsReceived++;
    core.liveness.onReceived(core.now);
    // It opened, which validates the address; its frames may confirm the handshake, and then ask for more than an unvalidated one may have.
    if (space === Space.handshake && core.role === "server" && !core.handshakeConfirmed) core.onHandshakePacket();
    const { destinationStart, destinationEnd } = header;
    this.#frames.begin(space, datagram, destinationStart, destinationEnd);
    const traits = readFrames(payload, space, core.role, this.#frames, core.framesReceived);
    // Only now: a packet is acknowledged once its frames have been taken in (RFC 9000 § 13.1).
    received.onPacket(packetNumber, (traits & PacketTrait.ackEliciting) !== 0, core.now);
    if (space === Space.application && (traits & PacketTrait.nonProbing) !== 0) core.paths.onNonProbing(packetNumber);
  }

  /** The peer's connection id is the source id of its first Initial (RFC 9000 § 7.2). */
  #acceptInitial(datagram: Buffer): boolean {
    const core = this.#core;
    const { sourceStart, sourceEnd, tokenStart, tokenEnd } = this.#header;
    if (core.role === "client" && tokenEnd > tokenStart) throw protocolViolation("a server's Initial has a token");
    if (core.role === "server" && datagram.length < MIN_DATAGRAM_SIZE) {
      this.#drop("unexpected_packet");
      return false;
    }
    const source = datagram.subarray(sourceStart, sourceEnd);
    if (core.peerInitialSource === undefined) {
      core.setPeerInitialSource(Buffer.from(source));
      return true;
    }
    if (core.peerInitialSource.equals(source)) return true;
    this.#drop("unexpected_source_connection_id");
    return false;
  }

  /** A server asks us to come again with a token: once, and only as its first word (RFC 9000 § 17.2.5.2). */
  #retry(datagram: Buffer): void {
    const core = this.#core;
    const header = this.#header;
    const source = datagram.subarray(header.sourceStart, header.sourceEnd);
    const token =
      core.role === "client" && core.peerInitialSource === undefined && core.retrySource === undefined
        ? openRetry(datagram, header, core.originalDestination)
        : undefined;
    if (token === undefined || source.equals(core.originalDestination) || source.length > MAX_CONNECTION_ID_LENGTH) {
      this.#drop("unexpected_packet");
      return;
    }
    if (token.length > MAX_RETRY_TOKEN) {
      throw new TransportError(
        TransportErrorCode.INTERNAL_ERROR,
        `a Retry's token has ${token.length} bytes: our first packets have room for ${MAX_RETRY_TOKEN}`,
      );
    }
    this.#opened = true;
    core.onRetry(Buffer.from(source), token);
  }

  /** Counts only as the very first answer, and from one that saw our first packet (RFC 9000 § 6.2). */
  #versionNegotiation(datagram: Buffer): void {
    const core = this.#core;
    const header = this.#header;
    const destination = datagram.subarray(header.destinationStart, header.destinationEnd);
    const source = datagram.subarray(header.sourceStart, header.sourceEnd);
    const first = core.role === "client" && core.peerInitialSource === undefined && core.retrySource === undefined;
    const ours = source.equals(core.originalDestination) && destination.equals(core.initialSource);
    if (!first || !ours || !refusesVersion1(datagram, header)) {
      this.#drop("unexpected_packet");
      return;
    }
    throw new QuicConnectionError("version-negotiation", "the peer does not speak version 1 of QUIC");
  }

  /** The packet at hand. */
  #drop(reason: DropReason): void {
    const { end, start, type } = this.#header;
    this.#core.drops.add(type, reason, end - start);
  }

  /** Packets that came before their keys. */
  #retryUndecryptable(): void {
    const core = this.#core;
    if (this.#undecryptable.size === 0) return;
    for (const space of SPACES) {
      const ready = core.keys.canReceive(space) && (space !== Space.application || core.handshakeComplete);
      if (!ready && !core.keys.isDiscarded(space)) continue;
      for (const packet of this.#undecryptable.take(space)) {
        if (core.ended) return;
        this.#packets(packet, 0);
      }
    }
  }
}
