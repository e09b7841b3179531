/** Tokens that were verified a moment ago, by their hashes: who reads this memory has no token. */
import { createHash } from "node:crypto";
import { MAX_REMEMBERED, REMEMBER_MS } from "./limits.ts";

function keyOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

export class RememberedTokens {
  /** Until when, by hash; the oldest first. */
  readonly #until = new Map<string, number>();

  has(token: string, now: number): boolean {
    if (this.#until.size === 0) return false;
    const key = keyOf(token);
    const until = this.#until.get(key);
    if (until === undefined) return false;
    // A clock that was set back would keep it for longer.
    if (now < until && until - now <= REMEMBER_MS) return true;
    this.#until.delete(key);
    return false;
  }

  /** @param expires when the token itself does */
  add(token: string, expires: number, now: number): void {
    const key = keyOf(token);
    this.#until.delete(key);
    this.#until.set(key, Math.min(expires, now + REMEMBER_MS));
    if (this.#until.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#until.keys()) {
      this.#until.delete(oldest);
      break;
    }
  }
}
