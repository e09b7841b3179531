import { UnderpassError } from "../../errors.ts";

/** AlertDescription (RFC 8446 § 6). */
export const Alert = {
  unexpectedMessage: 10,
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateExpired: 45,
  illegalParameter: 47,
  unknownCa: 48,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
  missingExtension: 109,
  unsupportedExtension: 110,
  noApplicationProtocol: 120,
} as const;

/** The handshake can't go on (RFC 8446 § 6.2). `alert` is the AlertDescription that the peer is told. */
export class TlsAlertError extends UnderpassError {
  readonly alert: number;

  constructor(alert: number, message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_TLS_ALERT", message, options);
    this.alert = alert;
  }
}
