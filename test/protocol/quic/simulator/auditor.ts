/**
 * An observer on the path that has the keys: opens every datagram of one end as it is sent, and holds it to the rules. It knows what
 * the other end's datagrams allowed, of those that arrived.
 */
import type { FrameHandler } from "../../../../src/protocol/quic/frame-reader.ts";
import { readFrames } from "../../../../src/protocol/quic/frame-reader.ts";
import type { AckFrame } from "../../../../src/protocol/quic/frames.ts";
import { HeaderReader, KEY_PHASE_BIT, PacketType } from "../../../../src/protocol/quic/header.ts";
import {
  deriveInitialKeys,
  deriveKeys,
  derivePacketKey,
  nextSecret,
} from "../../../../src/protocol/quic/key-schedule.ts";
import {
  decodePacketNumber,
  type PacketNumberSpace,
  readTruncatedPacketNumber,
  Space,
} from "../../../../src/protocol/quic/packet-number.ts";
import { type HeaderKey, type PacketKey, type SuiteName, SUITES } from "../../../../src/protocol/quic/protection.ts";
import type { TransportParameters } from "../../../../src/protocol/quic/transport-parameters.ts";

import type { Side } from "./scenario.ts";

export interface AuditorOptions {
  readonly side: Side;
  readonly suite: SuiteName;
  readonly originalDestination: Buffer;
  /** Of this end's write secrets, by level. */
  readonly secrets: ReadonlyMap<string, Buffer>;
  /** The length of the ids that this end sends to. */
  readonly idLength: number;
  readonly maxMtu: number;
  /** What the other end announced. */
  readonly peer: TransportParameters;
  readonly fail: (what: string) => never;
}

/** What one datagram tells the other end once it arrives. */
export interface Told {
  readonly numbers: [PacketNumberSpace, number][];
  /** Type of limit or stream id, and the limit. */
  readonly limits: [string, number][];
  handshake: boolean;
}

interface Keys {
  readonly header: HeaderKey;
  readonly packet: PacketKey;
}

/** By packet type. */
const SPACE_OF: { readonly [type: number]: PacketNumberSpace | undefined } = {
  [PacketType.initial]: Space.initial,
  [PacketType.handshake]: Space.handshake,
  [PacketType.oneRtt]: Space.application,
};

const keyOf = (space: PacketNumberSpace, number: number): number => 4 * number + space;

interface SentStream {
  end: number;
  finalSize: number | undefined;
  isReset: boolean;
}

export class Auditor implements FrameHandler {
  readonly #options: AuditorOptions;
  readonly #header = new HeaderReader();
  readonly #largest = [-1, -1, -1];
  readonly #arrived = new Set<number>();
  readonly #allowed = new Map<string, number>();
  readonly #streams = new Map<number, SentStream>();
  readonly #limits = new Map<string, number>();
  #sentData = 0;
  #sent = 0;
  #allowedBytes = 0;
  #isValidated: boolean;
  #last: Buffer | undefined;
  /** By space. */
  readonly #keys: (Keys | undefined)[] = [undefined, undefined, undefined];
  /** Of 1-RTT packets. */
  #secret: Buffer | undefined;
  #generation = 0;
  #space: PacketNumberSpace = Space.initial;
  #told: Told = { numbers: [], limits: [], handshake: false };
  /** The observer of the other direction. */
  peer: Auditor | undefined;
  packets = 0;

  constructor(options: AuditorOptions) {
    this.#options = options;
    this.#isValidated = options.side === "client";
  }

