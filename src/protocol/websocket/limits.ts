/** Every bound of the WebSocket codec, with the attack or cost that it bounds. Messages have none: they are passed on as they come. */

/** Payload of a ping, pong or close (RFC 6455 § 5.5): the only payload that is kept until it is whole. */
export const MAX_CONTROL_PAYLOAD = 125;

/** Two bytes, a length of eight, a masking key of four. */
export const MAX_HEADER_BYTES = 14;

/** A length beyond this can't be counted down exactly. */
export const MAX_FRAME_PAYLOAD = Number.MAX_SAFE_INTEGER;

/** Payload of a frame that we send: what one read of an origin gives, and the size of the memory that frames are built in. */
export const MAX_SENT_PAYLOAD = 64 * 1024;
