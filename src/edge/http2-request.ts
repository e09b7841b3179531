/** What a stream of the edge is for, and its fields as the proxy gets them (wire §§ 4.2, 4.3). */
import { HeaderField } from "../protocol/bytes/header-field.ts";
import type { RequestHead } from "../protocol/http2/types.ts";

export type StreamKind = "configuration" | "websocket" | "tcp" | "control" | "http";

export interface ClassifiedRequest {
  readonly kind: StreamKind;
  readonly headers: readonly HeaderField[];
}

const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";
const PROXY_SRC = "cf-cloudflared-proxy-src";

function kindOf(upgrade: string | undefined, hasProxySource: boolean): StreamKind {
  // First match wins; the values are exact and case-sensitive.
  if (upgrade === "update-configuration") return "configuration";
  if (upgrade === "websocket") return "websocket";
  if (hasProxySource) return "tcp";
  if (upgrade === "control-stream") return "control";
  return "http";
}

/** Drops the connector's own fields and `host` (:authority speaks), and joins cookies that HTTP/2 split (RFC 9113 § 8.2.3). */
function forwardedFields(fields: readonly HeaderField[]): HeaderField[] {
  const forwarded: HeaderField[] = [];
  let cookie = "";
  let cookieAt = -1;
  for (const field of fields) {
    switch (field.name) {
      case UPGRADE:
      case "cf-trace-id":
      case "host":
        break;
      case "cookie":
        if (cookieAt < 0) {
          cookieAt = forwarded.length;
          cookie = field.value;
          forwarded.push(field);
        } else {
          cookie = `${cookie}; ${field.value}`;
          forwarded[cookieAt] = new HeaderField("cookie", cookie);
        }
        break;
      default:
        forwarded.push(field);
    }
  }
  return forwarded;
}

export function classifyRequest(head: RequestHead): ClassifiedRequest {
  let upgrade: string | undefined;
  let hasProxySource = false;
  let cookies = 0;
  let rewrite = false;
  for (const field of head.fields) {
    switch (field.name) {
      case UPGRADE:
        // Of several, the first speaks, as Go's Header.Get has it.
        upgrade ??= field.value;
        rewrite = true;
        break;
      case PROXY_SRC:
        hasProxySource ||= field.value !== "";
        break;
      case "cf-trace-id":
      case "host":
        rewrite = true;
        break;
      case "cookie":
        cookies++;
        break;
      default:
    }
  }
  const headers = rewrite || cookies > 1 ? forwardedFields(head.fields) : head.fields;
  return { kind: kindOf(upgrade, hasProxySource), headers };
}
