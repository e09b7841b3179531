/**
 * The one validated configuration that every source (flags, environment, TOML, YAML, the library's options) ends in.
 * Plain data; connector/ runs it. Times in milliseconds.
 */
import type { RequestLogMode } from "../proxy/request-log/request-log.ts";
import type { ErrorPage, Ingress, Origin } from "../types.ts";
import type { EdgeProxyConfig } from "./edge-proxy.ts";
import type { Secret } from "./secret.ts";

/** What a tunnel token or credentials file holds (spec/wire: Tunnel credentials). */
export interface TunnelCredentials {
  readonly accountTag: string;
  readonly tunnelSecret: Secret<Uint8Array>;
  /** Canonical lower-case UUID. */
  readonly tunnelId: string;
  /** Region selector such as `fed`; undefined when absent or empty. */
  readonly endpoint: string | undefined;
}

export type EdgeIpVersion = "auto" | "4" | "6";
export type ProtocolChoice = "auto" | "quic" | "http2";

export type TunnelIdentity =
  | { readonly mode: "named"; readonly credentials: TunnelCredentials; readonly hostname: string | undefined }
  | { readonly mode: "quick"; readonly quickService: string };

export interface HealthCheckConfig {
  /** Default 30,000; 0 = no check. */
  readonly intervalMs: number;
  /** Failures in a row that restart the tunnel. Default 3. */
  readonly maxFailures: number;
  /** Path of the GET on the public hostname. Default `/`. */
  readonly path: string;
  /** Lets that GET pass Cloudflare Access. */
  readonly serviceToken: ServiceToken | undefined;
  /** Whether the origins are looked at, too. Default false. */
  readonly origins: boolean;
}

/** Of Cloudflare Access, for programs. */
export interface ServiceToken {
  readonly clientId: string;
  readonly clientSecret: Secret<string>;
}

/** Where the metrics server listens: `default` = first free port of 20241 to 20245, then any (cloudflared's rule). */
export type MetricsConfig =
  | { readonly kind: "default"; readonly host: "127.0.0.1" | "0.0.0.0" }
  | { readonly kind: "address"; readonly host: string; readonly port: number };

/** The service that Cloudflare's dashboard and `tail` reach through the tunnel. */
export interface ManagementConfig {
  /** Requests for it are the connector's own. Default `management.argotunnel.com`. */
  readonly hostname: string;
  /** Whether metrics are told. Default true. */
  readonly diagnostics: boolean;
  /** Shown in the place of this machine's name. */
  readonly label: string | undefined;
  /** `ip:port` of Cloudflare's, for finding out by which address this machine reaches it. */
  readonly serviceAddress: string;
}

export interface TunnelConfig {
  readonly identity: TunnelIdentity;
  readonly ingress: Ingress;
  readonly protocol: ProtocolChoice;
  /** `host:port` entries that replace discovery; empty = discover. */
  readonly edge: readonly string[];
  readonly region: string | undefined;
  readonly edgeIpVersion: EdgeIpVersion;
  readonly edgeBindAddress: string | undefined;
  /** Through which the edge is reached, by HTTP/2. */
  readonly edgeProxy: EdgeProxyConfig | undefined;
  /** PEM text that replaces every root for the edge. */
  readonly cacert: string | undefined;
  readonly postQuantum: boolean;
  /** QUIC keeps to datagrams that every path carries (packets of 1,280 bytes). */
  readonly quicDisablePmtuDiscovery: boolean;
  /** 1-based count; default 4, quick tunnels 1. Clamped to the number of addresses. */
  readonly haConnections: number;
  /** Failed attempts in a row before a connection is handed to the restart ladder. Default 5. */
  readonly retries: number;
  /** Default 30,000; at most 180,000. */
  readonly gracePeriodMs: number;
  /** Default 5,000. */
  readonly rpcTimeoutMs: number;
  /** Bytes that all streams may hold that their consumers have not taken yet. Default 256 MiB. */
  readonly memoryLimitBytes: number;
  /** The tunnel ends where `retries` attempts in a row have failed and no connection is registered. Default: it keeps trying. */
  readonly exitOnFailure: boolean;
  /** Directory for what is to outlive the process: the addresses of the edge that were found last. */
  readonly stateDirectory: string | undefined;
  readonly healthCheck: HealthCheckConfig;
  readonly metrics: MetricsConfig | undefined;
  /** Undefined = there is none, and the edge is told so. */
  readonly management: ManagementConfig | undefined;
  /** `Cf-Warp-Tag-<name>` headers for the origin, beside ID. */
  readonly tags: readonly { readonly name: string; readonly value: string }[];
  /** Counts before what any configuration, remote ones too, says about flows of the private network; 0 = no limit. */
  readonly maxActiveFlows: number | undefined;
  /** `ip:port` of the resolvers behind the private network's virtual DNS address; empty = this machine's. */
  readonly dnsResolvers: readonly string[];
  /** IP addresses from which the connector answers on the private network that a packet's TTL was used up; default: found out. */
  readonly icmpv4Src: string | undefined;
  readonly icmpv6Src: string | undefined;
  /** Extra feature strings for the registration. */
  readonly features: readonly string[];
  /** What rules name by `handler:<name>`, those of later configurations too. */
  readonly handlers: Readonly<Record<string, Origin>>;
  /** What visitors with a browser see when the tunnel, and not the origin, answers 502, 503 or 504. */
  readonly errorPage: ErrorPage | undefined;
  /** Of which requests lines are written, and how much. */
  readonly requestLog: RequestLogMode;
  /** Flags that somebody set, by cloudflared's names, for the edge to know. */
  readonly flags: Readonly<Record<string, string>>;
  /** Everything that somebody set, by cloudflared's names and without credentials, for diagnosis. */
  readonly settings: Readonly<Record<string, string>>;
}
