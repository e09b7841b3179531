/** UUIDs: text outside, 16 bytes on the wire. */
import { Buffer } from "node:buffer";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Undefined when `text` is no UUID. */
export function uuidToBytes(text: string): Uint8Array | undefined {
  return UUID.test(text) ? new Uint8Array(Buffer.from(text.replaceAll("-", ""), "hex")) : undefined;
}

/** Undefined when there are not 16 bytes. */
export function uuidFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length !== 16) return undefined;
  return Buffer.from(bytes)
    .toString("hex")
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
