/** What a token says about itself, against what the rule asks for. Whether it says the truth, the signature tells. */
import { AccessDeniedError } from "./errors.ts";
import { CLOCK_LEEWAY_MS } from "./limits.ts";

export interface ClaimRules {
  readonly issuer: string;
  /** One of them has to be among the token's. */
  readonly audiences: readonly string[];
}

export type Claims = Readonly<Record<string, unknown>>;

/** A NumericDate (RFC 7519 § 2) in milliseconds. */
function dateOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value * 1_000 : undefined;
}

function audiencesOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** Why a token with these claims does not let anyone pass, or until when it does, in milliseconds. */
export function checkClaims(claims: Claims, rules: ClaimRules, now: number): AccessDeniedError | number {
  const { aud, exp, iat, iss, nbf } = claims;
  if (iss !== rules.issuer) return new AccessDeniedError("issuer");
  if (!audiencesOf(aud).some((audience) => typeof audience === "string" && rules.audiences.includes(audience))) {
    return new AccessDeniedError("audience");
  }
  const expires = dateOf(exp);
  if (expires === undefined) return new AccessDeniedError("malformed", { detail: "its token has no exp" });
  if (expires <= now) return new AccessDeniedError("expired");
  for (const since of [nbf, iat]) {
    if (since === undefined) continue;
    const date = dateOf(since);
    if (date === undefined) return new AccessDeniedError("malformed");
    if (date > now + CLOCK_LEEWAY_MS) return new AccessDeniedError("not-yet-valid");
  }
  return expires;
}
