/** Limits of the management service: each with the cost that it bounds. */

/** Entries that wait while the client does not read; more are left out, and counted. cloudflared's number. */
export const QUEUED_ENTRIES = 30;
/** What may lie in the socket's buffers before entries wait: a burst passes, a client that never reads holds no more. */
export const BUFFERED_BYTES = 64 * 1024;
/** Of one entry: cloudflared's `tail` ends at a message of more than 32 KiB, which a visitor's header names would reach. */
export const MAX_ENTRY_BYTES = 32 * 1024;
/** WebSockets at a time: each costs a stream, a timer and its buffers, whether or not it streams. */
export const MAX_SOCKETS = 16;
/** Of a client's message, as in cloudflared: filters are short. */
export const MAX_MESSAGE_BYTES = 32 * 1024;
/** An access token is decoded before anything else is known of its sender. */
export const MAX_TOKEN_BYTES = 16 * 1024;
/** A ping keeps the connection open; cloudflared's interval. */
export const PING_INTERVAL_MS = 15_000;
/** Pings in a row without an answer after which a client is gone: it would hold the one session for ever. */
export const UNANSWERED_PINGS = 3;
/** Without streaming for that long a session ends, as in cloudflared. */
export const IDLE_MS = 5 * 60_000;
/** How long a client may take to close in its turn. */
export const CLOSE_MS = 2_000;
/** Clocks differ: an access token counts this long after it has expired. */
export const EXPIRY_LEEWAY_S = 60;
