import { UnderpassError } from "../../../errors.ts";

/** A header block that RFC 7541 does not allow. The connection can't go on: COMPRESSION_ERROR (RFC 9113 § 4.3). */
export class HpackError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_HPACK", message);
  }
}
