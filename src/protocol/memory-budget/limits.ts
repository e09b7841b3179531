/** Bounds of what streams hold, whatever carries them. */

const KIB = 1024;

/** What all streams of a tunnel may hold that nobody has taken yet. */
export const DEFAULT_MEMORY_LIMIT = 256 * KIB * KIB;

/** A stream's window from half of the memory limit on: thousands of stalled streams then fit into the other half. */
export const PRESSED_STREAM_WINDOW = 64 * KIB;

/** Received chunks below this count for CHUNK_OVERHEAD more: a window filled with 1-byte frames costs its consumer an object for each byte. */
export const SMALL_CHUNK = 256;
export const CHUNK_OVERHEAD = 128;
