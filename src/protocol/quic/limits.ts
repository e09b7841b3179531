/** Every bound of the QUIC core, with the attack or the cost that it bounds. Times in milliseconds, sizes in bytes. */

// --- Packets ---

/** Every path must carry this (RFC 9000 § 14); datagrams with an Initial are at least this long (§ 14.1), and less proves no path. */
export const MIN_DATAGRAM_SIZE = 1200;

/** The largest datagram that we send or take: jumbo frames of 9000 bytes are the largest that an interface has, but for loopback. */
export const MAX_DATAGRAM_SIZE = 9000;

/** Connection ids of version 1 (RFC 9000 § 17.2). */
export const MAX_CONNECTION_ID_LENGTH = 20;

// --- Frames ---

/** Ranges of one received ACK frame that are looked at, newest first; a packet of 1500 bytes holds up to 740, an honest peer sends 32 or 64. */
export const MAX_ACK_RANGES_READ = 256;

/** RFC 9000 § 10.3. */
export const STATELESS_RESET_TOKEN_LENGTH = 16;

// --- Connection ids ---

/** Ids that we give a peer, whatever it would keep: none of our peers migrates often, and an endpoint routes by each. */
export const MAX_LOCAL_IDS = 4;

/** Retirements of the peer's ids that it has not acknowledged (CVE-2024-22189): far above twice of what we keep, which RFC 9000 § 5.1.2 asks for. */
export const MAX_UNACKED_RETIREMENTS = 32;

// --- Connection ---

/** Datagrams that `send` builds before any goes out: measured best; more keeps the peer waiting, fewer wake it too often. */
export const MAX_BURST = 64;

/** Datagrams are made in blocks of this size, in which a burst finds room: what the system has not sent yet keeps its block. */
export const DATAGRAM_BLOCK_SIZE = 96 * 1024;

/** Datagrams whose keys are still to come (quic-go keeps 32): an Initial's answer overtaken by what follows it. */
export const MAX_UNDECRYPTABLE = 16;

/** DATAGRAM frames waiting to be sent, and their bytes: the oldest is dropped, as a router would. */
export const MAX_QUEUED_DATAGRAMS = 256;
export const MAX_QUEUED_DATAGRAM_BYTES = 256 * 1024;

/** PATH_CHALLENGEs that wait for our answer (CVE-2023-49295): the oldest is dropped; its sender asks again. */
export const MAX_PATH_RESPONSES = 4;

/** Paths over which a client is asked, or asks, beside the followed one: who forges its addresses makes us remember no more. */
export const MAX_OTHER_PATHS = 4;

/** Of a Retry: each Initial carries it, and needs room for a piece of the handshake; Cloudflare's have fewer than 200 bytes. */
export const MAX_RETRY_TOKEN = 900;

/** What one connection may wait for the handshake in all, and for any packet meanwhile (wire § 3). */
export const HANDSHAKE_TIMEOUT = 10_000;
export const HANDSHAKE_IDLE_TIMEOUT = 5_000;

/** How much a server sends to an address that has not shown that it receives (RFC 9000 § 8.1). */
export const AMPLIFICATION_FACTOR = 3;

/** Packets under one key before we update it: well below the 2^23 of AES-GCM (RFC 9001 § 6.6). */
export const KEY_UPDATE_INTERVAL = 2 ** 20;

/** The peer's words at a close that are kept. */
export const MAX_CLOSE_REASON = 512;

/** PATH_CHALLENGEs that we send over a new path before we give it up. */
export const MAX_PATH_CHALLENGES = 5;

/** Packets that only acknowledge, after which one asks to be acknowledged itself; quic-go has the same. */
export const MAX_ACK_ONLY_PACKETS = 19;

// --- Server endpoint ---

/** The length of the ids that a server gives out: enough that nobody guesses one. */
export const SERVER_ID_LENGTH = 8;

/** A client's first destination id has at least so many bytes (RFC 9000 § 7.2). */
export const MIN_INITIAL_DESTINATION = 8;

/** How long tokens count: a Retry is answered at once, a client comes back within a day. */
export const RETRY_TOKEN_LIFETIME = 10_000;
export const NEW_TOKEN_LIFETIME = 24 * 3600 * 1000;

