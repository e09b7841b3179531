/** Masking (RFC 6455 § 5.3): each byte XOR the key's byte at its index modulo four. */

/** Below this, finding the words costs more than it saves. */
const SHORT = 64;

/** XORs `bytes[from..to)` in place; `phase` is how many bytes of the payload came before. */
export function unmask(bytes: Uint8Array, from: number, to: number, key: Uint8Array, phase: number): void {
  let at = from;
  const shift = phase - from;
  if (to - from >= SHORT) {
    while (((bytes.byteOffset + at) & 3) !== 0) {
      bytes[at] = (bytes[at] ?? 0) ^ (key[(at + shift) & 3] ?? 0);
      at++;
    }
    const count = (to - at) >>> 2;
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, count);
    const word = rotated(key, at + shift);
    for (let i = 0; i < count; i++) words[i] = (words[i] ?? 0) ^ word;
    at += count * 4;
  }
  for (; at < to; at++) bytes[at] = (bytes[at] ?? 0) ^ (key[(at + shift) & 3] ?? 0);
}

/** The key from its byte `phase` on, in the machine's order of bytes. */
function rotated(key: Uint8Array, phase: number): number {
  const bytes = Uint8Array.from([0, 1, 2, 3], (i) => key[(phase + i) & 3] ?? 0);
  return new Int32Array(bytes.buffer)[0] ?? 0;
}
