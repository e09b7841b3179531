/** Blocks of output for bulk, of all connections: used again once what they held is acknowledged. */
import { BULK_BLOCK_SIZE, MAX_FREE_BULK_BLOCKS } from "../limits.ts";

const free: Buffer[] = [];

export function takeBulkBlock(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(BULK_BLOCK_SIZE);
}

/** Takes back blocks of other sizes too, and leaves those to the collector. */
export function giveBulkBlock(block: Buffer): void {
  if (block.length === BULK_BLOCK_SIZE && free.length < MAX_FREE_BULK_BLOCKS) free.push(block);
}
