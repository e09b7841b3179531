/** Hostnames of rules and of requests in one form: lower case, punycode, no port, no dot at the end. */
import { isIPv6 } from "node:net";
import { domainToASCII } from "node:url";

/** What a rule's hostname stands for. */
export type HostPattern =
  | { readonly kind: "any" }
  | { readonly kind: "exact"; readonly host: string }
  /** Every host that ends with a dot and `host`. */
  | { readonly kind: "below"; readonly host: string };

export function hostPattern(hostname: string): HostPattern {
  if (hostname === "" || hostname === "*") return { kind: "any" };
  return hostname.startsWith("*.")
    ? { kind: "below", host: canonicalHost(hostname.slice(2)) }
    : { kind: "exact", host: canonicalHost(withoutBrackets(hostname)) };
}

/** @param authority as the edge gave it: a byte string, maybe with a port */
export function requestHost(authority: string): string {
  const host = authority.includes(":") ? withoutPort(authority) : authority;
  return canonicalHost(isAscii(host) ? host : utf8OfBytes(host));
}

function withoutPort(authority: string): string {
  if (authority.startsWith("[")) return withoutBrackets(authority);
  const colon = authority.indexOf(":");
  // A bare IPv6 address has more than one.
  return authority.includes(":", colon + 1) ? authority : authority.slice(0, colon);
}

function withoutBrackets(host: string): string {
  const end = host.indexOf("]");
  return host.startsWith("[") && end > 0 ? host.slice(1, end) : host;
}

function canonicalHost(host: string): string {
  const name = (isAscii(host) ? host : toAscii(host)).toLowerCase();
  if (name.endsWith(".")) return name.slice(0, -1);
  return name.includes(":") ? canonicalIpv6(name) : name;
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}

/** Underscores are converted like any letter, unlike in cloudflared (ingress § 3.2); what can't be converted stays. */
function toAscii(host: string): string {
  return domainToASCII(host) || host;
}

/** The edge gives byte strings, command lines text: what is no UTF-8 is text. */
function utf8OfBytes(text: string): string {
  if (/[^\0-\xff]/.test(text)) return text;
  const decoded = Buffer.from(text, "latin1").toString("utf8");
  return decoded.includes("\ufffd") ? text : decoded;
}

/** `0:0::1` and `::1` are the same. */
function canonicalIpv6(host: string): string {
  return isIPv6(host) && !host.includes("%") ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host;
}
