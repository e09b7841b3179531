/** IP addresses between their text and their bytes (RFC 4291 § 2.2). */

function ipv4Bytes(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined;
  }
  return parts.map(Number);
}

/** The bytes of `a:b:c`, which may be empty; where the address ends with it, the last two groups may be in dotted form. */
function groupBytes(text: string, isEnd: boolean): number[] | undefined {
  const bytes: number[] = [];
  const groups = text === "" ? [] : text.split(":");
  for (const [index, group] of groups.entries()) {
    const dotted = isEnd && index === groups.length - 1 && group.includes(".") ? ipv4Bytes(group) : undefined;
    if (dotted !== undefined) bytes.push(...dotted);
    else if (/^[0-9a-f]{1,4}$/i.test(group))
      bytes.push(Number.parseInt(group, 16) >>> 8, Number.parseInt(group, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}

/** Four or sixteen bytes; undefined for what is no address, or has a zone. An IPv4 address in IPv6 form stays sixteen. */
export function addressBytes(text: string): Buffer | undefined {
  if (!text.includes(":")) {
    const bytes = ipv4Bytes(text);
    return bytes === undefined ? undefined : Buffer.from(bytes);
  }
  const [before = "", after, ...more] = text.split("::");
  const head = groupBytes(before, after === undefined);
  const tail = groupBytes(after ?? "", true);
  if (head === undefined || tail === undefined || more.length > 0) return undefined;
  const missing = 16 - head.length - tail.length;
  // `::` stands for at least one group.
  if (after === undefined ? missing !== 0 : missing < 2) return undefined;
  return Buffer.from([...head, ...Array.from({ length: missing }, () => 0), ...tail]);
}

/** Of four or sixteen bytes; sixteen without `::`, which every reader takes. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups: string[] = [];
  for (let i = 0; i < bytes.length; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  return groups.join(":");
}

const MAPPED_PREFIX = Buffer.from("00000000000000000000ffff", "hex");

/** `::ffff:a.b.c.d` as the four bytes that it stands for (RFC 4291 § 2.5.5.2); others as they are. */
export function unmapped(bytes: Buffer): Buffer {
  return bytes.length === 16 && MAPPED_PREFIX.equals(bytes.subarray(0, 12)) ? bytes.subarray(12) : bytes;
}
