/** Every bound of the check of Access tokens, with the attack or cost that it bounds. Times in milliseconds. */

/** Of a token that is looked at. Access puts its tokens into a cookie too, which browsers cut at 4 KiB. */
export const MAX_TOKEN_LENGTH = 16_384;

/** The keys' document, which has some 8 KiB with two keys and their certificates. */
export const MAX_KEYS_BYTES = 131_072;

/** Access has two keys at a time; importing one costs a tenth of a millisecond. */
export const MAX_KEYS = 64;

/** `n` of a key, in base64url: 2048 bits, below which RS256 is not safe (RFC 7518 § 3.3), to 8192, above which verifying is slow. */
export const MIN_MODULUS_LENGTH = 342;
export const MAX_MODULUS_LENGTH = 1_366;

/** From asking for the keys to having them: requests wait for it. */
export const FETCH_TIMEOUT_MS = 5_000;

/** Older keys are fetched anew while they still serve. Access announces a new key weeks before it signs with it. */
export const REFRESH_AFTER_MS = 3_600_000;

/** How long keys serve that can't be fetched anew: beyond it one that Access has withdrawn might still open the door. */
export const MAX_KEY_AGE_MS = 24 * 3_600_000;

/** Between two fetches for the sake of keys that are not known: whoever makes tokens up decides how often one is not. */
export const COOL_DOWN_MS = 30_000;

/** Between two fetches while there is no key at all: meanwhile everything is refused. */
export const RETRY_AFTER_MS = 5_000;

/** Requests that wait for one fetch; each may hold its stream's window, and memory of its own after its visitor has gone. */
export const MAX_WAITING = 16_384;

/** How far the clocks of Access and of this machine may be apart for `nbf` and `iat`; cloudflared's value. `exp` has no leeway. */
export const CLOCK_LEEWAY_MS = 300_000;

/**
 * How long a token that was good is not verified again: a page is dozens of requests with the same one, and RS256 costs 60 µs, which
 * is three times the rest of a request, where finding it here costs 2.
 */
export const REMEMBER_MS = 60_000;

/** Tokens remembered by each rule, at some 200 bytes. */
export const MAX_REMEMBERED = 4_096;
