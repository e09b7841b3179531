/**
 * Every limit of the HTTP/2 codec, with the attack or the cost that it bounds. A budget is `burst` at once and `perSecond` afterwards.
 */

/** Announced SETTINGS_MAX_FRAME_SIZE (wire § 4.1): large frames save headers on uploads; DATA is passed on before a frame is complete, so only other frames are ever held whole. */
export const MAX_FRAME_SIZE = 1_048_576;

/** Announced SETTINGS_MAX_HEADER_LIST_SIZE (wire § 4.1). A larger head is answered with 431. */
export const MAX_HEADER_LIST_SIZE = 1_048_896;

/** Encoded bytes of one header block: no honest block is larger than what it decodes to. */
export const MAX_HEADER_BLOCK_BYTES = MAX_HEADER_LIST_SIZE;

/** CONTINUATION frames of one block: 1 MiB in frames of the smallest allowed maximum (16 KiB) needs 64. CVE-2024-27316. */
export const MAX_CONTINUATIONS = 80;

/** Announced SETTINGS_HEADER_TABLE_SIZE. */
export const HEADER_TABLE_SIZE = 4096;

/** A stream's receive window: one round trip of 80 ms at 100 Mbit/s. */
export const STREAM_WINDOW = 1024 * 1024;

/** A stream's receive window once half of the memory budget is held: 4,096 stalled streams fit in 256 MiB. */
export const PRESSED_STREAM_WINDOW = 64 * 1024;

/** The connection's receive window; it is credited on arrival, so it only bounds one burst. */
export const CONNECTION_WINDOW = 4 * 1024 * 1024;

/** RFC 9113 § 6.9.1. */
export const MAX_WINDOW = 0x7fff_ffff;

/** Output that the socket has not taken: from here on writers are told to pause, and below the second figure to go on. */
export const OUTPUT_HIGH_WATER = 1024 * 1024;
export const OUTPUT_LOW_WATER = 512 * 1024;

/** Output that is not DATA and so not bound by windows: a peer that asks (PING, SETTINGS, requests) but never reads ends here. */
export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Streams whose consumer still works, cancelled ones included: bounds the work behind resets (CVE-2023-44487, CVE-2025-8671). 5,000 held streams are ordinary. */
export const MAX_ACTIVE_STREAMS = 32_768;

/** Ids of streams that we reset, kept so that frames already under way are told from frames on closed streams (RFC 9113 § 5.1). */
export const REMEMBERED_RESETS = 1024;

/** The 24 bytes of the preface, then a SETTINGS frame (wire § 4.1). */
export const PREFACE_TIMEOUT_MS = 10_000;
export const FIRST_SETTINGS_TIMEOUT_MS = 2_000;

/** RFC 9113 § 6.5.3: a peer that never acknowledges our SETTINGS could use windows for ever that we have taken back. */
export const SETTINGS_ACK_TIMEOUT_MS = 30_000;

export interface RateBudget {
  readonly burst: number;
  readonly perSecond: number;
  /** Counted against it; stands in the GOAWAY's debug data. */
  readonly what: string;
}

/** A reset is a visitor leaving: closing 5,000 tabs at once is ordinary, 20,000 in a second is Rapid Reset (CVE-2023-44487). */
export const RESETS: RateBudget = { burst: 10_000, perSecond: 1_000, what: "RST_STREAM frames" };

/** Streams that break the protocol and that we must reset (MadeYouReset, CVE-2025-8671): an honest peer has none. */
export const STREAM_ERRORS: RateBudget = { burst: 200, perSecond: 20, what: "streams that break the protocol" };

/** Streams opened beyond what is allowed. */
export const REFUSALS: RateBudget = { burst: 10_000, perSecond: 1_000, what: "streams beyond the limit" };

/** Each PING costs an answer. The edge sends one in some seconds. */
export const PINGS: RateBudget = { burst: 500, perSecond: 50, what: "PING frames" };

/** Each SETTINGS costs an answer and a walk over all streams. */
export const SETTINGS: RateBudget = { burst: 100, perSecond: 10, what: "SETTINGS frames" };

/** Deprecated (RFC 9113 § 5.3); browsers' old scheme sent a handful a stream. */
export const PRIORITIES: RateBudget = { burst: 10_000, perSecond: 1_000, what: "PRIORITY frames" };

/** One for each few KiB that we send is ordinary. */
export const WINDOW_UPDATES: RateBudget = { burst: 100_000, perSecond: 50_000, what: "WINDOW_UPDATE frames" };

/** DATA without a byte and without END_STREAM says nothing (CVE-2019-9518). */
export const EMPTY_DATA: RateBudget = { burst: 1_000, perSecond: 100, what: "empty DATA frames" };

/** Frames of unknown types must be ignored (RFC 9113 § 5.5), but not without end. */
export const UNKNOWN_FRAMES: RateBudget = { burst: 1_000, perSecond: 100, what: "frames of unknown types" };

/** Trailing debug data of a GOAWAY that is kept for the log. */
export const MAX_DEBUG_DATA = 256;
