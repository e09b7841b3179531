/** The library's options, read into the one TunnelConfig that runs. Errors name the option. */
import { isIP } from "node:net";
import { UnderpassError } from "../errors.ts";
import { parseCredentials } from "../config/credentials.ts";
import { DEFAULT_QUICK_SERVICE, defaultTunnelConfig } from "../config/defaults.ts";
import { parseEdgeProxy } from "../config/edge-proxy.ts";
import {
  icmpSourceProblems,
  isEdgeAddress,
  parseHostPort,
  quicThroughProxy,
  regionProblem,
  resolverProblems,
} from "../config/edge-settings.ts";
import { readErrorPage } from "../config/error-page.ts";
import { parseHostname } from "../config/hostname.ts";
import { parseRouting, type Routing } from "../config/ingress-option.ts";
import { limitFlows } from "../config/limit-flows.ts";
import { collect } from "../config/problem.ts";
import { parseQuickService } from "../config/quick-service.ts";
import { Secret } from "../config/secret.ts";
import { parseToken } from "../config/token.ts";
import { REQUEST_LOG_MODES } from "../proxy/request-log/request-log.ts";
import type { MetricsConfig, TunnelConfig, TunnelCredentials, TunnelIdentity } from "../config/tunnel-config.ts";
import type { TunnelRuntime } from "./api.ts";
import { type ConnectOptions, type CredentialsInput, OPTION_NAMES } from "./connect-options.ts";
import { readHealthCheck } from "./health-options.ts";
import { readManagement } from "./management-options.ts";
import { OptionChecks } from "./option-values.ts";

/** Throws a ConfigError that tells all that is wrong, or a CredentialsError where only the credentials are. */
export function readOptions(given: ConnectOptions): { config: TunnelConfig; runtime: TunnelRuntime } {
  const checks = new OptionChecks();
  const options = checks.table("options", given ?? null, OPTION_NAMES) as unknown as ConnectOptions;
  const identity = readIdentity(options, checks);
  const fallback = defaultTunnelConfig;
  const routing = readRouting(options, identity, checks);
  const config: Omit<TunnelConfig, "identity" | "ingress" | "handlers"> = {
    ...fallback,
    protocol: checks.oneOf("protocol", options.protocol, "auto", ["auto", "quic", "http2"]),
    edge: readEdge(options.edge, checks),
    region: readRegion(options.region, identity, checks),
    ...readAddressing(options, checks),
    edgeProxy: readProxy(options, checks),
    cacert: readCacert(options.cacert, checks),
    postQuantum: checks.flag("postQuantum", options.postQuantum, false),
    quicDisablePmtuDiscovery: checks.flag("quicDisablePmtuDiscovery", options.quicDisablePmtuDiscovery, false),
    haConnections: checks.whole("haConnections", options.haConnections, identity?.mode === "quick" ? 1 : 4, 1, 64),
    retries: checks.whole("retries", options.retries, fallback.retries, 0, Number.MAX_SAFE_INTEGER),
    gracePeriodMs: checks.milliseconds("gracePeriod", options.gracePeriod, fallback.gracePeriodMs, 0, 180_000),
    rpcTimeoutMs: checks.milliseconds("rpcTimeout", options.rpcTimeout, fallback.rpcTimeoutMs, 1),
    memoryLimitBytes: checks.whole(
      "memoryLimit",
      options.memoryLimit,
      fallback.memoryLimitBytes,
      1024 * 1024,
      Number.MAX_SAFE_INTEGER,
    ),
    exitOnFailure: checks.flag("exitOnFailure", options.exitOnFailure, false),
    stateDirectory: readStateDirectory(options.stateDirectory, checks),
    healthCheck: readHealthCheck(options.healthCheck, checks),
    metrics: readMetrics(options.metrics, checks),
    management: readManagement(options.management, checks),
    tags: readTags(options.tags, checks),
    features: checks.texts("features", options.features),
    maxActiveFlows: readMaxActiveFlows(options.maxActiveFlows, checks),
    dnsResolvers: readDnsResolvers(options.dnsResolvers, checks),
    icmpv4Src: readIcmpSource("icmpv4Src", options.icmpv4Src, 4, checks),
    icmpv6Src: readIcmpSource("icmpv6Src", options.icmpv6Src, 6, checks),
    requestLog: checks.oneOf("requestLog", options.requestLog, fallback.requestLog, REQUEST_LOG_MODES),
    errorPage: collect(checks.problems, () => readPage(checks.text("errorPage", options.errorPage))),
    flags: optionFlags(options),
  };
  const runtime = readRuntime(options, checks);
  if (checks.problems.length > 0 || identity === undefined || routing === undefined) {
    throw checks.failure();
  }
  const { handlers, ingress, warnings } = routing;
  return {
    config: { ...config, identity, ingress: limitFlows(ingress, config.maxActiveFlows), handlers },
    runtime: { ...runtime, warnings },
  };
}

