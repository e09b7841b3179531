/** Small chunks that come in one read of the origin leave as one write: each write is a frame, and a frame costs more than a copy of a few KiB. */

/** As much as fits one frame at the size that HTTP/2 peers take by default. */
const JOINED_BYTES = 16 * 1024;

/** Working memory: what is in it is used up before the read's callback returns. */
const scratch = Buffer.allocUnsafeSlow(JOINED_BYTES);

/** Both in one view, valid until the next call; undefined when they are too long to be worth it. `first` may be such a view. */
export function joinChunks(first: Buffer, second: Buffer): Buffer | undefined {
  const length = first.length + second.length;
  if (length > JOINED_BYTES) return undefined;
  if (first.buffer !== scratch.buffer) first.copy(scratch);
  second.copy(scratch, first.length);
  return scratch.subarray(0, length);
}
