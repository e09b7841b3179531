/**
 * A visitor's request head as the edge passes it on (wire § 4.3): hop-by-hop fields go (RFC 9110 § 7.6.1), the edge's own
 * fields come, and a visitor's attempt to speak in their names is dropped.
 */

/** Name and value, in order; names lower case on the way to the connector. */
export type Field = readonly [name: string, value: string];

export interface Visitor {
  /** IP address. */
  readonly address: string;
  /** Identifier of this request, `<16 hex digits>-<location>`. */
  readonly ray: string;
  /** What the visitor's URL began with. */
  readonly scheme: "http" | "https";
}

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Set by the edge alone, or meant for it alone. */
const EDGE_ONLY = new Set([
  "cf-ray",
  "cf-connecting-ip",
  "cf-visitor",
  "cf-ipcountry",
  "x-forwarded-proto",
  "expect",
  "host",
]);
const EDGE_ONLY_PREFIXES = ["cf-cloudflared-", "cf-int-", "cf-proxy-"];

/** Pairs of Node's flat `rawHeaders`. */
export function pairs(rawHeaders: readonly string[]): Field[] {
  const fields: Field[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) fields.push([rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""]);
  return fields;
}

/** Fields that neither belong to one hop nor are named in Connection. */
export function endToEnd(fields: readonly Field[]): Field[] {
  const named = new Set(
    fields
      .filter(([name]) => name.toLowerCase() === "connection")
      .flatMap(([, value]) => value.split(",").map((token) => token.trim().toLowerCase())),
  );
  return fields.filter(([name]) => {
    const lower = name.toLowerCase();
    return !HOP_BY_HOP.has(lower) && !named.has(lower);
  });
}

/** The fields of the request that goes to the connector. */
export function visitorFields(rawHeaders: readonly string[], visitor: Visitor): Field[] {
  const received = pairs(rawHeaders);
  const fields: Field[] = [];
  let forwardedFor = "";
  let loop = "";
  for (const [name, value] of endToEnd(received)) {
    const lower = name.toLowerCase();
    if (EDGE_ONLY.has(lower) || EDGE_ONLY_PREFIXES.some((prefix) => lower.startsWith(prefix))) continue;
    if (lower === "x-forwarded-for") forwardedFor = forwardedFor === "" ? value : `${forwardedFor}, ${value}`;
    else if (lower === "cdn-loop") loop = loop === "" ? value : `${loop}, ${value}`;
    else fields.push([lower, value]);
  }
  if (received.some(([name, value]) => name.toLowerCase() === "te" && /(^|,)\s*trailers\s*(,|$)/i.test(value)))
    fields.push(["te", "trailers"]);
  fields.push(
    ["cdn-loop", loop === "" ? "cloudflare; loops=1" : `${loop}, cloudflare; loops=1`],
    ["cf-connecting-ip", visitor.address],
    ["cf-ipcountry", "XX"],
    ["cf-ray", visitor.ray],
    ["cf-visitor", JSON.stringify({ scheme: visitor.scheme })],
    ["x-forwarded-for", forwardedFor === "" ? visitor.address : `${forwardedFor}, ${visitor.address}`],
    ["x-forwarded-proto", visitor.scheme],
  );
  return fields;
}
