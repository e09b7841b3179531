/** Keeps tokens, secrets and JWTs out of everything that is printed. */

export const REDACTED = "[redacted]";

/** base64 of `{"`: how tunnel tokens and JWTs begin. Up to two more dotted parts belong to a JWT. */
const TOKEN_LIKE = /eyJ[\w+/-]{14,}={0,2}(?:\.[\w-]+={0,2}){0,2}/g;
/** 32 bytes or more in padded base64: how tunnel secrets look. */
const SECRET_LIKE = /(?<![\w+/-])[A-Za-z0-9+/]{42,}={1,2}(?![\w+/=])/g;
/** Shorter ones would blank ordinary words. */
const SHORTEST_SECRET = 6;
/** What is left of a secret URL whose rest was forgotten: blanking it would spoil every URL. */
const BARE_SCHEME = /^[a-z][a-z\d+.-]*:\/\/$/i;

/** Whether one whole value looks like a credential, so that an error may not quote it. */
export function looksSecret(value: string): boolean {
  if (value.search(TOKEN_LIKE) !== -1 || value.search(SECRET_LIKE) !== -1) return true;
  // A long word of mixed letters and digits that is no path, address or UUID: an API token, an unpadded secret.
  return /^(?![~/.])[A-Za-z0-9+/_]{32,}$/.test(value) && /\d/.test(value) && /[A-Za-z]/.test(value);
}

/** Replaces what looks like a credential; for texts whose secrets are not known. */
export function redactLikely(text: string): string {
  if (!text.includes("eyJ") && !text.includes("=")) return text;
  return text.replace(TOKEN_LIKE, REDACTED).replace(SECRET_LIKE, REDACTED);
}

/** Longer values are described by their length: nobody needs more to find the key, and it may be a secret. */
const LONGEST_QUOTED = 80;

/** A value as an error may show it. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "string") {
    if (looksSecret(value)) return REDACTED;
    return value.length > LONGEST_QUOTED ? `a text of ${value.length} characters` : redactLikely(JSON.stringify(value));
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return "a list";
  return value instanceof Date ? "a date" : "a table";
}

/** Replaces the secrets that it was told of, and what looks like a credential. */
export class Scrubber {
  readonly #secrets = new Set<string>();
  #pattern: RegExp | undefined;

  /** `secret` never appears again in scrubbed text, nor JSON-escaped, nor URL-encoded. */
  add(secret: string): void {
    const trimmed = secret.trim();
    if (trimmed.length < SHORTEST_SECRET || BARE_SCHEME.test(trimmed)) return;
    const escaped = JSON.stringify(trimmed).slice(1, -1);
    for (const form of [trimmed, escaped, encodeURIComponent(trimmed)]) this.#secrets.add(form);
    const longestFirst = [...this.#secrets].sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(longestFirst.map((form) => form.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"), "g");
  }

  scrub(text: string): string {
    return redactLikely(this.#pattern === undefined ? text : text.replace(this.#pattern, REDACTED));
  }
}
