/** What applies when nobody chooses otherwise: cloudflared's values (operations § 2). */
import type { OriginRequestOptions } from "../types.ts";
import type { TunnelConfig } from "./tunnel-config.ts";

export const DEFAULT_QUICK_SERVICE = "https://api.trycloudflare.com";
export const DEFAULT_HA_CONNECTIONS = 4;

export const defaultOriginRequest: OriginRequestOptions = {
  connectTimeoutMs: 30_000,
  tlsTimeoutMs: 10_000,
  tcpKeepAliveMs: 30_000,
  noHappyEyeballs: false,
  keepAliveConnections: 100,
  keepAliveTimeoutMs: 90_000,
  httpHostHeader: undefined,
  originServerName: undefined,
  caPool: undefined,
  noTLSVerify: false,
};

/** A configuration without its identity and origin, for four connections. */
export const defaultTunnelConfig: Omit<TunnelConfig, "identity" | "origin"> = {
  originRequest: defaultOriginRequest,
  protocol: "auto",
  edge: [],
  region: undefined,
  edgeIpVersion: "auto",
  edgeBindAddress: undefined,
  cacert: undefined,
  postQuantum: false,
  haConnections: DEFAULT_HA_CONNECTIONS,
  retries: 5,
  gracePeriodMs: 30_000,
  rpcTimeoutMs: 5000,
  memoryLimitBytes: 256 * 1024 * 1024,
  healthCheck: { intervalMs: 30_000, maxFailures: 3, path: "/" },
  metrics: undefined,
  tags: [],
  features: [],
};
