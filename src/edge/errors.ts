/** What keeps a connection to the edge from coming about, or ends it. */
import { UnderpassError } from "../errors.ts";
import type { EdgeAddress } from "../types.ts";

/** What is wrong with the TLS settings for the edge. */
export class EdgeTlsError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_EDGE_TLS", message, options);
  }
}

/** The edge can't be found. */
export class EdgeDiscoveryError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_EDGE_DISCOVERY", message, options);
  }
}

/** No address of the edge fits the settings, or all are taken. */
export class NoEdgeAddressError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_NO_EDGE_ADDRESS", message);
  }
}

/** The edge could not be reached. */
export class DialError extends UnderpassError {
  readonly phase: "tcp" | "tls";
  readonly address: EdgeAddress;

  constructor(phase: "tcp" | "tls", address: EdgeAddress, message: string, options?: { cause?: unknown }) {
    super(phase === "tcp" ? "ERR_UNDERPASS_EDGE_TCP" : "ERR_UNDERPASS_EDGE_HANDSHAKE", message, options);
    this.phase = phase;
    this.address = address;
  }
}

/** The connection to the edge ended, or broke the protocol. */
export class EdgeConnectionError extends UnderpassError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("ERR_UNDERPASS_EDGE_CONNECTION", message, options);
  }
}
