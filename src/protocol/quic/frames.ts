/** Frame types (RFC 9000 § 19, RFC 9221 § 4), and in which packets each may stand (RFC 9000 § 12.4, table 3). */
import { type PacketNumberSpace, Space } from "./packet-number.ts";

export const FrameType = {
  PADDING: 0x00,
  PING: 0x01,
  ACK: 0x02,
  ACK_ECN: 0x03,
  RESET_STREAM: 0x04,
  STOP_SENDING: 0x05,
  CRYPTO: 0x06,
  NEW_TOKEN: 0x07,
  /** To 0x0f: the low bits are OFF, LEN, FIN. */
  STREAM: 0x08,
  MAX_DATA: 0x10,
  MAX_STREAM_DATA: 0x11,
  MAX_STREAMS_BIDI: 0x12,
  MAX_STREAMS_UNI: 0x13,
  DATA_BLOCKED: 0x14,
  STREAM_DATA_BLOCKED: 0x15,
  STREAMS_BLOCKED_BIDI: 0x16,
  STREAMS_BLOCKED_UNI: 0x17,
  NEW_CONNECTION_ID: 0x18,
  RETIRE_CONNECTION_ID: 0x19,
  PATH_CHALLENGE: 0x1a,
  PATH_RESPONSE: 0x1b,
  /** By the transport; 0x1d by the application. */
  CONNECTION_CLOSE: 0x1c,
  CONNECTION_CLOSE_APPLICATION: 0x1d,
  HANDSHAKE_DONE: 0x1e,
  /** 0x31 with a length. */
  DATAGRAM: 0x30,
  DATAGRAM_LENGTH: 0x31,
} as const;

/** Every type is below; a power of two. */
export const FRAME_TYPES = 64;

/** Bits of the STREAM frame's type. */
export const StreamBit = { FIN: 0x01, LEN: 0x02, OFF: 0x04 } as const;

/** Who we are. */
export type Role = "client" | "server";

/** The part of an ACK frame that loss detection needs. Reused: valid during the call that hands it over. */
export interface AckFrame {
  readonly largest: number;
  /** As on the wire, not yet scaled by the peer's ack_delay_exponent. */
  readonly delay: number;
  /** Pairs of the smallest and the largest packet number, both acknowledged; newest range first. */
  readonly ranges: Float64Array;
  /** Number of pairs. */
  readonly count: number;
}

const INITIAL = 1 << Space.initial;
const HANDSHAKE = 1 << Space.handshake;
const ONE_RTT = 1 << Space.application;
const ALL = INITIAL | HANDSHAKE | ONE_RTT;

/** Bits of the spaces in which a type may stand, by type; 0 for a type that does not exist. */
const LEGAL = new Uint8Array(FRAME_TYPES);
LEGAL.fill(ONE_RTT, FrameType.RESET_STREAM, FrameType.HANDSHAKE_DONE + 1);
LEGAL[FrameType.PADDING] = ALL;
LEGAL[FrameType.PING] = ALL;
LEGAL[FrameType.ACK] = ALL;
LEGAL[FrameType.ACK_ECN] = ALL;
LEGAL[FrameType.CRYPTO] = ALL;
LEGAL[FrameType.CONNECTION_CLOSE] = ALL;
LEGAL[FrameType.DATAGRAM] = ONE_RTT;
LEGAL[FrameType.DATAGRAM_LENGTH] = ONE_RTT;

export function isKnownFrame(type: number): boolean {
  return type < LEGAL.length && LEGAL[type] !== 0;
}

/** Whether a frame may stand in a packet of that space. */
export function isLegalIn(type: number, space: PacketNumberSpace): boolean {
  return type < LEGAL.length && ((LEGAL[type] as number) & (1 << space)) !== 0;
}

/** Whether a peer may send it to `role`: a client has neither tokens to give nor a handshake to confirm (RFC 9000 §§ 19.7, 19.20). */
export function isLegalTowards(type: number, role: Role): boolean {
  return role === "client" || (type !== FrameType.NEW_TOKEN && type !== FrameType.HANDSHAKE_DONE);
}

/** Whether it only asks about a path, and does not move a connection there (RFC 9000 § 9.1). */
export function isProbing(type: number): boolean {
  return (
    type === FrameType.PADDING ||
    type === FrameType.NEW_CONNECTION_ID ||
    type === FrameType.PATH_CHALLENGE ||
    type === FrameType.PATH_RESPONSE
  );
}

/** Of a packet, by its frames: a set of bits. */
export const PacketTrait = { ackEliciting: 1, nonProbing: 2 } as const;

/** Whether it must be acknowledged (RFC 9002 § 2). */
export function isAckEliciting(type: number): boolean {
  return type > FrameType.ACK_ECN
    ? type !== FrameType.CONNECTION_CLOSE && type !== FrameType.CONNECTION_CLOSE_APPLICATION
    : type === FrameType.PING;
}
