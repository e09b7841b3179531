/**
 * The token that opens the management service (operations § 10): a JWT of Cloudflare's, ES256, with the claims
 *
 *   {"tun": {"id", "account_tag"}, "actor": {"id", "support"}, "iss", "exp", "nbf"}
 *
 * Cloudflare's edge has checked the signature; its key is published nowhere. What can be checked here is checked here: for which
 * tunnel the token is, and until when. cloudflared looks at neither.
 */
import { EXPIRY_LEEWAY_S, MAX_TOKEN_BYTES } from "./limits.ts";

export interface ManagementClaims {
  readonly tunnelId: string;
  readonly accountTag: string;
  /** Who asks. */
  readonly actor: string;
  readonly issuer: string | undefined;
  /** Seconds since 1970. */
  readonly expires: number | undefined;
  readonly notBefore: number | undefined;
}

/** Undefined where it is no management token. */
export function readManagementToken(token: string): ManagementClaims | undefined {
  const [header = "", payload = "", signature = "", ...rest] = token.split(".");
  if (token.length > MAX_TOKEN_BYTES || signature === "" || rest.length > 0) return undefined;
  if (property(decode(header), "alg") !== "ES256") return undefined;
  const claims = decode(payload);
  const tunnel = property(claims, "tun");
  const tunnelId = text(property(tunnel, "id"));
  const accountTag = text(property(tunnel, "account_tag"));
  const actor = text(property(property(claims, "actor"), "id"));
  if (tunnelId === undefined || accountTag === undefined || actor === undefined) return undefined;
  // A time that can't be read might have passed.
  for (const name of ["exp", "nbf"])
    if (!["number", "undefined"].includes(typeof property(claims, name))) return undefined;
  return {
    tunnelId,
    accountTag,
    actor,
    issuer: text(property(claims, "iss")),
    expires: number(property(claims, "exp")),
    notBefore: number(property(claims, "nbf")),
  };
}

/** The tunnel that a connector serves. */
export interface ServedTunnel {
  readonly tunnelId: string | undefined;
  /** Undefined where it is not known. */
  readonly accountTag: string | undefined;
}

/** Why the token is not for this connector, or not now; undefined where it is. `now`: milliseconds since 1970. */
export function refusalOf(claims: ManagementClaims, served: ServedTunnel, now: number): string | undefined {
  const seconds = now / 1000;
  if (claims.expires !== undefined && seconds >= claims.expires + EXPIRY_LEEWAY_S) return "access_token has expired";
  if (claims.notBefore !== undefined && seconds < claims.notBefore - EXPIRY_LEEWAY_S)
    return "access_token does not count yet";
  if (claims.tunnelId.toLowerCase() !== served.tunnelId?.toLowerCase()) return "access_token is for another tunnel";
  if (served.accountTag !== undefined && claims.accountTag !== served.accountTag)
    return "access_token is for another account";
  return undefined;
}

function decode(part: string): unknown {
  if (!/^[\w-]+$/.test(part)) return undefined;
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
