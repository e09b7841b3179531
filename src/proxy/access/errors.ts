import { UnderpassError } from "../../errors.ts";

/** Why a request does not pass; what stands in the log, in one word for programs and in words for people. Never what a token holds. */
const REASONS = {
  "not-configured": "the rule's access names no team or no audTag, so that no token can be right",
  missing: "it has no Cf-Access-Jwt-Assertion; the hostname may have no Access application at Cloudflare",
  malformed: "its token is not a well-formed JWT",
  algorithm: "its token is not signed with RS256",
  issuer: "its token is of another team than teamName",
  audience: "its token is for another application than those of audTag",
  expired: "its token has expired",
  "not-yet-valid": "its token is not valid yet; the clock of this machine may be slow",
  "unknown-key": "its token is signed with a key that the team does not have",
  signature: "its token's signature is wrong",
  "keys-unavailable": "the team's keys can't be had, so that no token can be verified",
} as const;

export type AccessDenialReason = keyof typeof REASONS;

/** A request without a token that lets it pass. */
export class AccessDeniedError extends UnderpassError {
  readonly reason: AccessDenialReason;

  constructor(reason: AccessDenialReason, options: { detail?: string; cause?: Error } = {}) {
    const { cause, detail } = options;
    super(
      "ERR_UNDERPASS_ACCESS_DENIED",
      `Access refuses the request: ${detail ?? REASONS[reason]}`,
      cause === undefined ? undefined : { cause },
    );
    this.reason = reason;
  }
}

/** The keys that a team's tokens are verified with are not to be had. */
export class AccessKeysError extends UnderpassError {
  constructor(message: string, cause?: unknown) {
    super("ERR_UNDERPASS_ACCESS_KEYS", message, cause === undefined ? undefined : { cause });
  }
}
