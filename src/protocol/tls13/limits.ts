/** Every bound of the TLS handshake, with the attack or the cost that it bounds. */

/** A Certificate message: real chains have 2 to 10 KiB; each connection may make us hold one. */
export const MAX_CERTIFICATE_MESSAGE = 128 * 1024;

/** Any other message: a ClientHello with a post-quantum share has 2 KiB, a ticket less than 4. */
export const MAX_MESSAGE = 32 * 1024;

/** Certificates that are looked at in a chain that a server sends: each is parsed. */
export const MAX_CHAIN_CERTIFICATES = 16;

/** Certificates from the leaf to the trust anchor, both counted. */
export const MAX_PATH_LENGTH = 8;

/** Signatures verified for one chain: cross-signed authorities of one name make the paths exponential. */
export const MAX_SIGNATURE_CHECKS = 32;

/**
 * Names times name constraints, in all of the paths that are tried for one chain: both lists are the peer's, and nothing vouches for
 * them yet. As many as Go takes.
 */
export const MAX_NAME_COMPARISONS = 250_000;

/** Bytes of an object identifier in a certificate: reading a number costs the square of its length. */
export const MAX_OBJECT_IDENTIFIER = 64;

/** RSA keys: below, they can be broken; above, one verification costs milliseconds. */
export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 8192;

/** 65537 has 3; a verification costs in proportion to it. */
export const MAX_RSA_EXPONENT_BYTES = 4;
