import { UnderpassError } from "../../errors.ts";

/** What a response did wrong. `truncated` = the origin closed the connection in the middle. */
export type Http1Fault = "malformed" | "limit" | "truncated";

const CODES: Record<Http1Fault, string> = {
  malformed: "ERR_UNDERPASS_HTTP1_MALFORMED",
  limit: "ERR_UNDERPASS_HTTP1_LIMIT",
  truncated: "ERR_UNDERPASS_HTTP1_TRUNCATED",
};

/** The origin's response can't be taken as HTTP/1.1. Messages name the part, never its content. */
export class Http1ResponseError extends UnderpassError {
  readonly fault: Http1Fault;

  constructor(fault: Http1Fault, message: string) {
    super(CODES[fault], message);
    this.fault = fault;
  }
}

/** A request can't be written as HTTP/1.1 without changing its meaning. */
export class Http1RequestError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_HTTP1_REQUEST", message);
  }
}

export function malformed(message: string): Http1ResponseError {
  return new Http1ResponseError("malformed", message);
}