  #fail(what: string): never {
    return this.#options.fail(`${this.#options.side}: ${what}`);
  }

  /** Looks at a datagram; what it returns is to be given to `onArrived` of the same observer when it arrives unchanged. */
  onSent(datagram: Buffer): Told {
    const { side, idLength, maxMtu } = this.#options;
    this.#told = { numbers: [], limits: [], handshake: false };
    this.#sent += datagram.length;
    if (!this.#isValidated && this.#sent > 3 * this.#allowedBytes) this.#fail("amplifies more than three times");
    if (datagram.length > maxMtu) this.#fail(`a datagram of ${datagram.length} bytes`);
    // A CONNECTION_CLOSE may go out again as it is (RFC 9000 § 10.2.1).
    if (this.#last?.equals(datagram) === true) return this.#told;
    this.#last = datagram;
    const bytes = Buffer.from(datagram);
    let hasInitial = false;
    for (let at = 0; at < bytes.length; at = this.#header.end) {
      if (!this.#header.read(bytes, at, idLength)) this.#fail("a datagram with something that is no packet");
      hasInitial = hasInitial || this.#header.type === PacketType.initial;
      this.#packet(bytes);
    }
    if (hasInitial && side === "client" && datagram.length < 1200)
      this.#fail("a small datagram with an Initial packet");
    return this.#told;
  }

  /** So many bytes of it have come to the other end. What was damaged counts as well: some of its packets may be whole. */
  onArrived(told: Told, size: number): void {
    for (const [space, number] of told.numbers) this.#arrived.add(keyOf(space, number));
    const { peer } = this;
    if (peer === undefined) return;
    peer.#allowedBytes += size;
    for (const [key, limit] of told.limits) {
      if (limit > (peer.#allowed.get(key) ?? -1)) peer.#allowed.set(key, limit);
    }
    if (told.handshake) peer.#isValidated = true;
  }

  #deriveKeys(space: PacketNumberSpace): Keys {
    const { side, suite, originalDestination, secrets } = this.#options;
    if (space === Space.initial) return deriveInitialKeys(originalDestination)[side];
    const secret = secrets.get(space === Space.handshake ? "handshake" : "application");
    if (secret === undefined) return this.#fail(`a packet of space ${space} before its keys`);
    if (space === Space.application) this.#secret = secret;
    return deriveKeys(SUITES[suite], secret);
  }

  #packet(bytes: Buffer): void {
    const { start, payloadStart: numberStart, end } = this.#header;
    const space = SPACE_OF[this.#header.type] ?? this.#fail(`a packet of type ${this.#header.type}`);
    const keys = (this.#keys[space] ??= this.#deriveKeys(space));
    const largest = this.#largest[space] as number;
    const length = keys.header.unprotect(bytes, start, numberStart);
    const number = decodePacketNumber(largest, readTruncatedPacketNumber(bytes, numberStart, length), length);
    if (number <= largest) this.#fail(`packet number ${number} after ${largest}`);
    this.#largest[space] = number;
    let { packet } = keys;
    const phase = ((bytes[start] as number) & KEY_PHASE_BIT) / KEY_PHASE_BIT;
    if (space === Space.application && phase !== this.#generation % 2) packet = this.#updateKeys(keys.header);
    const payload = packet.open(number, bytes, start, numberStart + length, end);
    if (payload === undefined) return this.#fail(`packet ${number} of space ${space} does not open`);
    this.packets++;
    this.#space = space;
    this.#told.numbers.push([space, number]);
    if (space === Space.handshake) this.#told.handshake = true;
    readFrames(payload, space, this.#options.side === "client" ? "server" : "client", this, new Float64Array(64));
  }

  #updateKeys(header: HeaderKey): PacketKey {
    const suite = SUITES[this.#options.suite];
    this.#secret = nextSecret(suite, this.#secret as Buffer);
    const packet = derivePacketKey(suite, this.#secret);
    this.#keys[Space.application] = { header, packet };
    this.#generation++;
    return packet;
  }

  // --- Frames ---

  onAck(ack: AckFrame): void {
    const arrived = this.peer === undefined ? undefined : this.peer.#arrived;
    for (let i = 0; i < ack.count; i++) {
      for (const bound of [ack.ranges[2 * i], ack.ranges[2 * i + 1]]) {
        if (arrived?.has(keyOf(this.#space, bound as number)) === false)
          this.#fail(`an ACK of ${bound}, which never arrived`);
      }
    }
    // All of the newest range, of which a part is new.
    for (let n = ack.largest; n >= Math.max(ack.ranges[0] as number, ack.largest - 64); n--) {
      if (arrived?.has(keyOf(this.#space, n)) === false) this.#fail(`an ACK of ${n}, which never arrived`);
    }
  }

  #stream(id: number): SentStream {
    const known = this.#streams.get(id);
    if (known !== undefined) return known;
    const stream: SentStream = { end: 0, finalSize: undefined, isReset: false };
    this.#streams.set(id, stream);
    const opener: Side = id % 2 === 0 ? "client" : "server";
    const isBidirectional = (id & 2) === 0;
    if (opener !== this.#options.side) {
      if (!isBidirectional) this.#fail(`sends on stream ${id}, which is the other's alone`);
      return stream;
    }
    const { initialMaxStreamsBidi, initialMaxStreamsUni } = this.#options.peer;
    const key = isBidirectional ? "streams-bidi" : "streams-uni";
    const initial = isBidirectional ? initialMaxStreamsBidi : initialMaxStreamsUni;
    const allowed = Math.max(this.#allowed.get(key) ?? 0, initial);
    if (Math.floor(id / 4) >= allowed) this.#fail(`stream ${id} beyond the limit of ${allowed}`);
    return stream;
  }

  #initialStreamData(id: number): number {
    const peer = this.#options.peer;
    if ((id & 2) !== 0) return peer.initialMaxStreamDataUni;
    const isOurs = (id % 2 === 0) === (this.#options.side === "client");
    return isOurs ? peer.initialMaxStreamDataBidiRemote : peer.initialMaxStreamDataBidiLocal;
  }

  #extend(id: number, stream: SentStream, end: number): void {
    if (end <= stream.end) return;
    if (stream.finalSize !== undefined && end > stream.finalSize) this.#fail(`stream ${id} goes on after its end`);
    this.#sentData += end - stream.end;
    stream.end = end;
    const limit = Math.max(this.#allowed.get(`stream-${id}`) ?? 0, this.#initialStreamData(id));
    if (end > limit) this.#fail(`stream ${id} has ${end} bytes where ${limit} are allowed`);
    const all = Math.max(this.#allowed.get("data") ?? 0, this.#options.peer.initialMaxData);
    if (this.#sentData > all) this.#fail(`${this.#sentData} bytes on all streams where ${all} are allowed`);
  }

  #finish(id: number, stream: SentStream, size: number): void {
    if (stream.finalSize !== undefined && stream.finalSize !== size) this.#fail(`stream ${id} has two final sizes`);
    if (size < stream.end) this.#fail(`stream ${id} ends before what was sent of it`);
    stream.finalSize = size;
  }

  onStream(id: number, offset: number, bytes: Buffer, fin: boolean): void {
    const stream = this.#stream(id);
    if (stream.isReset) this.#fail(`data on stream ${id} after RESET_STREAM`);
    this.#extend(id, stream, offset + bytes.length);
    if (fin) this.#finish(id, stream, offset + bytes.length);
  }

  onResetStream(id: number, _errorCode: number, finalSize: number): void {
    const stream = this.#stream(id);
    this.#finish(id, stream, finalSize);
    this.#extend(id, stream, finalSize);
    stream.isReset = true;
  }

  #limit(key: string, limit: number): void {
    if (limit < (this.#limits.get(key) ?? -1)) this.#fail(`takes back a limit: ${key} is ${limit}`);
    this.#limits.set(key, limit);
    this.#told.limits.push([key, limit]);
  }

  onMaxData(limit: number): void {
    this.#limit("data", limit);
  }
  onMaxStreamData(id: number, limit: number): void {
    this.#limit(`stream-${id}`, limit);
  }
  onMaxStreams(bidirectional: boolean, limit: number): void {
    this.#limit(bidirectional ? "streams-bidi" : "streams-uni", limit);
  }
  onPing(): void {}
  onCrypto(): void {}
  onStopSending(): void {}
  onDataBlocked(): void {}
  onStreamDataBlocked(): void {}
  onStreamsBlocked(): void {}
  onNewConnectionId(): void {}
  onRetireConnectionId(): void {}
  onPathChallenge(): void {}
  onPathResponse(): void {}
  onConnectionClose(): void {}
  onHandshakeDone(): void {}
  onNewToken(): void {}
  onDatagram(): void {}
}
