/** Packets that were dropped unread, by their type and why. Cheap where there are none. */

export const DROP_REASONS = [
  "header_parse_error",
  "unknown_connection_id",
  "key_unavailable",
  "payload_decrypt_error",
  "duplicate",
  "unexpected_source_connection_id",
  "unexpected_packet",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** By `PacketType`; a header that can't be read has no type. */
const TYPE_NAMES = ["initial", "0RTT", "handshake", "retry", "1RTT", "version_negotiation", "unknown_packet_type"];
export const UNKNOWN_TYPE = 6;

export interface DroppedBytes {
  readonly packetType: string;
  readonly reason: DropReason;
  readonly bytes: number;
}

export class PacketDrops {
  packets = 0;
  readonly #bytes = new Map<number, number>();

  add(type: number, reason: DropReason, bytes: number): void {
    this.packets++;
    const key = type * DROP_REASONS.length + DROP_REASONS.indexOf(reason);
    this.#bytes.set(key, (this.#bytes.get(key) ?? 0) + bytes);
  }

  get bytes(): readonly DroppedBytes[] {
    return [...this.#bytes].map(([key, bytes]) => ({
      packetType: packetTypeName(Math.floor(key / DROP_REASONS.length)),
      reason: DROP_REASONS[key % DROP_REASONS.length] ?? "unexpected_packet",
      bytes,
    }));
  }
}

export function packetTypeName(type: number): string {
  return TYPE_NAMES[type] ?? "unknown_packet_type";
}
