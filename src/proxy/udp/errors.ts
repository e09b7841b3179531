import { getSystemErrorMap } from "node:util";
import { UnderpassError } from "../../errors.ts";

/** A session did not come about, or ended by an error. The message goes to the edge, in cloudflared's words. */
export class UdpSessionError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_UDP_SESSION", message, options);
  }
}

/** As Go says it, where libuv says something else. */
const GO_TEXTS: Readonly<Record<string, string>> = {
  EHOSTUNREACH: "no route to host",
  EADDRNOTAVAIL: "cannot assign requested address",
  EMFILE: "too many open files",
  EPERM: "operation not permitted",
};

function systemText(error: Error): string {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (code === undefined) return error.message;
  return GO_TEXTS[code] ?? (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? code;
}

/** In the form of Go's errors, which the edge knows: `read udp 192.0.2.1:40000->192.0.2.7:53: read: connection refused`. */
export function networkError(
  operation: "dial" | "read" | "write",
  ends: string,
  systemCall: "connect" | "read" | "write",
  cause: Error,
): UdpSessionError {
  return new UdpSessionError(`${operation} udp ${ends}: ${systemCall}: ${systemText(cause)}`, { cause });
}
