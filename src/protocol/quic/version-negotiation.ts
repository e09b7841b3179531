/** Version Negotiation packets (RFC 9000 § 17.2.1, RFC 8999 § 6); their layout stands in header.ts. */
import { type HeaderIds, type HeaderReader, QUIC_VERSION_1, writeLongIds } from "./header.ts";

/** What a server answers to a version that it does not speak. `random` is one byte and four: greased versions keep the field open (§ 6.3). */
export function writeVersionNegotiation(ids: HeaderIds, random: (length: number) => Buffer): Buffer {
  const noise = random(5);
  const packet = Buffer.alloc(7 + ids.destination.length + ids.source.length + 8);
  const at = writeLongIds(packet, 0, 0x80 | (noise[0] as number), 0, ids);
  packet.writeUInt32BE(((noise.readUInt32BE(1) & 0xf0f0_f0f0) | 0x0a0a_0a0a) >>> 0, at);
  packet.writeUInt32BE(QUIC_VERSION_1, at + 4);
  return packet;
}

/** Whether the packet that `header` has read is a well-formed list without version 1: one with it is no honest answer (§ 6.2). */
export function refusesVersion1(datagram: Buffer, header: HeaderReader): boolean {
  const length = header.end - header.payloadStart;
  if (length === 0 || length % 4 !== 0) return false;
  for (let at = header.payloadStart; at < header.end; at += 4) {
    if (datagram.readUInt32BE(at) === QUIC_VERSION_1) return false;
  }
  return true;
}