function readRouting(
  options: ConnectOptions,
  identity: TunnelIdentity | undefined,
  checks: OptionChecks,
): Routing | undefined {
  if (options.ingress === "remote" && identity?.mode === "quick") {
    checks.refuse("ingress", 'found "remote", but a quick tunnel has no rules at Cloudflare; origin would be right');
  }
  return collect(checks.problems, () => parseRouting(options));
}

function readMaxActiveFlows(given: number | undefined, checks: OptionChecks): number | undefined {
  return given === undefined ? undefined : checks.whole("maxActiveFlows", given, 0, 0, Number.MAX_SAFE_INTEGER);
}

function readDnsResolvers(given: unknown, checks: OptionChecks): readonly string[] {
  const resolvers = checks.texts("dnsResolvers", given);
  checks.problems.push(...resolverProblems(resolvers, "dnsResolvers"));
  return resolvers;
}

function readProxy({ edgeProxy, protocol }: ConnectOptions, checks: OptionChecks): TunnelConfig["edgeProxy"] {
  const text = checks.text("edgeProxy", edgeProxy);
  if (text === undefined) return undefined;
  if (protocol === "quic") checks.problems.push(quicThroughProxy("protocol"));
  const proxy = parseEdgeProxy(text, "edgeProxy");
  if ("kind" in proxy) return proxy;
  checks.problems.push(proxy);
  return undefined;
}

function readIcmpSource(name: string, given: unknown, family: 4 | 6, checks: OptionChecks): string | undefined {
  const source = checks.text(name, given);
  checks.problems.push(...icmpSourceProblems(source, family, name));
  return source;
}

function readPage(path: string | undefined): TunnelConfig["errorPage"] {
  return path === undefined ? undefined : readErrorPage(path, "errorPage");
}

/** What the program chose, by cloudflared's names. */
function optionFlags(options: ConnectOptions): Readonly<Record<string, string>> {
  const { edgeBindAddress, edgeIpVersion, maxActiveFlows, metrics, protocol, retries } = options;
  const flags = Object.entries({
    retries,
    protocol,
    metrics: metrics === true ? undefined : metrics,
    "edge-ip-version": edgeIpVersion,
    "edge-bind-address": edgeBindAddress,
    "max-active-flows": maxActiveFlows,
  });
  return Object.fromEntries(flags.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])));
}

function readRuntime(options: ConnectOptions, checks: OptionChecks): TunnelRuntime {
  const logger = checks.methods(
    "logger",
    options.logger,
    ["debug", "info", "warn", "error"],
    "an object with the methods debug, info, warn and error",
  );
  const signal = checks.methods("signal", options.signal, ["addEventListener"], "an AbortSignal");
  const { lookup, probe, url } = typeof options.healthCheck === "object" ? options.healthCheck : {};
  const probeUrl = url === undefined ? undefined : checks.url("healthCheck.url", url);
  if (probe !== undefined && typeof probe !== "function") checks.wrong("healthCheck.probe", probe, "a function");
  if (lookup !== undefined && typeof lookup !== "function") checks.wrong("healthCheck.lookup", lookup, "a function");
  return {
    ...(logger === undefined ? {} : { logger }),
    ...(signal === undefined ? {} : { signal }),
    ...(probe === undefined ? {} : { probe }),
    ...(probeUrl === undefined ? {} : { probeUrl }),
    ...(lookup === undefined ? {} : { probeLookup: lookup }),
  };
}

function readIdentity(options: ConnectOptions, checks: OptionChecks): TunnelIdentity | undefined {
  const { credentials } = options;
  const token = checks.text("token", options.token);
  const quick = checks.flag("quick", options.quick, options.token === undefined && credentials === undefined);
  if (options.token !== undefined && credentials !== undefined) {
    checks.refuse("credentials", "given beside token; one of them would be right");
    return undefined;
  }
  if (options.token === undefined && credentials === undefined) {
    if (!quick) checks.refuse("quick", "found false, and neither token nor credentials; one of them would be right");
    const quickService = readQuickService(options.quickService, checks);
    return quickService === undefined ? undefined : { mode: "quick", quickService };
  }
  if (quick) checks.refuse("quick", "found true beside a tunnel of your own; without it the tunnel is named");
  const hostname = readHostname(options.hostname, checks);
  const read = credentials === undefined ? token && parseTokenOf(token, checks) : readCredentials(credentials, checks);
  return read ? { mode: "named", credentials: read, hostname } : undefined;
}

function readQuickService(given: unknown, checks: OptionChecks): string | undefined {
  if (given === undefined) return DEFAULT_QUICK_SERVICE;
  const url = checks.url("quickService", given);
  if (url === undefined) return undefined;
  const service = parseQuickService(url.href, "quickService");
  if (typeof service === "string") return service;
  checks.problems.push(service);
  return undefined;
}

