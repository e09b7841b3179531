/** Every bound of the QUIC core, with the attack or the cost that it bounds. Times in milliseconds, sizes in bytes. */

// --- Packets ---

/** Every path must carry this (RFC 9000 § 14); datagrams with an Initial are at least this long (§ 14.1), and less proves no path. */
export const MIN_DATAGRAM_SIZE = 1200;

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
