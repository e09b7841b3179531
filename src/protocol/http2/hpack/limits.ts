/** Bytes that a dynamic table entry costs beside its name and value (RFC 7541 § 4.1). */
export const ENTRY_OVERHEAD = 32;

/** The default of SETTINGS_HEADER_TABLE_SIZE, and the most that the encoder keeps whatever the peer allows: a larger table costs memory on every connection and gains nothing on the few fields that repeat. */
export const DEFAULT_TABLE_SIZE = 4096;

/** The longest string literal, encoded or decoded. The header list limit (1 MiB) would refuse a longer one anyway; this refuses it before it is decoded. */
export const MAX_STRING_BYTES = 1024 * 1024 + 512;

/** Continuation bytes of an integer (RFC 7541 § 5.1): four carry 28 bits, more than any index or length here. More would be padding to spin on. */
export const MAX_INTEGER_BYTES = 4;
