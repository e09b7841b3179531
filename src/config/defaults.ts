/** What applies when nobody chooses otherwise: cloudflared's values (operations § 2). */
import type { ManagementConfig, TunnelConfig } from "./tunnel-config.ts";

export const DEFAULT_QUICK_SERVICE = "https://api.trycloudflare.com";
export const DEFAULT_HA_CONNECTIONS = 4;

export const DEFAULT_MANAGEMENT: ManagementConfig = {
  hostname: "management.argotunnel.com",
  diagnostics: true,
  label: undefined,
  serviceAddress: "198.41.200.113:80",
};

/** A configuration without its identity and ingress, for four connections. */
export const defaultTunnelConfig: Omit<TunnelConfig, "identity" | "ingress"> = {
  protocol: "auto",
  edge: [],
  region: undefined,
  edgeIpVersion: "auto",
  edgeBindAddress: undefined,
  edgeProxy: undefined,
  cacert: undefined,
  postQuantum: false,
  quicDisablePmtuDiscovery: false,
  haConnections: DEFAULT_HA_CONNECTIONS,
  retries: 5,
  gracePeriodMs: 30_000,
  rpcTimeoutMs: 5000,
  memoryLimitBytes: 256 * 1024 * 1024,
  exitOnFailure: false,
  stateDirectory: undefined,
  healthCheck: { intervalMs: 30_000, maxFailures: 3, path: "/", serviceToken: undefined, origins: false },
  metrics: undefined,
  management: DEFAULT_MANAGEMENT,
  tags: [],
  maxActiveFlows: undefined,
  dnsResolvers: [],
  icmpv4Src: undefined,
  icmpv6Src: undefined,
  features: [],
  handlers: {},
  errorPage: undefined,
  requestLog: "errors",
  flags: {},
  settings: {},
};
