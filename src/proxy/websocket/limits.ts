/** Times of a terminated WebSocket. */

/** cloudflared's: proxies on the way, and Cloudflare itself, end a WebSocket on which nothing happened for 100 seconds. */
export const PING_INTERVAL_MS = 54_000;

/**
 * The end of a WebSocket has to be agreed on. So long may one side say and take nothing after the other has sent its Close, before it
 * counts as gone: an origin may still answer a visitor that has finished speaking, a slow visitor may still read.
 */
export const CLOSE_SILENCE_MS = 30_000;
