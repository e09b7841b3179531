/** Every bound of the Cap'n Proto codec, with the attack or cost that it bounds. */

/** Segments of one message; Go's own limit. Each costs an object here, and the table says 2^32 for four bytes. */
export const MAX_SEGMENTS = 512;

/**
 * Bytes of a ConnectRequest or ConnectResponse. Cloudflare's edge passes 128 KiB of header fields at most, so this is far
 * above what is real, and every data stream may hold that much while its request is incomplete.
 */
export const MAX_CONNECT_MESSAGE_BYTES = 1024 * 1024;

/** Bytes of one RPC message. The largest real one carries a remote configuration as a single Data field. */
export const MAX_RPC_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Bytes of a message that the writer makes; the most that cloudflared's reader takes. */
export const MAX_WRITTEN_BYTES = 64 * 1024 * 1024;

/**
 * Words that one message may make its reader visit: this many times its own size, and a little for tiny ones. Pointers may
 * share a target, so that 60,000 of them to one text of 512 KiB would make 30 GiB of a message of 1 MiB.
 */
export const TRAVERSAL_FACTOR = 4;
export const TRAVERSAL_EXTRA_WORDS = 64;

/** Structs within structs. Ours nest seven deep; a message may be a chain as long as itself. */
export const MAX_DEPTH = 32;

/** Elements of one list of structs or texts: each becomes an object, even one of no bytes at all. */
export const MAX_LIST_ELEMENTS = 65_536;

/** First allocation for a frame that comes in pieces; from there it doubles with what has really arrived. */
export const INITIAL_FRAME_BYTES = 4096;

/** First allocation of the writer: a typical request or response fits without growing. */
export const INITIAL_MESSAGE_BYTES = 2048;
