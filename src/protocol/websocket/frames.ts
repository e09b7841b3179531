/**
 * A WebSocket frame (RFC 6455 § 5.2). Only clients mask; a server's frame goes without a key.
 *
 *    bit  0     1..3   4..7     8      9..15
 *       +-----+------+--------+------+-----------+-----------------+------------------+----------
 *       | FIN | RSV  | opcode | MASK | length    | extended length | masking key      | payload
 *       |     | 000  |        |      | 126: 16 b | 16 or 64 bits,  | 32 bits, where   |
 *       |     |      |        |      | 127: 64 b | big-endian      | MASK is set      |
 *       +-----+------+--------+------+-----------+-----------------+------------------+----------
 */
import { createHash } from "node:crypto";
import { MAX_CONTROL_PAYLOAD } from "./limits.ts";

export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export const FIN = 0x80;

const HANDSHAKE_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 § 4.2.2). */
export function acceptKey(key: string): string {
  return createHash("sha1")
    .update(key + HANDSHAKE_GUID, "latin1")
    .digest("base64");
}

/** Writes the header of a whole, unmasked message at the front of `target`; returns its length. */
export function writeFrameHeader(target: Buffer, opcode: number, length: number): number {
  target[0] = FIN | opcode;
  if (length < 126) {
    target[1] = length;
    return 2;
  }
  if (length <= 0xffff) {
    target[1] = 126;
    target.writeUInt16BE(length, 2);
    return 4;
  }
  target[1] = 127;
  target.writeBigUInt64BE(BigInt(length), 2);
  return 10;
}

/** `payload` is at most MAX_CONTROL_PAYLOAD long. */
export function controlFrame(opcode: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(2 + payload.length);
  writeFrameHeader(frame, opcode, payload.length);
  frame.set(payload, 2);
  return frame;
}

/** Without a code, as the answer to a Close without one. A reason in ASCII is cut to what fits. */
export function closeFrame(code: number | undefined, reason = ""): Buffer {
  if (code === undefined) return controlFrame(Opcode.close, Buffer.alloc(0));
  const text = Buffer.from(reason, "ascii").subarray(0, MAX_CONTROL_PAYLOAD - 2);
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code);
  payload.set(text, 2);
  return controlFrame(Opcode.close, payload);
}

/** Codes that a Close frame may carry (RFC 6455 § 7.4, and those that IANA has registered since). */
export function isSendableCode(code: number): boolean {
  if (code >= 3000) return code <= 4999;
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
}
