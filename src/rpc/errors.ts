import { UnderpassError } from "../errors.ts";
import { MAX_REMOTE_TEXT } from "./limits.ts";

/**
 * - `timeout`: no answer in time.
 * - `cancelled`: the caller's signal was aborted.
 * - `exception`: the peer answered with an exception, or cancelled the call.
 * - `malformed`: an answer, or a message, that makes no sense.
 * - `limit`: more at once than an RPC connection carries.
 * - `aborted`: the peer ended the connection with a reason.
 * - `closed`: the connection is gone.
 * - `argument`: a value that can't be sent.
 */
export type RpcFault =
  | "timeout"
  | "cancelled"
  | "exception"
  | "malformed"
  | "limit"
  | "aborted"
  | "closed"
  | "argument";

const CODES: Record<RpcFault, string> = {
  timeout: "ERR_UNDERPASS_RPC_TIMEOUT",
  cancelled: "ERR_UNDERPASS_RPC_CANCELLED",
  exception: "ERR_UNDERPASS_RPC_EXCEPTION",
  malformed: "ERR_UNDERPASS_RPC_MALFORMED",
  limit: "ERR_UNDERPASS_RPC_LIMIT",
  aborted: "ERR_UNDERPASS_RPC_ABORTED",
  closed: "ERR_UNDERPASS_RPC_CLOSED",
  argument: "ERR_UNDERPASS_RPC_ARGUMENT",
};

/** A call, or the connection that it ran on, failed. Holds none of the values that a call carried. */
export class RpcError extends UnderpassError {
  readonly fault: RpcFault;

  constructor(fault: RpcFault, message: string, options?: { cause?: unknown }) {
    super(CODES[fault], message, options);
    this.fault = fault;
  }
}

/** The peer's text made fit for an error or a log line: short, on one line, and without control characters. */
export function remoteText(text: string): string {
  const short = text.length > MAX_REMOTE_TEXT ? `${text.slice(0, MAX_REMOTE_TEXT)}…` : text;
  return short.replace(/[\t\n\r]+/g, " ").replace(/[\u0000-\u001f\u007f-\u009f]/g, "\u{fffd}");
}

/** Takes whatever was thrown, and never throws itself. */
export function messageOf(error: unknown): string {
  if (error instanceof Error && typeof error.message === "string") return error.message;
  return typeof error === "string" ? error : "unknown error";
}
