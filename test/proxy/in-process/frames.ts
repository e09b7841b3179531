/** Short WebSocket frames (RFC 6455 § 5.2), written by hand: FIN, opcode, a length below 126. */

export const TEXT = 0x1;
export const CLOSE = 0x8;

/** A frame as a client sends it, masked. */
export function clientFrame(opcode: number, payload: Buffer): Buffer {
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  const masked = payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0));
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
}

/** The complete frames that a server has sent. */
export function serverFrames(bytes: Buffer): { opcode: number; payload: string }[] {
  const frames = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const length = bytes.readUInt8(at + 1);
    if (length > 125 || at + 2 + length > bytes.length) break;
    frames.push({
      opcode: bytes.readUInt8(at) & 0xf,
      payload: bytes.toString("latin1", at + 2, at + 2 + length),
    });
    at += 2 + length;
  }
  return frames;
}
