/** Every bound of the datagram codecs (wire § 6, § 7): all are the protocol's own, and what is beyond them is dropped. */

/** One UDP payload, either way. A larger one of an origin would not fit into a QUIC packet of the smallest usual path. */
export const MAX_UDP_PAYLOAD_BYTES = 1280;

/** One IP packet with ICMP in it: the smallest MTU of IPv6 (RFC 8200 § 5). */
export const MAX_ICMP_PACKET_BYTES = 1280;

/** The text of a registration response, version 3. */
export const MAX_RESPONSE_TEXT_BYTES = 1260;

/** What an ICMP error quotes, so that the packet stays within 576 bytes on IPv4 (RFC 1812 § 4.3.2.3)… */
export const MAX_QUOTED_BYTES_V4 = 576 - 20 - 8;

/** … and within 1280 on IPv6 (RFC 4443 § 2.4 c). */
export const MAX_QUOTED_BYTES_V6 = 1280 - 40 - 8;
