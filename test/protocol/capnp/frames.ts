/** Whole messages in, frames out: what the tests of codec and RPC share. */
import { FrameSplitter, type Frame } from "../../../src/protocol/capnp/frame.ts";
import { MAX_RPC_MESSAGE_BYTES } from "../../../src/protocol/capnp/limits.ts";

/** The one message that `bytes` are; nothing may stand behind it. */
export function frameOf(bytes: Uint8Array, maxBytes = MAX_RPC_MESSAGE_BYTES): Frame {
  const { frame, end } = new FrameSplitter(maxBytes).next(bytes, 0);
  if (frame === undefined || end !== bytes.length) throw new Error(`not one whole message: ${end} of ${bytes.length}`);
  return frame;
}

/** All messages of a stream that comes in these chunks. */
export function framesOf(chunks: readonly Uint8Array[], maxBytes = MAX_RPC_MESSAGE_BYTES): Buffer[] {
  const splitter = new FrameSplitter(maxBytes);
  const frames: Buffer[] = [];
  for (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      const { frame, end } = splitter.next(chunk, at);
      if (frame !== undefined) frames.push(Buffer.from(frame.bytes));
      at = end;
    }
  }
  return frames;
}

/** A message of one segment from its words, each as 16 hex digits in wire order. */
export function message(...words: readonly string[]): Buffer {
  return segments(words);
}

/** A message of several segments. */
export function segments(...parts: readonly (readonly string[])[]): Buffer {
  const header = Buffer.alloc((4 + 4 * parts.length + 7) & ~7);
  header.writeUInt32LE(parts.length - 1, 0);
  for (const [i, part] of parts.entries()) header.writeUInt32LE(part.length, 4 + 4 * i);
  return Buffer.concat([header, ...parts.map((part) => Buffer.from(part.join("").replaceAll(" ", ""), "hex"))]);
}
