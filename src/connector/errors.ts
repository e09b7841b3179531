/** What ends an attempt to connect, or a tunnel. */
import { UnderpassError } from "../errors.ts";

/** The edge answered the registration with a ConnectionError (wire § 9.6). */
export class RegistrationRefusedError extends UnderpassError {
  /** The edge's own words. */
  readonly reason: string;
  readonly shouldRetry: boolean;
  /** What the edge asked to wait, in milliseconds; 0 = nothing. */
  readonly retryAfterMs: number;

  constructor(reason: string, shouldRetry: boolean, retryAfterMs: number) {
    super(
      "ERR_UNDERPASS_REGISTRATION_REFUSED",
      `the edge refused to register the connection: ${reason === "" ? "it gave no reason" : reason}`,
    );
    this.reason = reason;
    this.shouldRetry = shouldRetry;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Neither transport reaches the edge. */
export class EdgeUnreachableError extends UnderpassError {
  readonly quic: Error;
  readonly http2: Error;

  constructor(quic: Error, http2: Error) {
    super("ERR_UNDERPASS_EDGE_UNREACHABLE", `${http2.message}; QUIC: ${quic.message}`, { cause: http2 });
    this.quic = quic;
    this.http2 = http2;
  }
}

/** The edge accepted the connection but never opened its control stream. */
export class ControlStreamTimeoutError extends UnderpassError {
  constructor(timeoutMs: number) {
    super(
      "ERR_UNDERPASS_CONTROL_STREAM_TIMEOUT",
      `the edge opened no control stream within ${timeoutMs / 1000} s of the connection`,
    );
  }
}

/** A registered connection ended, or its control stream did. */
export class ConnectionLostError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_CONNECTION_LOST", message, options);
  }
}

/** The health check failed often enough for a restart. */
export class HealthCheckError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_HEALTH_CHECK", message);
  }
}

/** The tunnel was closed, by its signal or by `close`, before it was registered. */
export class AbortError extends UnderpassError {
  constructor(cause?: unknown) {
    super("ERR_UNDERPASS_ABORTED", "the tunnel was closed before it was registered", { cause });
  }
}

export function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value));
}
