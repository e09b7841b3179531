import { UnderpassError } from "../../errors.ts";

/** Something that no datagram can carry was to be sent. What comes in is never an error: it is told apart, or dropped. */
export class DatagramError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_DATAGRAM", message);
  }
}
