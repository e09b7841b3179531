/** Every bound of an RPC connection, with the attack or cost that it bounds. The codec's own: `protocol/capnp/limits.ts`. */

/** Calls of ours that have had no Return. A peer that never answers costs no more than this; the next call is refused here. */
export const MAX_QUESTIONS = 64;

/** Calls and bootstraps of the peer that it has not finished, and handlers that still run. One more ends the connection. */
export const MAX_ANSWERS = 64;

/** Capabilities in one message, and capabilities that we hold: the real ones number one. */
export const MAX_CAPABILITIES = 64;

/** Steps of a promised answer's transform; the real ones number none. */
export const MAX_TRANSFORM_OPS = 64;

/**
 * Messages that one connection may send us. A control stream carries about twenty in its life; the channel has no
 * back-pressure, so a peer that floods us and never reads would else make us queue an answer to each.
 */
export const MAX_MESSAGES = 10_000;

/** Time from a message's first byte to its last: a peer that stops in the middle would hold the buffer for ever. */
export const MESSAGE_TIMEOUT_MS = 30_000;

/** Characters of the peer's text (reasons, causes, names) that reach errors and logs; a reason may be 16 MiB. */
export const MAX_REMOTE_TEXT = 1024;

/** `setTimeout` fires at once for anything longer. */
export const MAX_TIMER_MS = 2 ** 31 - 1;
