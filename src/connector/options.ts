/** The library's options as the one TunnelConfig that runs. Errors name the option. */
import { isIP } from "node:net";
import { parseCredentials } from "../config/credentials.ts";
import { DEFAULT_QUICK_SERVICE, defaultTunnelConfig } from "../config/defaults.ts";
import { defaultOriginRequest, singleService } from "../proxy/ingress/defaults.ts";
import { parseHostPort } from "../config/edge-settings.ts";
import { parseHostname } from "../config/hostname.ts";
import { type OriginInput, parseOrigin } from "../config/origin.ts";
import { ConfigError, wrongValue } from "../config/problem.ts";
import { Secret } from "../config/secret.ts";
import { parseToken } from "../config/token.ts";
import type {
  EdgeIpVersion,
  HealthCheckConfig,
  MetricsConfig,
  ProtocolChoice,
  TunnelConfig,
  TunnelCredentials,
  TunnelIdentity,
} from "../config/tunnel-config.ts";
import type { Logger, OriginRequestOptions } from "../types.ts";
import type { TunnelRuntime } from "./api.ts";

/** What a credentials file holds. `tunnelSecret` is bytes, or their standard base64. */
export interface CredentialsInput {
  readonly accountTag: string;
  readonly tunnelSecret: string | Uint8Array | Secret<Uint8Array>;
  readonly tunnelId: string;
  readonly endpoint?: string | undefined;
}

export interface HealthCheckOptions {
  /** Milliseconds between two checks. Default 30,000. */
  readonly interval?: number;
  /** Failed checks in a row that restart the tunnel. Default 3. */
  readonly maxFailures?: number;
  /** Path of the GET on the public hostname. Default `/`. */
  readonly path?: string;
  /** What the GET asks for, in place of the public hostname with `path`. */
  readonly url?: string | URL;
  /** Resolver of the GET, as `net.connect` takes it. Default: the system's. */
  readonly lookup?: NonNullable<TunnelRuntime["probeLookup"]>;
  /** Replaces the GET: resolves with the answer, or rejects when there is none. */
  readonly probe?: NonNullable<TunnelRuntime["probe"]>;
}

