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

/** How far a dial came: HTTP/2 needs TCP, or a proxy, and then TLS; QUIC a UDP socket and then its handshake. */
export type DialPhase = "tcp" | "proxy" | "tls" | "udp" | "quic";

const DIAL_CODES: Record<DialPhase, string> = {
  tcp: "ERR_UNDERPASS_EDGE_TCP",
  proxy: "ERR_UNDERPASS_EDGE_PROXY",
  tls: "ERR_UNDERPASS_EDGE_HANDSHAKE",
  udp: "ERR_UNDERPASS_EDGE_UDP",
  quic: "ERR_UNDERPASS_EDGE_QUIC",
};

/** The edge could not be reached. */
export class DialError extends UnderpassError {
  readonly phase: DialPhase;
  readonly address: EdgeAddress;

  constructor(phase: DialPhase, address: EdgeAddress, message: string, options?: { cause?: unknown }) {
    super(DIAL_CODES[phase], message, options);
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
