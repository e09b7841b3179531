/** Verifies the tokens of one policy: RS256 by the team's keys, and what they say about themselves (ingress § 7.7). */
import type { AccessPolicy } from "../../types.ts";
import { checkClaims, type ClaimRules, type Claims } from "./claims.ts";
import { AccessDeniedError, AccessKeysError } from "./errors.ts";
import type { KeySets, SharedKeys } from "./key-sets.ts";
import { CLOCK_LEEWAY_MS } from "./limits.ts";
import { RememberedTokens } from "./remembered-tokens.ts";
import { issuerOf } from "./team.ts";

/** Never `none`, and never one where the team's public key would be taken for a secret that everybody knows. */
const ALGORITHM = "RS256";

export class Validator {
  readonly #now: () => number;
  readonly #remembered = new RememberedTokens();
  readonly #rules: ClaimRules;
  readonly #shared: SharedKeys;

  private constructor(rules: ClaimRules, shared: SharedKeys, now: () => number) {
    this.#rules = rules;
    this.#shared = shared;
    this.#now = now;
  }

  /** Undefined when no token could be right by this policy. */
  static create(policy: AccessPolicy, keySets: KeySets): Validator | undefined {
    const issuer = issuerOf(policy);
    if (issuer === undefined || policy.audTag.length === 0) return undefined;
    return new Validator({ issuer, audiences: policy.audTag }, keySets.share(policy, issuer), keySets.now);
  }

  /** It was good a moment ago, and still is. */
  remembers(token: string): boolean {
    return this.#remembered.has(token, this.#now());
  }

  /** Why it does not let anyone pass; undefined when it does. Never rejects. */
  async verify(token: string): Promise<AccessDeniedError | undefined> {
    try {
      return await this.#verify(token);
    } catch (error) {
      // Whatever it is, nobody gets through by it.
      const cause = error instanceof Error ? error : new Error(String(error));
      return new AccessDeniedError("keys-unavailable", { cause });
    }
  }

  async #verify(token: string): Promise<AccessDeniedError | undefined> {
    const { decodeJwt, decodeProtectedHeader, errors, jwtVerify } = await import("jose");
    let alg: unknown;
    let kid: unknown;
    let claims: Claims;
    try {
      ({ alg, kid } = decodeProtectedHeader(token));
      claims = decodeJwt(token);
    } catch {
      // Not the error, here and below: jose's hold what the token holds.
      return new AccessDeniedError("malformed");
    }
    if (alg !== ALGORITHM) return new AccessDeniedError("algorithm");
    const now = this.#now();
    // Ahead of the signature, so that tokens for others make us fetch nothing.
    const expires = checkClaims(claims, this.#rules, now);
    if (expires instanceof AccessDeniedError) return expires;
    if (typeof kid !== "string") return new AccessDeniedError("unknown-key");
    let key: CryptoKey | undefined;
    try {
      key = await this.#shared.keys.find(kid);
    } catch (error) {
      if (!(error instanceof AccessKeysError)) throw error;
      return new AccessDeniedError("keys-unavailable", { cause: error });
    }
    if (key === undefined) return new AccessDeniedError("unknown-key");
    try {
      await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        currentDate: new Date(now),
        clockTolerance: CLOCK_LEEWAY_MS / 1_000,
      });
    } catch (error) {
      return new AccessDeniedError(error instanceof errors.JWSSignatureVerificationFailed ? "signature" : "malformed");
    }
    this.#remembered.add(token, expires, now);
    return undefined;
  }

  close(): void {
    this.#shared.leave();
  }
}
