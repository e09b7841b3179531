/** IP addresses: text outside, Go's `net.IP` on the wire: 16 bytes, IPv4 mapped into IPv6; 4 bytes are taken too. */
import { isIPv4, isIPv6 } from "node:net";

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function groupsToBytes(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/** Undefined when `text` is no IP address. A zone is dropped: it means nothing to the peer. */
export function ipToBytes(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from([...MAPPED_PREFIX, ...text.split(".").map(Number)]);
  if (!isIPv6(text)) return undefined;
  const address = text.replace(/%.*$/, "");
  const [head = "", tail] = address.split("::");
  const before = groupsToBytes(head);
  if (tail === undefined) return Uint8Array.from(before);
  const after = groupsToBytes(tail);
  const zeros = Array.from({ length: 16 - before.length - after.length }, () => 0);
  return Uint8Array.from([...before, ...zeros, ...after]);
}

/** Undefined when there are neither 4 nor 16 bytes. */
export function ipFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  if (MAPPED_PREFIX.every((byte, i) => bytes[i] === byte)) return bytes.subarray(12).join(".");
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  // The URL parser knows the canonical spelling (RFC 5952).
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
