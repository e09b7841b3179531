import { UnderpassError } from "../../errors.ts";

/** The handshake can't go on (RFC 8446 § 6.2). `alert` is the AlertDescription that the peer is told. */
export class TlsAlertError extends UnderpassError {
  readonly alert: number;

  constructor(alert: number, message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_TLS_ALERT", message, options);
    this.alert = alert;
  }
}
