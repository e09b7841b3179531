import { UnderpassError } from "../../errors.ts";

/** The client asked for something that is not served, or does not speak SOCKS5. Messages never hold what it sent. */
export class Socks5Error extends UnderpassError {
  /** What the client is told before the end; undefined where it would not understand it. */
  readonly answer: Buffer | undefined;

  constructor(message: string, answer: Buffer | undefined) {
    super("ERR_UNDERPASS_SOCKS5", message);
    this.answer = answer;
  }
}