/** Connections of one endpoint, and those of them whose client has not shown that it receives at its address: beyond, Retry comes first. */
export const MAX_CONNECTIONS = 10_000;
export const MAX_UNVALIDATED = 100;

// --- What we announce (wire § 5.1) ---

/** Larger datagrams do not come over paths of 1500 bytes. */
export const MAX_UDP_PAYLOAD_SIZE = 1452;

/** How late we acknowledge at worst: timers are a millisecond coarse. */
export const OUR_MAX_ACK_DELAY = 26;

/** Ids of the peer that we keep. */
export const OUR_ACTIVE_CONNECTION_IDS = 4;

/** Of the id that a client makes up for its server; 8 is the least. */
export const CLIENT_DESTINATION_LENGTH = 8;

/** What arrives and is not in order or not taken is counted for its stream; this only bounds what is on its way. */
export const CONNECTION_WINDOW = 16 * 1024 * 1024;

// --- Streams ---

/**
 * A stream's window begins small and grows once its consumer takes something (STREAM_WINDOW, then doubled as long as the consumer
 * would take more than it lets through): a thousand stalled uploads hold 64 MiB. A path that just began sends no more in its first
 * round trip anyway.
 */
export const INITIAL_STREAM_WINDOW = 64 * 1024;
export const STREAM_WINDOW = 1024 * 1024;
export const MAX_STREAM_WINDOW = 8 * 1024 * 1024;

/** A window is doubled when it would be used up within so many round trips. */
export const WINDOW_ROUND_TRIPS = 4;

/** Streams of either kind that a peer may have open at a time, as on HTTP/2: at about 10 KiB each with the work behind it. */
export const DEFAULT_MAX_STREAMS = 32_768;

/** Pieces that one stream holds out of order (1-byte frames with gaps; quic-go allows 1,000 gaps): a window of 8 MiB in packets of 1,200 bytes is 7,000. */
export const MAX_STREAM_PIECES = 8192;

/** Pieces smaller than this are merged with the one before them, up to MERGED_PIECE_SIZE. */
export const SMALL_PIECE = 256;
export const MERGED_PIECE_SIZE = 4096;

/** Handshake bytes ahead of a gap (RFC 9000 § 7.5 asks for 4096 at least): a long chain of certificates; and their pieces. */
export const MAX_CRYPTO_BUFFER = 64 * 1024;
export const MAX_CRYPTO_PIECES = 64;

/** Small writes share blocks of output, each twice as large as the one before it, up to this size. */
export const SEND_BLOCK_SIZE = 4096;

/** Bulk fills blocks of this size; so many are kept for reuse. */
export const BULK_BLOCK_SIZE = 64 * 1024;
export const MAX_FREE_BULK_BLOCKS = 32;

/** What a stream takes before its writer is paused; and where all streams have more waiting than MAX_UNSENT, or memory is short. */
export const MAX_STREAM_UNSENT = 256 * 1024;
export const MAX_UNSENT = 4 * 1024 * 1024;
export const CROWDED_STREAM_UNSENT = 16 * 1024;

/** No STREAM frame is begun at the end of a packet for less. */
export const MIN_FRAME_ROOM = 32;

// --- Recovery ---

/** Ranges of received packets that are kept, and told in an ACK frame: a peer that leaves gaps can't make us remember each. */
export const MAX_RECEIVED_RANGES = 32;

/** Lost packets that are remembered in case they were only late. */
export const MAX_REMEMBERED_LOSSES = 256;

/** How far packets may be overtaken at most before the overtaken one counts as lost: Linux tolerates 300 in TCP. */
export const MAX_REORDERING = 128;

/** A probe timeout is never longer, however often it doubled. */
export const MAX_PROBE_TIMEOUT = 60_000;

/** In datagrams: 10,000 of them fill a path of 1 Gbit/s and 100 ms; a window beyond it would only hold memory. */
export const MAX_CONGESTION_WINDOW_PACKETS = 10_000;

/** Packet numbers that were skipped and would betray an ACK of what never arrived (RFC 9000 § 21.4). */
export const MAX_SKIPPED_NUMBERS = 16;

/** A packet number is skipped within so many at first, and within ever more later: an attacker would have to start early to gain anything. */
export const FIRST_SKIP_PERIOD = 256;
export const MAX_SKIP_PERIOD = 128 * 1024;
