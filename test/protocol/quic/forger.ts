/** Speaks in the name of one end of a pair, with its keys: for what no honest peer sends. */
import type { QuicConnection } from "../../../src/protocol/quic/connection.ts";
import { FrameWriter } from "../../../src/protocol/quic/frame-writer.ts";
import {
  longHeaderSize,
  PacketType,
  writeLongHeader,
  writeLongLength,
  writeShortHeader,
} from "../../../src/protocol/quic/header.ts";
import {
  deriveHeaderKey,
  deriveInitialKeys,
  derivePacketKey,
  nextSecret,
} from "../../../src/protocol/quic/key-schedule.ts";
import { type PacketNumberSpace, Space, writePacketNumber } from "../../../src/protocol/quic/packet-number.ts";
import { type SuiteName, SUITES, TAG_LENGTH } from "../../../src/protocol/quic/protection.ts";
import type { Pair } from "./pair.ts";

const NUMBER_LENGTH = 4;
const NO_TOKEN = Buffer.alloc(0);

export type Frames = Buffer | ((writer: FrameWriter) => void);

export class Forger {
  readonly #pair: Pair;
  readonly #as: "client" | "server";
  readonly #suite: SuiteName;
  /** Key updates of 1-RTT packets. */
  #generation = 0;
  /** Above what the real end has used. */
  #next = 1_000;

  constructor(pair: Pair, as: "client" | "server", suite: SuiteName = "TLS_AES_128_GCM_SHA256") {
    this.#pair = pair;
    this.#as = as;
    this.#suite = suite;
  }

  get victim(): QuicConnection {
    return this.#as === "client" ? this.#pair.server : this.#pair.client;
  }

  /** 1-RTT packets are sealed by the next keys from now on, whatever the other end thinks of it. */
  advance(): void {
    this.#generation++;
  }

  #secret(level: string): Buffer {
    const secret = this.#pair.secrets[this.#as].get(level);
    if (secret === undefined) throw new Error("the pair has no keys for this space yet");
    return secret;
  }

  #payload(frames: Frames): Buffer {
    if (Buffer.isBuffer(frames)) return frames;
    const writer = new FrameWriter(Buffer.alloc(9000));
    writer.begin(0, 9000);
    frames(writer);
    return writer.buffer.subarray(0, writer.at);
  }

  /** A sealed datagram with these frames in one packet; `reserved` are bits that should not be set. */
  datagram(space: PacketNumberSpace, frames: Frames, packetNumber = this.#next++, reserved = 0): Buffer {
    const { serverId, clientId, originalDestination } = this.#pair;
    const isClient = this.#as === "client";
    const ids = isClient ? { destination: serverId, source: clientId } : { destination: clientId, source: serverId };
    const payload = this.#payload(frames);
    const type = space === Space.initial ? PacketType.initial : PacketType.handshake;
    const least = space === Space.initial ? 1200 - TAG_LENGTH - longHeaderSize(type, ids, NO_TOKEN, NUMBER_LENGTH) : 1;
    const filled = Buffer.concat([payload, Buffer.alloc(Math.max(0, least - payload.length))]);
    const bytes = Buffer.alloc(filled.length + 100);
    const suite = SUITES[this.#suite];
    let keys: ReturnType<typeof deriveInitialKeys>["client"];
    let numberStart: number;
    if (space === Space.application) {
      const first = this.#secret("application");
      let secret = first;
      for (let n = 0; n < this.#generation; n++) secret = nextSecret(suite, secret);
      keys = { packet: derivePacketKey(suite, secret), header: deriveHeaderKey(suite, first) };
      numberStart = writeShortHeader(bytes, 0, ids.destination, this.#generation & 1, NUMBER_LENGTH);
    } else {
      const secret = space === Space.initial ? undefined : this.#secret("handshake");
      const initial = deriveInitialKeys(originalDestination);
      keys =
        secret === undefined
          ? initial[this.#as]
          : { packet: derivePacketKey(suite, secret), header: deriveHeaderKey(suite, secret) };
      numberStart = writeLongHeader(bytes, 0, type, ids, undefined, NUMBER_LENGTH);
      writeLongLength(bytes, numberStart, numberStart + NUMBER_LENGTH + filled.length + TAG_LENGTH);
    }
    bytes[0] = (bytes[0] as number) | reserved;
    writePacketNumber(bytes, numberStart, packetNumber, NUMBER_LENGTH);
    const start = numberStart + NUMBER_LENGTH;
    filled.copy(bytes, start);
    const end = keys.packet.seal(packetNumber, bytes, 0, start, start + filled.length);
    keys.header.protect(bytes, 0, numberStart, NUMBER_LENGTH);
    return bytes.subarray(0, end);
  }

  /** Hands it to the other end. */
  send(space: PacketNumberSpace, frames: Frames, packetNumber?: number, from?: string): void {
    this.victim.receive(this.datagram(space, frames, packetNumber), this.#pair.now, from);
  }
}
