/** The library's options. */
import type { RoutingOptions } from "../config/ingress-option.ts";
import type { Secret } from "../config/secret.ts";
import type { EdgeIpVersion, ProtocolChoice } from "../config/tunnel-config.ts";
import type { RequestLogMode } from "../proxy/request-log/request-log.ts";
import type { Logger } from "../types.ts";
import type { HealthCheckOptions } from "./health-options.ts";
import type { ManagementOptions } from "./management-options.ts";

/** What a credentials file holds. `tunnelSecret` is bytes, or their standard base64. */
export interface CredentialsInput {
  readonly accountTag: string;
  readonly tunnelSecret: string | Uint8Array | Secret<Uint8Array>;
  readonly tunnelId: string;
  readonly endpoint?: string | undefined;
}

export interface ConnectOptions extends RoutingOptions {
  /** Token of a named tunnel, as the dashboard shows it. Without `token` and `credentials` a quick tunnel is opened. */
  readonly token?: string;
  /** Credentials of a named tunnel, or the text of its credentials file. */
  readonly credentials?: CredentialsInput | string;
  /** Only to say so: true asks for a quick tunnel, false refuses one. */
  readonly quick?: boolean;
  /** Public hostname that is routed to a named tunnel: `tunnel.url`, and the health check's GET. */
  readonly hostname?: string;
  /** Default `auto`: QUIC, or HTTP/2 where UDP does not get through. */
  readonly protocol?: ProtocolChoice;
  /** `host:port` of the edge instead of discovery; one connection an entry. */
  readonly edge?: string | readonly string[];
  /** PEM text of the only authorities that the edge is verified against; bytes are taken as UTF-8. */
  readonly cacert?: string | Uint8Array;
  /** Region of the edge, such as `us`. */
  readonly region?: string;
  /** Default `auto`. */
  readonly edgeIpVersion?: EdgeIpVersion | 4 | 6;
  /** Local IP address of the connections to the edge. */
  readonly edgeBindAddress?: string;
  /** Proxy to the edge, over HTTP/2 alone: `http://[user:password@]host:port` or `socks5://…`. */
  readonly edgeProxy?: string;
  /** Offer the edge only post-quantum key exchange; over HTTP/2 it needs Node.js 24. Default false. */
  readonly postQuantum?: boolean;
  /** Keep QUIC to datagrams that every path carries (packets of 1,280 bytes). Default false. */
  readonly quicDisablePmtuDiscovery?: boolean;
  /** Connections to the edge, 1 to 64. Default 4, quick tunnels 1. */
  readonly haConnections?: number;
  /** Failed attempts in a row before a connection waits longer. Default 5. */
  readonly retries?: number;
  /** End the tunnel after `retries` failed attempts in a row while no connection is registered. Default false: it keeps trying. */
  readonly exitOnFailure?: boolean;
  /** Directory that keeps the edge's last good addresses, for a start while DNS is down. Default: none. */
  readonly stateDirectory?: string;
  /** Milliseconds that requests in progress get when the tunnel is closed, at most 180,000. Default 30,000. */
  readonly gracePeriod?: number;
  /** Milliseconds that the edge gets to answer a registration. Default 5,000. */
  readonly rpcTimeout?: number;
  /** Bytes that all requests of this tunnel together may hold that nobody has taken yet, from 1 MiB on. Default 256 MiB. */
  readonly memoryLimit?: number;
  /** A port on 127.0.0.1 or `host:port` of the metrics server; true = the first free port from 20241 on. Default: none. */
  readonly metrics?: number | string | true;
  /** The log and host details for Cloudflare's dashboard and `tail`, through the tunnel; false = none. Default: there. */
  readonly management?: false | ManagementOptions;
  /** Default: a check every 30 s; false = none. */
  readonly healthCheck?: false | HealthCheckOptions;
  /** Flows of the private network at a time, before what any configuration says; 0 = no limit. Default: what it says. */
  readonly maxActiveFlows?: number;
  /** `ip:port` of the resolvers that answer the private network's DNS queries, at most ten. Default: this machine's. */
  readonly dnsResolvers?: readonly string[];
  /** IP addresses that traceroutes through the private network see as this hop. Default: found out. */
  readonly icmpv4Src?: string;
  readonly icmpv6Src?: string;
  /** File with a page for visitors with a browser, where the tunnel itself answers 502, 503 or 504. Default: none. */
  readonly errorPage?: string;
  /** Lines of requests: none, those that failed or were cut off, each one, or each one with its headers. Default `errors`. */
  readonly requestLog?: RequestLogMode;
  /** Headers `Cf-Warp-Tag-<name>` for the origin. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Extra features to announce to the edge. */
  readonly features?: readonly string[];
  /** Service that hands out quick tunnels. Default `https://api.trycloudflare.com`. */
  readonly quickService?: string;
  /** Gets every log line as a message and fields. Default: silent. */
  readonly logger?: Logger;
  /** Aborting rejects `connect`; afterwards it closes the tunnel gracefully. */
  readonly signal?: AbortSignal;
}

/** Every option, so that a misspelt one is told. */
const NAMES: Readonly<Record<keyof ConnectOptions, true>> = {
  token: true,
  credentials: true,
  quick: true,
  origin: true,
  ingress: true,
  handlers: true,
  originRequest: true,
  warpRouting: true,
  hostname: true,
  protocol: true,
  edge: true,
  cacert: true,
  region: true,
  edgeIpVersion: true,
  edgeBindAddress: true,
  edgeProxy: true,
  postQuantum: true,
  quicDisablePmtuDiscovery: true,
  haConnections: true,
  retries: true,
  exitOnFailure: true,
  stateDirectory: true,
  gracePeriod: true,
  rpcTimeout: true,
  memoryLimit: true,
  maxActiveFlows: true,
  dnsResolvers: true,
  icmpv4Src: true,
  icmpv6Src: true,
  errorPage: true,
  requestLog: true,
  metrics: true,
  management: true,
  healthCheck: true,
  tags: true,
  features: true,
  quickService: true,
  logger: true,
  signal: true,
};

export const OPTION_NAMES: readonly string[] = Object.keys(NAMES);
