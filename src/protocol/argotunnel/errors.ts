import { UnderpassError } from "../../errors.ts";

/** A stream of the QUIC transport does not begin as one, or asks for what can't be. */
export class StreamHeadError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_STREAM_HEAD", message);
  }
}
