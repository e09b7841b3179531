import { UnderpassError } from "../../errors.ts";

/** `malformed` = no Cap'n Proto message of the kind expected; `limit` = larger, or costlier to read, than any real one. */
export type CapnpFault = "malformed" | "limit";

const CODES: Record<CapnpFault, string> = {
  malformed: "ERR_UNDERPASS_CAPNP_MALFORMED",
  limit: "ERR_UNDERPASS_CAPNP_LIMIT",
};

/** The only error that leaves the codec. Messages name the place and the numbers, never content. */
export class CapnpError extends UnderpassError {
  readonly fault: CapnpFault;

  constructor(fault: CapnpFault, message: string) {
    super(CODES[fault], message);
    this.fault = fault;
  }
}

export function malformed(message: string): CapnpError {
  return new CapnpError("malformed", message);
}

export function overLimit(message: string): CapnpError {
  return new CapnpError("limit", message);
}
