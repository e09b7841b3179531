/** The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words. */

/** The sum so far, not yet folded; `bytes` of an odd length count as if a zero followed, so only the last part may have one. */
export function checksumAdd(sum: number, bytes: Uint8Array): number {
  let total = sum;
  const even = bytes.length & ~1;
  for (let i = 0; i < even; i += 2) total += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  return even === bytes.length ? total : total + ((bytes[even] ?? 0) << 8);
}

/** What stands in the checksum's field; 0 of a sum that holds a right checksum already. */
export function checksumOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x10000) + (folded & 0xffff);
  return ~folded & 0xffff;
}
