/** Retry packets (RFC 9000 § 17.2.5, RFC 9001 § 5.8); their layout stands in header.ts. */
import { createCipheriv, timingSafeEqual } from "node:crypto";
import { type HeaderIds, type HeaderReader, QUIC_VERSION_1, writeLongIds } from "./header.ts";
import { TAG_LENGTH } from "./protection.ts";

/** RFC 9001 § 5.8: public, of version 1. */
const KEY = Buffer.from("be0c690b9f66575a1d766b54e368c84e", "hex");
const NONCE = Buffer.from("461599d35d632bf2239825bb", "hex");
/** The unused bits may be anything (RFC 9000 § 17.2.5). */
const RETRY_FIRST_BYTE = 0xff;

function integrityTag(originalDestinationId: Buffer, packet: Buffer): Buffer {
  const cipher = createCipheriv("aes-128-gcm", KEY, NONCE, { authTagLength: TAG_LENGTH });
  cipher.setAAD(Buffer.concat([Buffer.of(originalDestinationId.length), originalDestinationId, packet]));
  cipher.final();
  return cipher.getAuthTag();
}

/** `originalDestinationId` is that of the client's first Initial. */
export function writeRetry(ids: HeaderIds, token: Buffer, originalDestinationId: Buffer): Buffer {
  const length = 7 + ids.destination.length + ids.source.length + token.length;
  const packet = Buffer.alloc(length + TAG_LENGTH);
  token.copy(packet, writeLongIds(packet, 0, RETRY_FIRST_BYTE, QUIC_VERSION_1, ids));
  integrityTag(originalDestinationId, packet.subarray(0, length)).copy(packet, length);
  return packet;
}

/** The token of a Retry that `header` has read; undefined when its integrity tag is wrong or it has no token. */
export function openRetry(datagram: Buffer, header: HeaderReader, originalDestinationId: Buffer): Buffer | undefined {
  const tagStart = datagram.length - TAG_LENGTH;
  if (tagStart <= header.payloadStart) return undefined;
  const tag = integrityTag(originalDestinationId, datagram.subarray(header.start, tagStart));
  if (!timingSafeEqual(tag, datagram.subarray(tagStart))) return undefined;
  return Buffer.from(datagram.subarray(header.payloadStart, tagStart));
}
