/**
 * The response direction of the header mapping (wire § 4.4): the origin's fields travel in one field,
 *
 *   cf-cloudflared-response-headers: b64(name) ":" b64(value) ";" b64(name) ":" b64(value) …
 *
 * base64 in the standard alphabet without padding, over the bytes of name and value.
 */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { FieldEncoder } from "../protocol/http2/types.ts";
import type { ResponseHead, ResponseSource } from "../types.ts";

/** Names that only Cloudflare's own components may set; an origin's are dropped. */
const RESERVED_PREFIXES = [":", "cf-int-", "cf-cloudflared-", "cf-proxy-"];

const RESPONSE_META: Record<ResponseSource, string | undefined> = {
  origin: '{"src":"origin"}',
  connector: '{"src":"cloudflared"}',
  "flow-limit": '{"src":"cloudflared","flow_rate_limited":true}',
  "to-edge": undefined,
};

function base64(byteString: string): string {
  const encoded = Buffer.from(byteString, "latin1").toString("base64");
  const padding = encoded.indexOf("=");
  return padding < 0 ? encoded : encoded.slice(0, padding);
}

/** cloudflared lets an origin's through on QUIC (wire § 14 D7); they are dropped on both transports here. */
export function isReserved(field: HeaderField): boolean {
  const name = field.name.toLowerCase();
  return RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix));
}

function pairOf(field: HeaderField): string {
  if (isReserved(field)) return "";
  return `${base64(field.name)}:${base64(field.value)}`;
}

/** Whether it is reserved, remembered on the field. */
export function isDropped(field: HeaderField): boolean {
  field.pair ??= pairOf(field);
  return field.pair === "";
}

/** The serialised set; fields keep their order. */
export function serialiseResponseHeaders(fields: readonly HeaderField[]): string {
  let serialised = "";
  for (const field of fields) {
    field.pair ??= pairOf(field);
    if (field.pair === "") continue;
    serialised = serialised === "" ? field.pair : `${serialised};${field.pair}`;
  }
  return serialised;
}

/** Writes the fields of a response head into one HTTP/2 header block. */
export function encodeResponseHead(encoder: FieldEncoder, head: ResponseHead): void {
  // 101 has no meaning in HTTP/2 (RFC 9113 § 8.6); the edge takes 200 on an upgrade stream as the accepted upgrade.
  encoder.status(head.status === 101 ? 200 : head.status);
  if (head.contentLength !== undefined) encoder.field("content-length", String(head.contentLength), "name");
  if (head.source === "origin") {
    encoder.field("cf-cloudflared-response-headers", serialiseResponseHeaders(head.headers), "name");
  }
  const meta = RESPONSE_META[head.source];
  if (meta !== undefined) encoder.field("cf-cloudflared-response-meta", meta, "index");
}