/** A CredentialsError says more by itself; where other options are wrong too it is told with them. */
function withCredentials<T>(checks: OptionChecks, where: string, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UnderpassError)) throw error;
    checks.refuseFor(error, where);
    return undefined;
  }
}

function parseTokenOf(token: string, checks: OptionChecks): TunnelCredentials | undefined {
  return withCredentials(checks, "token", () => parseToken(token));
}

function readCredentials(given: CredentialsInput | string, checks: OptionChecks): TunnelCredentials | undefined {
  return withCredentials(checks, "credentials", () => {
    if (typeof given === "string") return parseCredentials(given, "credentials");
    const { tunnelSecret } = given;
    const bytes = tunnelSecret instanceof Secret ? tunnelSecret.reveal() : tunnelSecret;
    const secret = bytes instanceof Uint8Array ? Buffer.from(bytes).toString("base64") : bytes;
    return parseCredentials(JSON.stringify({ ...given, tunnelSecret: secret }), "credentials");
  });
}

function readHostname(given: unknown, checks: OptionChecks): string | undefined {
  const text = checks.text("hostname", given);
  if (text === undefined) return undefined;
  const hostname = parseHostname(text);
  if (hostname === undefined) checks.wrong("hostname", text, 'a host name such as "agent.example.com"');
  return hostname;
}

/** An empty list is no wish for discovery: it would send the credentials to the public edge. */
function readEdge(given: unknown, checks: OptionChecks): readonly string[] {
  if (given === undefined) return [];
  const edge = typeof given === "string" ? given.split(",") : checks.texts("edge", given);
  if (Array.isArray(given) && given.length === 0) {
    checks.wrong("edge", given, "at least one host:port, or no option `edge` for discovery,");
  }
  for (const entry of edge) if (!isEdgeAddress(entry)) checks.wrong("edge", entry, "host:port");
  return edge;
}

function readCacert(given: unknown, checks: OptionChecks): string | undefined {
  return checks.text("cacert", given instanceof Uint8Array ? Buffer.from(given).toString("utf8") : given);
}

function readRegion(given: unknown, identity: TunnelIdentity | undefined, checks: OptionChecks): string | undefined {
  const region = checks.text("region", given);
  if (region !== undefined && identity?.mode === "named" && identity.credentials.endpoint !== undefined) {
    const { endpoint } = identity.credentials;
    checks.refuse("region", `given beside a token that has an endpoint ("${endpoint}"); leave it out`);
  }
  if (region === undefined || region === "") return undefined;
  const problem = regionProblem(region, "region");
  if (problem !== undefined) checks.refuse("region", problem.text);
  return region;
}

/** A bind address decides the IP version, as in cloudflared. */
function readAddressing(
  options: ConnectOptions,
  checks: OptionChecks,
): Pick<TunnelConfig, "edgeIpVersion" | "edgeBindAddress"> {
  const edgeIpVersion = checks.oneOf("edgeIpVersion", options.edgeIpVersion, "auto", ["auto", "4", "6"]);
  const edgeBindAddress = checks.text("edgeBindAddress", options.edgeBindAddress);
  if (edgeBindAddress === undefined) return { edgeIpVersion, edgeBindAddress };
  const family = isIP(edgeBindAddress);
  if (family === 0) checks.wrong("edgeBindAddress", edgeBindAddress, "an IP address of this machine");
  return { edgeIpVersion: family === 6 ? "6" : "4", edgeBindAddress };
}

function readStateDirectory(given: unknown, checks: OptionChecks): string | undefined {
  const directory = checks.text("stateDirectory", given);
  if (directory === "") checks.wrong("stateDirectory", directory, "the path of a directory");
  return directory;
}

function readMetrics(given: unknown, checks: OptionChecks): MetricsConfig | undefined {
  if (given === undefined) return undefined;
  if (given === true) return { kind: "default", host: "127.0.0.1" };
  if (typeof given === "number") {
    return { kind: "address", host: "127.0.0.1", port: checks.whole("metrics", given, 0, 0, 65_535) };
  }
  const address = typeof given === "string" ? parseHostPort(given) : undefined;
  if (address !== undefined) return { kind: "address", ...address };
  checks.wrong("metrics", given, 'a port, host:port such as "127.0.0.1:20241", or true');
  return undefined;
}

function readTags(given: unknown, checks: OptionChecks): TunnelConfig["tags"] {
  return Object.entries(checks.table("tags", given, undefined)).map(([name, value]) => {
    if (!/^[!#$%&'*+.^`|~\w-]+$/.test(name)) checks.wrong("tags", name, "names made of letters, digits and -");
    if (typeof value !== "string" || !/^[\x20-\x7e]*$/.test(value))
      checks.wrong(`tags.${name}`, value, "printable ASCII");
    return { name, value: String(value) };
  });
}

/** Each option must be of its default's kind; those without a default are texts, or tables that TypeScript alone checks. */
