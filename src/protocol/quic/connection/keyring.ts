/** The keys of a connection: a pair for each packet number space, from when TLS gives them to when they are discarded (RFC 9001 § 4.9). */
import type { Role } from "../frames.ts";
import { type HeaderReader, KEY_PHASE_BIT, LONG_RESERVED_BITS, SHORT_RESERVED_BITS } from "../header.ts";
import { KeyPhases } from "../key-phases.ts";
import { deriveInitialKeys, deriveKeys, type DirectionKeys } from "../key-schedule.ts";
import { protocolViolation } from "../errors.ts";
import { decodePacketNumber, type PacketNumberSpace, readTruncatedPacketNumber, Space } from "../packet-number.ts";
import { type HeaderKey, type SuiteName, type SuiteParameters, SUITES } from "../protection.ts";

interface LevelKeys {
  send: DirectionKeys | undefined;
  receive: DirectionKeys | undefined;
  discarded: boolean;
}

const noKeys = (): LevelKeys => ({ send: undefined, receive: undefined, discarded: false });

export class Keyring {
  readonly #levels: readonly [LevelKeys, LevelKeys] = [noKeys(), noKeys()];
  #phases: KeyPhases | undefined;
  /** Of the last packet that `open` opened. */
  packetNumber = 0;

  /** The keys of 1-RTT packets; undefined until TLS gives the first of them. */
  get phases(): KeyPhases | undefined {
    return this.#phases;
  }

  /** Again after a Retry, which changes the id. */
  installInitial(role: Role, destinationId: Buffer): void {
    const { client, server } = deriveInitialKeys(destinationId);
    const level = this.#levels[Space.initial];
    level.send = role === "client" ? client : server;
    level.receive = role === "client" ? server : client;
  }

  install(space: 1 | 2, direction: "read" | "write", suiteName: SuiteName, secret: Buffer): void {
    const suite: SuiteParameters = SUITES[suiteName];
    if (space === Space.application) {
      this.#phases ??= new KeyPhases(suite);
      if (direction === "write") this.#phases.installSend(secret);
      else this.#phases.installReceive(secret);
      return;
    }
    const level = this.#levels[space];
    if (level.discarded) return;
    if (direction === "write") level.send = deriveKeys(suite, secret);
    else level.receive = deriveKeys(suite, secret);
  }

  discard(space: 0 | 1): void {
    const level = this.#levels[space];
    level.send = undefined;
    level.receive = undefined;
    level.discarded = true;
  }

  isDiscarded(space: PacketNumberSpace): boolean {
    return space !== Space.application && this.#levels[space].discarded;
  }

  canSend(space: PacketNumberSpace): boolean {
    return space === Space.application ? this.#phases?.canSend === true : this.#levels[space].send !== undefined;
  }

  canReceive(space: PacketNumberSpace): boolean {
    if (space === Space.application) return this.#phases?.receiveHeader !== undefined;
    return this.#levels[space].receive !== undefined;
  }

  /** What protects the headers of a space; there must be keys. */
  sendHeader(space: PacketNumberSpace): HeaderKey {
    const key = space === Space.application ? this.#phases?.sendHeader : this.#levels[space].send?.header;
    if (key === undefined) throw new Error("no keys for the headers of this space");
    return key;
  }

  /** Seals a packet in place, but for its header; there must be keys, and room for the tag. Returns its end. */
  seal(
    space: PacketNumberSpace,
    packetNumber: number,
    bytes: Buffer,
    start: number,
    payloadStart: number,
    payloadEnd: number,
  ): number {
    const keys = space === Space.application ? this.#phases : this.#levels[space].send?.packet;
    if (keys === undefined) throw new Error("no keys for packets of this space");
    return keys.seal(packetNumber, bytes, start, payloadStart, payloadEnd);
  }

  /**
   * The payload of the packet that `header` has read, and its number in `packetNumber`; undefined when it does not open. `largest`
   * is the largest number received in that space, -1 at first. Unprotects the header in place. There must be keys.
   */
  open(space: PacketNumberSpace, header: HeaderReader, bytes: Buffer, largest: number): Buffer | undefined {
    const { start, payloadStart: numberStart, end } = header;
    const phases = this.#phases;
    const level = space === Space.application ? undefined : this.#levels[space].receive;
    const headerKey = space === Space.application ? phases?.receiveHeader : level?.header;
    if (headerKey === undefined) return undefined;
    const numberLength = headerKey.unprotect(bytes, start, numberStart);
    const payloadStart = numberStart + numberLength;
    const number = decodePacketNumber(
      largest,
      readTruncatedPacketNumber(bytes, numberStart, numberLength),
      numberLength,
    );
    const first = bytes[start] as number;
    const payload =
      level === undefined
        ? phases?.open(number, (first & KEY_PHASE_BIT) === 0 ? 0 : 1, bytes, start, payloadStart, end)
        : level.packet.open(number, bytes, start, payloadStart, end);
    if (payload === undefined) return undefined;
    this.packetNumber = number;
    // Only now are they known not to be noise (RFC 9000 § 17.2).
    if ((first & (level === undefined ? SHORT_RESERVED_BITS : LONG_RESERVED_BITS)) !== 0) {
      throw protocolViolation("the reserved bits of a header are set");
    }
    return payload;
  }
}
