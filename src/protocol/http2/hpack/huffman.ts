/**
 * The Huffman code of RFC 7541 § 5.2 and Appendix B. It is canonical: codes of one length follow each other in symbol order, so the
 * lengths alone define it. Decoding walks a table of 256 states × 16 nibbles; no code is shorter than 5 bits, so a nibble
 * completes one symbol at most.
 */
import { HpackError } from "./errors.ts";

/** Code lengths in bits of the symbols 0…255, then EOS. */
// biome-ignore format: a table
const CODE_LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const EOS = 256;

const CODES = new Uint32Array(257);
{
  const symbols = CODE_LENGTHS.map((length, symbol) => ({ length, symbol })).sort(
    (a, b) => a.length - b.length || a.symbol - b.symbol,
  );
  let code = 0;
  let previous = 0;
  for (const { length, symbol } of symbols) {
    code <<= length - previous;
    previous = length;
    CODES[symbol] = code++;
  }
}

/** An entry of the decoding table: next state in the low 8 bits, the symbol above it, then the flags. */
const EMITS = 1 << 16;
const FAILS = 1 << 17;

interface DecodingTable {
  readonly transitions: Int32Array;
  /** 1 for a state in which a string may end: fewer than 8 bits, all ones, since the last symbol (RFC 7541 § 5.2). */
  readonly accepting: Uint8Array;
}

function buildTable(): DecodingTable {
  // Internal nodes of the code tree; a child >= 0 is a node, < 0 is the symbol ~child.
  const children: [number, number][] = [[0, 0]];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = (CODE_LENGTHS[symbol] ?? 0) - 1; bit >= 0; bit--) {
      const branch = ((CODES[symbol] ?? 0) >>> bit) & 1;
      const pair = children[node] ?? [0, 0];
      if (bit === 0) pair[branch] = ~symbol;
      else {
        if (pair[branch] === 0) pair[branch] = children.push([0, 0]) - 1;
        node = pair[branch] ?? 0;
      }
    }
  }
  const transitions = new Int32Array(children.length * 16);
  for (let state = 0; state < children.length; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let entry = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = children[node]?.[(nibble >>> bit) & 1] ?? 0;
        if (next >= 0) {
          node = next;
          continue;
        }
        // EOS inside a string is an error (RFC 7541 § 5.2).
        entry = ~next === EOS ? FAILS : EMITS | (~next << 8);
        node = 0;
      }
      transitions[state * 16 + nibble] = entry | node;
    }
  }
  const accepting = new Uint8Array(children.length);
  for (let node = 0, depth = 0; depth < 8; depth++) {
    accepting[node] = 1;
    node = children[node]?.[1] ?? 0;
  }
  return { transitions, accepting };
}

let table: DecodingTable | undefined;
/** For the strings of an ordinary head; a longer one gets memory of its own, which does not stay. */
const SCRATCH = Buffer.allocUnsafeSlow(16 * 1024);

/** Decodes `bytes[start, end)` to a byte string. Throws HpackError on a bad code or bad padding. */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  table ??= buildTable();
  const { transitions, accepting } = table;
  // The shortest code has 5 bits: at most 8 symbols come out of 5 bytes.
  const most = Math.ceil(((end - start) * 8) / 5);
  const symbols = most <= SCRATCH.length ? SCRATCH : Buffer.allocUnsafeSlow(most);
  let length = 0;
  let state = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    let entry = transitions[state * 16 + (byte >>> 4)] as number;
    if (entry & EMITS) symbols[length++] = (entry >>> 8) & 0xff;
    else if (entry & FAILS) throw new HpackError("a Huffman-coded string holds EOS");
    entry = transitions[(entry & 0xff) * 16 + (byte & 0xf)] as number;
    if (entry & EMITS) symbols[length++] = (entry >>> 8) & 0xff;
    else if (entry & FAILS) throw new HpackError("a Huffman-coded string holds EOS");
    state = entry & 0xff;
  }
  if (accepting[state] !== 1) throw new HpackError("a Huffman-coded string ends in bad padding");
  return symbols.toString("latin1", 0, length);
}

/** Length in bytes of a byte string once it is Huffman-coded. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += CODE_LENGTHS[text.charCodeAt(i) & 0xff] as number;
  return (bits + 7) >>> 3;
}

/** Writes the code of a byte string at `offset` and returns the offset behind it. The room must be there. */
export function encodeHuffman(text: string, target: Buffer, offset: number): number {
  let at = offset;
  let pending = 0;
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let length = CODE_LENGTHS[symbol] as number;
    const code = CODES[symbol] as number;
    while (length > 0) {
      const taken = Math.min(length, 8 - bits);
      length -= taken;
      pending = (pending << taken) | ((code >>> length) & ((1 << taken) - 1));
      bits += taken;
      if (bits === 8) {
        target[at++] = pending;
        pending = 0;
        bits = 0;
      }
    }
  }
  if (bits > 0) target[at++] = (pending << (8 - bits)) | ((1 << (8 - bits)) - 1);
  return at;
}
