/**
 * Address validation tokens (RFC 9000 § 8.1): of a Retry, and for a client's next connection (NEW_TOKEN). Only we read them:
 *
 *   nonce 96 | AES-256-GCM( kind 8 | issued at, ms 48 | len 8 | original destination id | len 8 | retry source id ) | tag 128
 *
 * The client's address is the associated data: a token from elsewhere does not open.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";
import { NEW_TOKEN_LIFETIME, RETRY_TOKEN_LIFETIME } from "./limits.ts";
import { TAG_LENGTH } from "./protection.ts";

const NONCE_LENGTH = 12;
const Kind = { retry: 1, newToken: 2 } as const;
const NO_ID = Buffer.alloc(0);

export type OpenedToken =
  | { readonly kind: "retry"; readonly originalDestination: Buffer; readonly retrySource: Buffer }
  | { readonly kind: "new-token" }
  /** Not ours, from another address, or too old; `retry` when it is certainly from a Retry of ours. */
  | { readonly kind: "invalid"; readonly retry: boolean };

export class TokenSealer {
  readonly #key: KeyObject;
  readonly #random: (length: number) => Buffer;

  /** `key` has 32 bytes. */
  constructor(key: KeyObject, random: (length: number) => Buffer) {
    this.#key = key;
    this.#random = random;
  }

  /** `address` with the port: the Initial that answers the Retry comes from the same one. */
  retry(address: string, originalDestination: Buffer, retrySource: Buffer, now: number): Buffer {
    return this.#seal(Kind.retry, address, originalDestination, retrySource, now);
  }

  /** `host` without the port: the client's next connection comes from another one. */
  newToken(host: string, now: number): Buffer {
    return this.#seal(Kind.newToken, host, NO_ID, NO_ID, now);
  }

  #seal(kind: number, address: string, originalDestination: Buffer, retrySource: Buffer, now: number): Buffer {
    const nonce = Buffer.from(this.#random(NONCE_LENGTH));
    const head = Buffer.alloc(8);
    head[0] = kind;
    head.writeUIntBE(Math.max(0, Math.floor(now)), 1, 6);
    head[7] = originalDestination.length;
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce, { authTagLength: TAG_LENGTH });
    cipher.setAAD(Buffer.from(address));
    const body = Buffer.concat([head, originalDestination, Buffer.of(retrySource.length), retrySource]);
    return Buffer.concat([nonce, cipher.update(body), cipher.final(), cipher.getAuthTag()]);
  }

  open(token: Buffer, address: string, host: string, now: number): OpenedToken {
    const retry = this.#open(token, address);
    if (retry !== undefined && retry[0] === Kind.retry) {
      const split = 8 + (retry[7] ?? 0);
      if (now - retry.readUIntBE(1, 6) > RETRY_TOKEN_LIFETIME) return { kind: "invalid", retry: true };
      return {
        kind: "retry",
        originalDestination: retry.subarray(8, split),
        retrySource: retry.subarray(split + 1),
      };
    }
    const fresh = this.#open(token, host);
    if (fresh === undefined || fresh[0] !== Kind.newToken) return { kind: "invalid", retry: false };
    return now - fresh.readUIntBE(1, 6) > NEW_TOKEN_LIFETIME
      ? { kind: "invalid", retry: false }
      : { kind: "new-token" };
  }

  #open(token: Buffer, address: string): Buffer | undefined {
    const tagStart = token.length - TAG_LENGTH;
    if (tagStart < NONCE_LENGTH + 9) return undefined;
    const decipher = createDecipheriv("aes-256-gcm", this.#key, token.subarray(0, NONCE_LENGTH), {
      authTagLength: TAG_LENGTH,
    });
    decipher.setAAD(Buffer.from(address));
    decipher.setAuthTag(token.subarray(tagStart));
    const body = decipher.update(token.subarray(NONCE_LENGTH, tagStart));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return body;
  }
}
