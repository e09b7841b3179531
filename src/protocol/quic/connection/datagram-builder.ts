/**
 * Puts up to three packets, one a space, into one datagram (RFC 9000 § 12.2): headers and frames first, then the padding, then the
 * sealing of all. Everything is made in one buffer, and only the finished datagram is copied out of it.
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
import { MAX_DATAGRAM_SIZE } from "../limits.ts";
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

export class DatagramBuilder {
  readonly writer: FrameWriter;
  readonly #keys: Keyring;
  readonly #buffer = Buffer.allocUnsafeSlow(MAX_DATAGRAM_SIZE);
  readonly #packets: readonly [BuiltPacket, BuiltPacket, BuiltPacket] = [
    new BuiltPacket(),
    new BuiltPacket(),
    new BuiltPacket(),
  ];
  #count = 0;
  #maxSize = 0;
  /** Where the next packet begins. */
  #at = 0;

  constructor(keys: Keyring) {
    this.#keys = keys;
    this.writer = new FrameWriter(this.#buffer);
  }

  begin(maxSize: number): void {
    this.#maxSize = Math.min(maxSize, MAX_DATAGRAM_SIZE);
    this.#count = 0;
    this.#at = 0;
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
    if (this.#at + headerSize + minPayload + TAG_LENGTH > this.#maxSize) return false;
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
    this.writer.begin(packet.numberStart + numberLength, this.#maxSize - TAG_LENGTH);
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

  /** Fills the datagram up to `padTo` bytes, seals its packets, and returns a copy of it. */
  finish(padTo: number): Buffer {
    const missing = Math.min(padTo, this.#maxSize) - this.#at;
    if (missing > 0) {
      const last = this.packet(this.#count - 1);
      this.#buffer.fill(0, last.payloadEnd, last.payloadEnd + missing);
      last.payloadEnd += missing;
      last.padded = true;
      this.#at += missing;
    }
    for (let i = 0; i < this.#count; i++) {
      const { space, packetNumber, start, numberStart, numberLength, payloadEnd } = this.packet(i);
      if (space !== Space.application) writeLongLength(this.#buffer, numberStart, payloadEnd + TAG_LENGTH);
      const end = this.#keys.seal(space, packetNumber, this.#buffer, start, numberStart, numberLength, payloadEnd);
      this.packet(i).size = end - start;
    }
    const datagram = Buffer.allocUnsafe(this.#at);
    this.#buffer.copy(datagram, 0, 0, this.#at);
    return datagram;
  }
}
