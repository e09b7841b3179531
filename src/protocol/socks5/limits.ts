/** Every bound of the SOCKS5 codec: a client can make it keep one message, never more. */

/** Version, number of methods, 255 methods. */
export const MAX_GREETING_BYTES = 2 + 255;

/** Version, command, reserved, address type, length, a name of 255 bytes, port. */
export const MAX_REQUEST_BYTES = 5 + 255 + 2;
