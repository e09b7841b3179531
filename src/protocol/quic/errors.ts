import { UnderpassError } from "../../errors.ts";

/** Transport error codes (RFC 9000 § 20.1). A TLS alert is CRYPTO_ERROR + the alert's number (RFC 9001 § 4.8). */
export const TransportErrorCode = {
  NO_ERROR: 0x00,
  INTERNAL_ERROR: 0x01,
  CONNECTION_REFUSED: 0x02,
  FLOW_CONTROL_ERROR: 0x03,
  STREAM_LIMIT_ERROR: 0x04,
  STREAM_STATE_ERROR: 0x05,
  FINAL_SIZE_ERROR: 0x06,
  FRAME_ENCODING_ERROR: 0x07,
  TRANSPORT_PARAMETER_ERROR: 0x08,
  CONNECTION_ID_LIMIT_ERROR: 0x09,
  PROTOCOL_VIOLATION: 0x0a,
  INVALID_TOKEN: 0x0b,
  APPLICATION_ERROR: 0x0c,
  CRYPTO_BUFFER_EXCEEDED: 0x0d,
  KEY_UPDATE_ERROR: 0x0e,
  AEAD_LIMIT_REACHED: 0x0f,
  NO_VIABLE_PATH: 0x10,
  CRYPTO_ERROR: 0x100,
} as const;

const NAMES = new Map<number, string>(Object.entries(TransportErrorCode).map(([name, code]) => [code, name]));

/** The name of a transport error code, or its number in hex. */
export function transportErrorName(code: number): string {
  if (code > TransportErrorCode.CRYPTO_ERROR && code <= 0x1ff) return `CRYPTO_ERROR (TLS alert ${code & 0xff})`;
  return NAMES.get(code) ?? `0x${code.toString(16)}`;
}

/**
 * The connection can't go on (RFC 9000 § 11.1). `transportCode` goes out in the CONNECTION_CLOSE, with the type of the frame that
 * caused it, which the frame reader adds. Messages name the rule that was broken, never what the peer sent.
 */
export class TransportError extends UnderpassError {
  readonly transportCode: number;
  readonly reason: string;
  frameType: number | undefined;

  constructor(transportCode: number, reason: string, options?: { cause?: unknown; frameType?: number }) {
    super("ERR_UNDERPASS_QUIC_TRANSPORT", `${transportErrorName(transportCode)}: ${reason}`, options);
    this.transportCode = transportCode;
    this.reason = reason;
    this.frameType = options?.frameType;
  }
}

export function protocolViolation(reason: string): TransportError {
  return new TransportError(TransportErrorCode.PROTOCOL_VIOLATION, reason);
}

export function frameEncodingError(reason: string): TransportError {
  return new TransportError(TransportErrorCode.FRAME_ENCODING_ERROR, reason);
}

/** How a connection ended, where it was not by us closing it on purpose without an error. */
export type ConnectionEnd =
  /** We found a violation, or TLS did. */
  | "violation"
  /** The peer closed: its transport, or its application. */
  | "peer-transport"
  | "peer-application"
  /** We closed, as `close` asked. */
  | "closed"
  | "idle-timeout"
  | "handshake-timeout"
  /** The peer has lost the connection's state. */
  | "stateless-reset"
  /** The peer speaks no version that we do. */
  | "version-negotiation";

const CODES = {
  violation: "ERR_UNDERPASS_QUIC_TRANSPORT",
  "peer-transport": "ERR_UNDERPASS_QUIC_PEER_CLOSED",
  "peer-application": "ERR_UNDERPASS_QUIC_PEER_CLOSED",
  closed: "ERR_UNDERPASS_QUIC_CLOSED",
  "idle-timeout": "ERR_UNDERPASS_QUIC_IDLE_TIMEOUT",
  "handshake-timeout": "ERR_UNDERPASS_QUIC_HANDSHAKE_TIMEOUT",
  "stateless-reset": "ERR_UNDERPASS_QUIC_STATELESS_RESET",
  "version-negotiation": "ERR_UNDERPASS_QUIC_VERSION",
} as const satisfies Record<ConnectionEnd, string>;

/** Why a connection is gone. `errorCode` is what was sent or received in a CONNECTION_CLOSE, where there was one. */
export class QuicConnectionError extends UnderpassError {
  readonly end: ConnectionEnd;
  readonly errorCode: number | undefined;
  /** The peer's words, as far as they are printable; or ours. */
  readonly reason: string;

  constructor(
    end: ConnectionEnd,
    message: string,
    options: { cause?: unknown; errorCode?: number; reason?: string } = {},
  ) {
    super(CODES[end], message, options);
    this.end = end;
    this.errorCode = options.errorCode;
    this.reason = options.reason ?? "";
  }
}
