import { UnderpassError } from "../../errors.ts";
import { ErrorCode } from "./types.ts";

const NAMES = new Map<number, string>(Object.entries(ErrorCode).map(([name, code]) => [code, name]));

/** The name of an error code (RFC 9113 § 7), or its number in hex. */
function errorCodeName(code: number): string {
  return NAMES.get(code) ?? `0x${code.toString(16)}`;
}

/**
 * The connection can't go on (RFC 9113 § 5.4.1). `http2Code` goes out in the GOAWAY. Messages name the rule that was broken,
 * never what the peer sent.
 */
export class Http2ConnectionError extends UnderpassError {
  readonly http2Code: number;

  constructor(http2Code: number, message: string, options?: { cause?: unknown }) {
    // NO_ERROR is what the peer is told where it broke no rule, such as a PING that went unanswered: no name of a fault.
    const fault = http2Code === ErrorCode.NO_ERROR ? "" : `${errorCodeName(http2Code)}: `;
    super("ERR_UNDERPASS_HTTP2_CONNECTION", `${fault}${message}`, options);
    this.http2Code = http2Code;
  }
}

export function protocolError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message);
}

export function frameSizeError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message);
}

export function flowControlError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message);
}

export function streamClosedError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.STREAM_CLOSED, message);
}

export function floodError(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message);
}
