/** What went wrong with an origin, as a class that users can count and a sentence that says what to do. */
import { UnderpassError } from "../errors.ts";
import { Http1ResponseError } from "../protocol/http1/errors.ts";
import { Http2ConnectionError } from "../protocol/http2/errors.ts";
import type { OutcomeClass, RequestPhase } from "../types.ts";

type OriginErrorClass = Extract<OutcomeClass, `origin-${string}`>;

const CODES: Record<OriginErrorClass, string> = {
  "origin-refused": "ERR_UNDERPASS_ORIGIN_REFUSED",
  "origin-timeout": "ERR_UNDERPASS_ORIGIN_TIMEOUT",
  "origin-reset": "ERR_UNDERPASS_ORIGIN_RESET",
  "origin-tls": "ERR_UNDERPASS_ORIGIN_TLS",
  "origin-dns": "ERR_UNDERPASS_ORIGIN_DNS",
  "origin-protocol": "ERR_UNDERPASS_ORIGIN_PROTOCOL",
};

export class OriginError extends UnderpassError {
  readonly outcome: OriginErrorClass;
  readonly phase: RequestPhase;

  constructor(outcome: OriginErrorClass, phase: RequestPhase, message: string, cause?: unknown) {
    super(CODES[outcome], message, cause === undefined ? undefined : { cause });
    this.outcome = outcome;
    this.phase = phase;
  }
}

/** How far a connection had come. */
export type ConnectionStage = "dns" | "connect" | "tls" | "open";

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}

function isTlsFailure(code: string): boolean {
  return code.startsWith("ERR_SSL") || code.startsWith("ERR_TLS") || code === "EPROTO";
}

/** Certificate verification failures carry OpenSSL's names as codes. */
const CERTIFICATE_ADVICE =
  "set originServerName (--origin-server-name) if the certificate has another name, " +
  "caPool (--origin-ca-pool) if a private CA issued it, or noTLSVerify (--no-tls-verify) to accept it as it is";

/** An error of a socket that has not been opened yet. `where` names the address that was dialled. */
export function dialError(error: Error, stage: ConnectionStage, where: string): OriginError {
  const code = codeOf(error);
  if (stage === "dns" || code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new OriginError("origin-dns", "dns", `the origin's name in ${where} can't be resolved (${code})`, error);
  }
  if (stage === "tls") {
    if (code === "ECONNRESET") {
      return new OriginError(
        "origin-tls",
        "tls",
        `${where} closed the connection during the TLS handshake; is it plain http?`,
        error,
      );
    }
    if (code === "EPROTO" || code === "ERR_SSL_WRONG_VERSION_NUMBER") {
      return new OriginError(
        "origin-tls",
        "tls",
        `${where} does not speak TLS (${code}); would http:// be right?`,
        error,
      );
    }
    return new OriginError(
      "origin-tls",
      "tls",
      `the TLS handshake with ${where} failed (${code}); ${CERTIFICATE_ADVICE}`,
      error,
    );
  }
  switch (code) {
    case "ETIMEDOUT":
      return new OriginError("origin-timeout", "connect", `${where} did not answer the connection attempt`, error);
    case "ECONNREFUSED":
      return new OriginError(
        "origin-refused",
        "connect",
        `nothing listens on ${where}; is the service running?`,
        error,
      );
    case "ENOENT":
      return new OriginError(
        "origin-refused",
        "connect",
        `the socket ${where} does not exist; is the service running?`,
        error,
      );
    case "EACCES":
    case "EPERM":
      return new OriginError("origin-refused", "connect", `permission to connect to ${where} was denied`, error);
    case "ECONNRESET":
      return new OriginError(
        "origin-reset",
        "connect",
        `${where} reset the connection while it was being opened`,
        error,
      );
    default:
      return new OriginError(
        "origin-refused",
        "connect",
        `${where} can't be reached (${code || error.message})`,
        error,
      );
  }
}

export function connectTimeout(where: string, milliseconds: number, stage: ConnectionStage): OriginError {
  const phase = stage === "dns" ? "dns" : "connect";
  return new OriginError(
    "origin-timeout",
    phase,
    `no connection to ${where} within ${milliseconds} ms (connectTimeout)`,
  );
}

export function tlsTimeout(where: string, milliseconds: number): OriginError {
  return new OriginError(
    "origin-timeout",
    "tls",
    `no TLS handshake with ${where} within ${milliseconds} ms (tlsTimeout)`,
  );
}

/** TCP and TLS are there. @param option that sets the limit, if one does */
export function settingsTimeout(where: string, milliseconds: number, option?: string): OriginError {
  const limit = option === undefined ? `${milliseconds} ms` : `${milliseconds} ms (${option})`;
  const problem = `${where} accepted the connection, but sent no SETTINGS of HTTP/2 within ${limit}; does it speak HTTP/2?`;
  return new OriginError("origin-timeout", "connect", problem);
}

/** An error of an open connection. */
export function connectionError(error: Error, phase: RequestPhase, where: string): OriginError {
  if (error instanceof OriginError) return error;
  if (error instanceof Http1ResponseError) {
    const outcome = error.fault === "truncated" ? "origin-reset" : "origin-protocol";
    return new OriginError(outcome, phase, `${error.message} (${where})`, error);
  }
  if (error instanceof Http2ConnectionError) {
    return new OriginError("origin-protocol", phase, `HTTP/2 with ${where} failed: ${error.message}`, error);
  }
  const code = codeOf(error);
  if (code === "ETIMEDOUT")
    return new OriginError("origin-timeout", phase, `${where} stopped answering (${code})`, error);
  if (isTlsFailure(code)) return new OriginError("origin-tls", phase, `TLS with ${where} failed (${code})`, error);
  return new OriginError("origin-reset", phase, `${where} broke the connection (${code || error.message})`, error);
}
