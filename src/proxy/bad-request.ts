import { UnderpassError } from "../errors.ts";

/** The edge asks for something that no origin can be asked: the request itself is at fault. */
export class BadRequestError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_BAD_REQUEST", message);
  }
}
