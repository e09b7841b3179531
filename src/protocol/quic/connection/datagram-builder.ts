/**
 * Puts up to three packets, one a space, into one datagram (RFC 9000 § 12.2): headers and frames first, then the padding, then the
 * sealing of all. Datagrams are made where they stay, one behind the other in a block; the headers of a burst's 1-RTT packets are
 * protected together at its end.
 */
import { FrameWriter } from "../frame-writer.ts";
import {
  type HeaderIds,
  longHeaderSize,
  PacketType,
  writeLongHeader,
  writeLongLength,
  writeShortHeader,
} from "../header.ts";
import { HeaderBatch } from "../header-batch.ts";
import { DATAGRAM_BLOCK_SIZE, MAX_BURST, MAX_DATAGRAM_SIZE } from "../limits.ts";
import { packetNumberLength, type PacketNumberSpace, Space, writePacketNumber } from "../packet-number.ts";
import { TAG_LENGTH } from "../protection.ts";
import type { Keyring } from "./keyring.ts";

/** Header protection samples from 4 bytes behind the packet number's beginning: number and payload must be that long (RFC 9001 § 5.4.2). */
const MIN_NUMBER_AND_PAYLOAD = 4;

/** A packet of the datagram; reused. */
export class BuiltPacket {
  space: PacketNumberSpace = Space.initial;
  packetNumber = 0;
  ackEliciting = false;
  /** It has PADDING, and so counts as in flight (RFC 9002 § 2). */
  padded = false;
  start = 0;
  numberStart = 0;
  numberLength = 0;
  payloadEnd = 0;
  /** In bytes, once the datagram is finished. */
  size = 0;
}

const NO_TOKEN = Buffer.alloc(0);

/**
 * Where the next datagram of any connection is made. What was made stays as it is, as the system may still hold what did not leave at
 * once, unless the last burst is recycled.
 */
let block = Buffer.alloc(0);
let blockUsed = 0;

/** The last burst of all, and where it began. */
let lastBurst = 1;
let burstBlock = block;
let burstStart = 0;

export class DatagramBuilder {
  readonly writer = new FrameWriter(block);
  readonly #keys: Keyring;
  readonly #unprotected = new HeaderBatch(MAX_BURST);
  #buffer = block;
  /** Our last one; 0 = it is done with. */
  #burst = 0;
  readonly #packets: readonly [BuiltPacket, BuiltPacket, BuiltPacket] = [
    new BuiltPacket(),
    new BuiltPacket(),
    new BuiltPacket(),
  ];
  #count = 0;
  /** Where the datagram begins, where it must end, and where its next packet begins. */
  #start = 0;
  #limit = 0;
  #at = 0;

  constructor(keys: Keyring) {
    this.#keys = keys;
  }

  /** Forgets what `protect` was not called for. */
  beginBurst(): void {
    this.#unprotected.clear();
    this.#burst = ++lastBurst;
    burstBlock = block;
    burstStart = blockUsed;
  }

  /** Nobody holds a datagram of the last burst any more: the next one is made in its place. */
  recycle(): void {
    // Another connection's stands there by now.
    if (this.#burst !== lastBurst) return;
    this.#burst = 0;
    blockUsed = block === burstBlock ? burstStart : 0;
  }

  begin(maxSize: number): void {
    const size = Math.min(maxSize, MAX_DATAGRAM_SIZE);
    if (blockUsed + size > block.length) {
      block = Buffer.allocUnsafeSlow(DATAGRAM_BLOCK_SIZE);
      blockUsed = 0;
    }
    this.#buffer = block;
    this.writer.buffer = block;
    this.#start = blockUsed;
    this.#limit = blockUsed + size;
    this.#count = 0;
    this.#at = blockUsed;
  }

  get count(): number {
    return this.#count;
  }

  /** One of the packets, in the order of their spaces. */
  packet(index: number): BuiltPacket {
    return this.#packets[index] as BuiltPacket;
  }

  /**
   * Begins a packet: `writer` stands where its frames go. False where there is no room for one with `minPayload` bytes of them.
   * `token` is for Initial packets.
   */
  open(
    space: PacketNumberSpace,
    ids: HeaderIds,
    token: Buffer | undefined,
    packetNumber: number,
    largestAcked: number,
    minPayload: number,
  ): boolean {
    const numberLength = packetNumberLength(packetNumber, largestAcked);
    const type = space === Space.initial ? PacketType.initial : PacketType.handshake;
    const headerSize =
      space === Space.application
        ? 1 + ids.destination.length + numberLength
        : longHeaderSize(type, ids, token ?? NO_TOKEN, numberLength);
    if (this.#at + headerSize + minPayload + TAG_LENGTH > this.#limit) return false;
    const start = this.#at;
    const packet = this.packet(this.#count);
    packet.numberStart =
      space === Space.application
        ? writeShortHeader(this.#buffer, start, ids.destination, this.#keys.phases?.phase ?? 0, numberLength)
        : writeLongHeader(this.#buffer, start, type, ids, token, numberLength);
    writePacketNumber(this.#buffer, packet.numberStart, packetNumber, numberLength);
    packet.space = space;
    packet.packetNumber = packetNumber;
    packet.start = start;
    packet.numberLength = numberLength;
    packet.padded = false;
    this.writer.begin(packet.numberStart + numberLength, this.#limit - TAG_LENGTH);
    return true;
  }

  /** Keeps the packet, if it has frames. */
  close(): boolean {
    const { writer } = this;
    const packet = this.packet(this.#count);
    const payloadStart = packet.numberStart + packet.numberLength;
    if (writer.at === payloadStart) return false;
    const missing = MIN_NUMBER_AND_PAYLOAD - (writer.at - packet.numberStart);
    if (missing > 0) writer.padding(missing);
    packet.ackEliciting = writer.ackEliciting;
    packet.payloadEnd = writer.at;
    this.#at = writer.at + TAG_LENGTH;
    this.#count++;
    return true;
  }

  /** Fills the datagram up to `padTo` bytes, seals its packets, and returns it: it may go out after `protect`. */
  finish(padTo: number): Buffer {
    const buffer = this.#buffer;
    const missing = Math.min(this.#start + padTo, this.#limit) - this.#at;
    if (missing > 0) {
      const last = this.packet(this.#count - 1);
      buffer.fill(0, last.payloadEnd, last.payloadEnd + missing);
      last.payloadEnd += missing;
      last.padded = true;
      this.#at += missing;
    }
    for (let i = 0; i < this.#count; i++) this.#seal(this.packet(i));
    blockUsed = this.#at;
    return buffer.subarray(this.#start, this.#at);
  }

  /** Protects the headers of the 1-RTT packets of all datagrams that were finished. */
  protect(): void {
    if (this.#unprotected.size > 0) this.#unprotected.protect(this.#keys.sendHeader(Space.application));
  }

  #seal(packet: BuiltPacket): void {
    const { space, packetNumber, start, numberStart, numberLength, payloadEnd } = packet;
    const buffer = this.#buffer;
    if (space !== Space.application) writeLongLength(buffer, numberStart, payloadEnd + TAG_LENGTH);
    const end = this.#keys.seal(space, packetNumber, buffer, start, numberStart + numberLength, payloadEnd);
    packet.size = end - start;
    if (space === Space.application) this.#unprotected.add(buffer, start, numberStart, numberLength);
    else this.#keys.sendHeader(space).protect(buffer, start, numberStart, numberLength);
  }
}
