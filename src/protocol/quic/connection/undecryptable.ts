/** Packets that came before the keys that open them: few, as anyone can send them. */
import { MAX_UDP_PAYLOAD_SIZE, MAX_UNDECRYPTABLE } from "../limits.ts";
import type { PacketNumberSpace } from "../packet-number.ts";

interface Kept {
  readonly space: PacketNumberSpace;
  readonly bytes: Buffer;
}

export class Undecryptable {
  #kept: Kept[] = [];

  /** Copies the packet. False when there are enough, or it is larger than we announced. */
  keep(space: PacketNumberSpace, packet: Buffer): boolean {
    if (this.#kept.length >= MAX_UNDECRYPTABLE || packet.length > MAX_UDP_PAYLOAD_SIZE) return false;
    this.#kept.push({ space, bytes: Buffer.from(packet) });
    return true;
  }

  /** Those of a space, which can be opened now. */
  take(space: PacketNumberSpace): Buffer[] {
    if (this.#kept.length === 0) return [];
    const taken = this.#kept.filter((one) => one.space === space).map((one) => one.bytes);
    this.#kept = this.#kept.filter((one) => one.space !== space);
    return taken;
  }

  get size(): number {
    return this.#kept.length;
  }
}
