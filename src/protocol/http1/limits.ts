/** Every bound of the HTTP/1.1 codec, with the attack or cost that it bounds. */

/**
 * Bytes of a response head, interim responses included. Cloudflare's edge forwards at most 128 KiB of response header
 * fields, so a head that reaches a visitor is far below this; an origin that never ends its head costs no more than this
 * (Go's client would hold 10 MiB).
 */
export const MAX_HEAD_BYTES = 1024 * 1024;

/** Field lines of a head or a trailer section: each becomes an object, so that 1 MiB of `a:` lines would cost 60 MiB. */
export const MAX_FIELD_LINES = 4096;

/** Bytes of a trailer section; trailers are a few short fields (gRPC's status, a digest). */
export const MAX_TRAILER_BYTES = 64 * 1024;

/** Interim (1xx) responses before the final one: an origin could send them for ever and never answer. */
export const MAX_INTERIM_RESPONSES = 100;

/** Hex digits of a chunk size. 16 are what Go's client takes; the value is bounded by MAX_SAFE_INTEGER. */
export const MAX_CHUNK_SIZE_DIGITS = 16;

/**
 * Bytes of chunk framing beyond what a sensible sender needs (16 bytes a chunk and twice its data): one-byte chunks that each
 * carry a long extension make the reader work and deliver nothing (Go: CVE-2023-39326).
 */
export const MAX_CHUNK_OVERHEAD_BYTES = 16 * 1024;

/** Two generations of this many parsed header lines each: what one set of origins repeats, not what it invents. */
export const MAX_CACHED_LINES = 1024;

/** The same in bytes. */
export const MAX_CACHED_LINE_BYTES = 128 * 1024;

/** Longer lines (policies, links, cookies) are parsed anew each time instead of filling the cache. */
export const MAX_CACHEABLE_LINE = 256;

/** Names of request fields whose canonical form is remembered; a visitor can invent names without end. */
export const MAX_CACHED_NAMES = 1024;

/** Longer names are worked out each time. */
export const MAX_CACHED_NAME = 64;
