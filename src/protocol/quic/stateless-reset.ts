/**
 * Stateless resets (RFC 9000 § 10.3): what an endpoint without state answers, so that its peer learns that the connection is gone.
 *
 *   01uuuuuu | unpredictable, 4 bytes at least | stateless reset token 128
 *
 * To all others it looks like a 1-RTT packet.
 */
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import { STATELESS_RESET_TOKEN_LENGTH } from "./limits.ts";

/** Smallest reset that looks like a packet that could be valid (§ 10.3). */
export const MIN_STATELESS_RESET = 21;
/** A 1-RTT packet of ordinary length (with an id of 20 bytes); nobody needs a longer one. */
const LONGEST_RESET = 42;

/** The token of one of our connection ids: from a key that outlives the connection's state. */
export function statelessResetToken(key: KeyObject, connectionId: Buffer): Buffer {
  return createHmac("sha256", key).update(connectionId).digest().subarray(0, STATELESS_RESET_TOKEN_LENGTH);
}

/** A reset in answer to a packet of `received` bytes: always shorter than it, so that two endpoints don't answer each other for ever (§ 10.3.3). */
export function writeStatelessReset(
  token: Buffer,
  received: number,
  random: (length: number) => Buffer,
): Buffer | undefined {
  const length = Math.min(received - 1, LONGEST_RESET);
  if (length < MIN_STATELESS_RESET) return undefined;
  const packet = Buffer.from(random(length));
  packet[0] = ((packet[0] as number) & 0x3f) | 0x40;
  token.copy(packet, length - STATELESS_RESET_TOKEN_LENGTH);
  return packet;
}

/** Whether a datagram that opened under no key ends with one of the tokens. Compares all of them in constant time (§ 10.3.1). */
export function isStatelessReset(datagram: Buffer, tokens: Iterable<Buffer>): boolean {
  if (datagram.length < MIN_STATELESS_RESET) return false;
  const end = datagram.subarray(datagram.length - STATELESS_RESET_TOKEN_LENGTH);
  let found = false;
  for (const token of tokens) found = timingSafeEqual(end, token) || found;
  return found;
}
