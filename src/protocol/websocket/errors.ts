import { UnderpassError } from "../../errors.ts";

/** Of a Close frame (RFC 6455 § 7.4.1). */
export const CloseCode = {
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  invalidPayload: 1007,
  policyViolation: 1008,
  tooBig: 1009,
  internalError: 1011,
} as const;

/** The peer broke RFC 6455. Messages name the rule, never a payload. */
export class WebSocketError extends UnderpassError {
  /** What the Close frame says. */
  readonly closeCode: number;

  constructor(closeCode: number, message: string) {
    super("ERR_UNDERPASS_WEBSOCKET", message);
    this.closeCode = closeCode;
  }
}