export interface ConnectOptions {
  /** Token of a named tunnel, as the dashboard shows it. Without `token` and `credentials` a quick tunnel is opened. */
  readonly token?: string;
  /** Credentials of a named tunnel, or the text of its credentials file. */
  readonly credentials?: CredentialsInput | string;
  /** Only to say so: true asks for a quick tunnel, false refuses one. */
  readonly quick?: boolean;
  /**
   * Where requests go: a URL, `host:port`, `{ unix: path }`, an `http.Server`, `{ listener, upgrade? }`,
   * `{ fetch, upgrade? }`, or a bare function, of which one with two parameters or more is a `(req, res)` listener and
   * any other a fetch handler.
   */
  readonly origin: OriginInput;
  /** How the origin is reached; see OriginRequestOptions for the defaults. */
  readonly originRequest?: Partial<OriginRequestOptions>;
  /** Public hostname that is routed to a named tunnel: `tunnel.url`, and the health check's GET. */
  readonly hostname?: string;
  /** Default `auto`. QUIC is not there yet: `quic` warns and uses HTTP/2. */
  readonly protocol?: ProtocolChoice;
  /** `host:port` of the edge instead of discovery; one connection an entry. */
  readonly edge?: string | readonly string[];
  /** PEM text of the only authorities that the edge is verified against. */
  readonly cacert?: string;
  /** Region of the edge, such as `us`. */
  readonly region?: string;
  /** Default `auto`. */
  readonly edgeIpVersion?: EdgeIpVersion | 4 | 6;
  /** Local IP address of the connections to the edge. */
  readonly edgeBindAddress?: string;
  /** Offer the edge only post-quantum key exchange; needs Node.js 24. Default false. */
  readonly postQuantum?: boolean;
  /** Connections to the edge, 1 to 64. Default 4, quick tunnels 1. */
  readonly haConnections?: number;
  /** Failed attempts in a row before a connection waits longer. Default 5. */
  readonly retries?: number;
  /** Milliseconds that requests in progress get when the tunnel is closed, at most 180,000. Default 30,000. */
  readonly gracePeriod?: number;
  /** Milliseconds that the edge gets to answer a registration. Default 5,000. */
  readonly rpcTimeout?: number;
  /** Bytes that all requests together may hold that nobody has taken yet, from 1 MiB on. Default 256 MiB. */
  readonly memoryLimit?: number;
  /** A port on 127.0.0.1 or `host:port` of the metrics server; true = the first free port from 20241 on. Default: none. */
  readonly metrics?: number | string | true;
  /** Default: a check every 30 s; false = none. */
  readonly healthCheck?: false | HealthCheckOptions;
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

/** Throws ConfigError or CredentialsError. */
export function readOptions(options: ConnectOptions): { config: TunnelConfig; runtime: TunnelRuntime } {
  const identity = readIdentity(options);
  const health = options.healthCheck === false ? {} : (options.healthCheck ?? {});
  const { logger, signal } = options;
  const config: TunnelConfig = {
    ...defaultTunnelConfig,
    identity,
    ingress: singleService(parseOrigin(options.origin), {
      ...defaultOriginRequest,
      ...defined(options.originRequest),
    }),
    protocol: oneOf("protocol", options.protocol ?? "auto", ["auto", "quic", "http2"]),
    edge: readEdge(options.edge),
    region: readRegion(options.region, identity),
    ...readAddressing(options),
    cacert: options.cacert,
    postQuantum: options.postQuantum ?? false,
    haConnections: whole("haConnections", options.haConnections ?? (identity.mode === "quick" ? 1 : 4), 1, 64),
    retries: whole("retries", options.retries ?? defaultTunnelConfig.retries, 0, Number.MAX_SAFE_INTEGER),
    gracePeriodMs: milliseconds("gracePeriod", options.gracePeriod ?? defaultTunnelConfig.gracePeriodMs, 0, 180_000),
    rpcTimeoutMs: milliseconds("rpcTimeout", options.rpcTimeout ?? defaultTunnelConfig.rpcTimeoutMs, 1),
    memoryLimitBytes: whole(
      "memoryLimit",
      options.memoryLimit ?? defaultTunnelConfig.memoryLimitBytes,
      1024 * 1024,
      Number.MAX_SAFE_INTEGER,
    ),
    healthCheck: readHealthCheck(health, options.healthCheck === false),
    metrics: readMetrics(options.metrics),
    tags: Object.entries(options.tags ?? {}).map(([name, value]) => ({ name, value: readTag(name, value) })),
    features: options.features ?? [],
  };
  const runtime: TunnelRuntime = {
    ...(logger === undefined ? {} : { logger }),
    ...(signal === undefined ? {} : { signal }),
    ...(health.probe === undefined ? {} : { probe: health.probe }),
    ...(health.url === undefined ? {} : { probeUrl: readUrl("healthCheck.url", health.url) }),
    ...(health.lookup === undefined ? {} : { probeLookup: health.lookup }),
  };
  return { config, runtime };
}

function readIdentity(options: ConnectOptions): TunnelIdentity {
  const { credentials, quick, token } = options;
  if (token !== undefined && credentials !== undefined)
    refuse("credentials", "given beside token; one of them would be right");
  if (token === undefined && credentials === undefined) {
    if (quick === false) refuse("quick", "found false, and neither token nor credentials; one of them would be right");
    const service = options.quickService ?? DEFAULT_QUICK_SERVICE;
    const url = readUrl("quickService", service);
    return { mode: "quick", quickService: url.href.replace(/\/+$/, "") };
  }
  if (quick === true) refuse("quick", "found true beside a tunnel of your own; without it the tunnel is named");
  return {
    mode: "named",
    credentials: token === undefined ? readCredentials(credentials ?? "") : parseToken(token),
    hostname: readHostname(options.hostname),
  };
}

function readCredentials(given: CredentialsInput | string): TunnelCredentials {
  if (typeof given === "string") return parseCredentials(given, "credentials");
  const { tunnelSecret } = given;
  const bytes = tunnelSecret instanceof Secret ? tunnelSecret.reveal() : tunnelSecret;
  const secret = typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("base64");
  return parseCredentials(JSON.stringify({ ...given, tunnelSecret: secret }), "credentials");
}

function readHostname(given: string | undefined): string | undefined {
  if (given === undefined) return undefined;
  return parseHostname(given) ?? wrong("hostname", given, 'a host name such as "agent.example.com"');
}

function readEdge(given: string | readonly string[] | undefined): readonly string[] {
  const edge = typeof given === "string" ? given.split(",") : (given ?? []);
  for (const entry of edge) if (!parseHostPort(entry)?.host) wrong("edge", entry, "host:port");
  return edge;
}

function readRegion(given: string | undefined, identity: TunnelIdentity): string | undefined {
  if (given !== undefined && identity.mode === "named" && identity.credentials.endpoint !== undefined) {
    refuse("region", `given beside a token that has an endpoint ("${identity.credentials.endpoint}"); leave it out`);
  }
  return given === "" ? undefined : given;
}

/** A bind address decides the IP version, as in cloudflared. */
function readAddressing(options: ConnectOptions): Pick<TunnelConfig, "edgeIpVersion" | "edgeBindAddress"> {
  const { edgeBindAddress } = options;
  const version = oneOf("edgeIpVersion", String(options.edgeIpVersion ?? "auto"), ["auto", "4", "6"]);
  if (edgeBindAddress === undefined) return { edgeIpVersion: version, edgeBindAddress };
  const family = isIP(edgeBindAddress);
  if (family === 0) wrong("edgeBindAddress", edgeBindAddress, "an IP address of this machine");
  return { edgeIpVersion: family === 6 ? "6" : "4", edgeBindAddress };
}

function readHealthCheck(options: HealthCheckOptions, off: boolean): HealthCheckConfig {
  const fallback = defaultTunnelConfig.healthCheck;
  const path = options.path ?? fallback.path;
  if (!/^\/[\x21-\x7e]*$/.test(path)) wrong("healthCheck.path", path, "a path such as /health");
  return {
    intervalMs: off ? 0 : milliseconds("healthCheck.interval", options.interval ?? fallback.intervalMs, 1),
    maxFailures: whole("healthCheck.maxFailures", options.maxFailures ?? fallback.maxFailures, 1, 1_000_000),
    path,
  };
}

function readMetrics(given: ConnectOptions["metrics"]): MetricsConfig | undefined {
  if (given === undefined) return undefined;
  if (given === true) return { kind: "default" };
  if (typeof given === "number") {
    return { kind: "address", host: "127.0.0.1", port: whole("metrics", given, 0, 65_535) };
  }
  const address = parseHostPort(given) ?? wrong("metrics", given, 'a port, or host:port such as "127.0.0.1:20241"');
  return { kind: "address", ...address };
}

function readTag(name: string, value: string): string {
  if (!/^[!#$%&'*+.^`|~\w-]+$/.test(name)) wrong("tags", name, "names made of letters, digits and -");
  if (!/^[\x20-\x7e]*$/.test(value)) wrong(`tags.${name}`, value, "printable ASCII");
  return value;
}

function readUrl(option: string, given: string | URL): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  return wrong(option, String(given), "an http or https URL");
}

function whole(option: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  const range = high > 1e9 ? `from ${low} on` : `from ${low} to ${high}`;
  return wrong(option, value, `a whole number ${range}`);
}

/** Node's timers take 24 days. */
function milliseconds(option: string, value: number, low: number, high = 2 ** 31 - 1): number {
  if (typeof value === "number" && value >= low && value <= high) return value;
  return wrong(option, value, `milliseconds from ${low} to ${high}`);
}

function oneOf<T extends string>(option: string, value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  return found ?? wrong(option, value, choices.map((choice) => `"${choice}"`).join(", "));
}

/** Without the keys whose value is undefined, which would hide a default. */
function defined<T extends object>(values: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function wrong(option: string, found: unknown, expected: string): never {
  throw new ConfigError([wrongValue(option, found, expected)]);
}

function refuse(option: string, text: string): never {
  throw new ConfigError([{ where: option, text }]);
}
