/** Every bound of the HTTP/2 codec, with the attack or the cost that it bounds. Times in milliseconds. */

const KIB = 1024;
const MIB = 1024 * KIB;

/** What we announce (wire § 4.1); the windows are the design's: the best of the measured ones that are still bounded. */
export const DEFAULT_STREAM_WINDOW = MIB;
export const DEFAULT_CONNECTION_WINDOW = 4 * MIB;
export const DEFAULT_MAX_CONCURRENT_STREAMS = 0xffffffff;
export const MAX_FRAME_SIZE = MIB;
export const MAX_HEADER_LIST_SIZE = 1_048_896;
export const HEADER_TABLE_SIZE = 4096;

/** Output that the socket has not taken yet, from which on DATA waits in its stream: 1 MiB was measured better than 4, and what waits here delays PING and HEADERS. */
export const MAX_UNFLUSHED = MIB;

/** DATA flows again below this. */
export const LOW_UNFLUSHED = MIB / 2;

/** Output buffers, and how many of them the socket may hold: small flushes into a socket that is not read would pin one each. */
export const OUTPUT_BUFFER_SIZE = 64 * KIB;
export const MAX_BUFFERS_IN_FLIGHT = 16;

/** Idle output buffers that a connection keeps. */
export const MAX_FREE_BUFFERS = 16;

/** Output waiting while the peer reads nothing, from which on its new streams are refused: answers without a body pass every window. */
export const MAX_UNREAD_OUTPUT = 8 * MIB;

/** Answers to control frames (PING, SETTINGS, resets) waiting while the peer reads nothing (CVE-2019-9512, CVE-2019-9515); the number is Go's. */
export const MAX_UNREAD_CONTROL_FRAMES = 10_000;

/** The largest DATA frame that we send: one output buffer, so that streams take turns. */
export const MAX_SENT_DATA = 64 * KIB - 9;

/** Streams of a connection whose work is going on, cancelled ones included until their consumer has released them: at about 10 KiB each, origin connection included (CVE-2023-44487, CVE-2025-8671). */
export const MAX_ACTIVE_STREAMS = 32_768;

/** Streams that we reset and whose last frames may still be on their way; older ones are taken leniently. */
export const MAX_REMEMBERED_RESETS = 4096;

/** Bytes of one header block: no honest block is larger than its list. */
export const MAX_HEADER_BLOCK = MAX_HEADER_LIST_SIZE + 64 * KIB;

/** A list this large came from a small block by repeated references: an HPACK bomb, as no one sends 4 times of what was announced by mistake. */
export const MAX_DECODED_HEADER_LIST = 4 * MAX_HEADER_LIST_SIZE;

/** CONTINUATION frames of one block (CVE-2024-27316): 1 MiB in frames of 16 KiB takes 64; nghttp2 allows 8. */
export const MAX_CONTINUATIONS = 80;

/** Entries of one SETTINGS frame (CVE-2020-11080); the number is nghttp2's. */
export const MAX_SETTINGS_ENTRIES = 32;

/** Distinct header names whose classification is cached. */
export const MAX_CACHED_NAMES = 1024;

/** PINGs of ours that may be unanswered at a time. */
export const MAX_OUTSTANDING_PINGS = 16;

/** The 24 bytes of the client preface, and the first SETTINGS behind them (wire § 4.1). */
export const PREFACE_TIMEOUT = 10_000;
export const SETTINGS_TIMEOUT = 2_000;

/** Our SETTINGS must be acknowledged (RFC 9113 § 6.5.3): as long as the PING watchdog takes in all, never shorter. */
export const SETTINGS_ACK_TIMEOUT = 20_000;

/** How often an unanswered PING is given its time again because bytes still moved: on a slow uplink it waits behind the output. */
export const MAX_PING_EXTENSIONS = 5;

/** After a clock that jumped (a frozen container), what the socket holds is read before anything is judged late. */
export const LATE_TICK = 1_000;

/** A bucket of tokens: `burst` at once, then `perSecond`. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

/**
 * Frames that make us work and move nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE beyond what our DATA explains, empty
 * DATA (CVE-2019-9511 … 9518), frames of unknown types or on closed streams, refused streams. About 1 µs each, so that
 * a flood costs under 1 % of a core before it ends; nghttp2's `glitch` bucket has 10,000 and 330 a second.
 */
export const OVERHEAD_RATE: Rate = { burst: 10_000, perSecond: 1_000 };

/** SETTINGS weigh more: a changed window touches every stream. */
export const SETTINGS_COST = 10;

/** Overhead frames that come free with every request. */
export const OVERHEAD_PER_REQUEST = 4;

/** WINDOW_UPDATEs that our DATA explains: some with every frame (Envoy allows 10), and one for the stream and one for the connection every 2 KiB. */
export const WINDOW_UPDATES_PER_DATA = 8;
export const BYTES_PER_WINDOW_UPDATE = 1024;
export const MAX_WINDOW_UPDATE_CREDIT = 100_000;

/**
 * Resets within PREMATURE_RESET of the request and before its response (Rapid Reset, CVE-2023-44487; Envoy draws the line
 * there too). A reset is just a visitor who leaves, and a public site can't prevent that: hundreds a second are ordinary.
 */
export const PREMATURE_RESET = 1_000;
export const PREMATURE_RESET_RATE: Rate = { burst: 10_000, perSecond: 1_000 };

/** Resets that the peer makes us send by breaking rules (MadeYouReset, CVE-2025-8671). An honest edge causes next to none. */
export const STREAM_ERROR_RATE: Rate = { burst: 1_000, perSecond: 100 };

/** A request head over MAX_HEADER_LIST_SIZE costs up to a millisecond to decode. */
export const OVERSIZED_HEAD_COST = 50;
