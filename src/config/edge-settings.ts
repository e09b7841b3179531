/** The settings of the connections to the edge, and of what stands around them, checked. */
import { isIP, isIPv6 } from "node:net";
import { REQUEST_LOG_MODES, type RequestLogMode } from "../proxy/request-log/request-log.ts";
import { defaultTunnelConfig } from "./defaults.ts";
import { type EdgeProxyConfig, parseEdgeProxy } from "./edge-proxy.ts";
import { expandHome, readTextFile } from "./files.ts";
import type { Environment } from "./interpolate.ts";
import type { MergedSettings } from "./merged.ts";
import { collect, type ConfigProblem, wrongValue } from "./problem.ts";
import type { EdgeIpVersion, MetricsConfig, ProtocolChoice, TunnelConfig } from "./tunnel-config.ts";

/** Collects what is wrong, so that all of it is reported at once. */
export interface Findings {
  readonly problems: ConfigProblem[];
  readonly warnings: string[];
}

export function readProtocol(settings: MergedSettings, { problems, warnings }: Findings): ProtocolChoice {
  const chosen = settings.get("protocol");
  if (chosen === undefined) return defaultTunnelConfig.protocol;
  switch (chosen.value) {
    case "auto":
    case "http2":
    case "quic":
      return chosen.value;
    case "h2mux":
      warnings.push(`${chosen.where}: h2mux is gone: using HTTP/2`);
      return "http2";
    default:
      problems.push(wrongValue(chosen.where, chosen.value, '"auto", "quic" or "http2"'));
      return "auto";
  }
}

/** A bind address decides the IP version, as in cloudflared; a contradiction is only a warning. */
export function readEdgeAddressing(
  settings: MergedSettings,
  { problems, warnings }: Findings,
): { edgeIpVersion: EdgeIpVersion; edgeBindAddress: string | undefined } {
  const version = settings.get("edge-ip-version");
  const bind = settings.get("edge-bind-address");
  let edgeIpVersion: EdgeIpVersion = "auto";
  if (version?.value === "4" || version?.value === "6" || version?.value === "auto") edgeIpVersion = version.value;
  else if (version !== undefined) problems.push(wrongValue(version.where, version.value, '"auto", 4 or 6'));
  if (bind === undefined) return { edgeIpVersion, edgeBindAddress: undefined };
  const address = String(bind.value);
  if (isIP(address) === 0) problems.push(wrongValue(bind.where, address, "an IP address of this machine"));
  const ofAddress = isIPv6(address) ? "6" : "4";
  if (edgeIpVersion !== "auto" && edgeIpVersion !== ofAddress) {
    warnings.push(`Overriding edge-ip-version ${edgeIpVersion}: ${bind.where} is an IPv${ofAddress} address`);
  }
  return { edgeIpVersion: ofAddress, edgeBindAddress: address };
}

export function readEdgeProxy(settings: MergedSettings, { problems }: Findings): EdgeProxyConfig | undefined {
  const chosen = settings.get("edge-proxy");
  if (chosen === undefined) return undefined;
  const proxy = parseEdgeProxy(String(chosen.value), chosen.where);
  const protocol = settings.get("protocol");
  if (protocol?.value === "quic") problems.push(quicThroughProxy(protocol.where));
  if ("kind" in proxy) return proxy;
  problems.push(proxy);
  return undefined;
}

export function quicThroughProxy(where: string): ConfigProblem {
  return {
    where,
    text: 'found "quic" beside an edge proxy, which carries TCP alone; "auto" or "http2" would be right',
  };
}

export function readEdgeList(settings: MergedSettings, { problems }: Findings): readonly string[] {
  const edge = settings.list("edge");
  for (const entry of edge) {
    if (isEdgeAddress(entry)) continue;
    problems.push(wrongValue(settings.get("edge")?.where ?? "", entry, "host:port"));
  }
  return edge;
}

/** A part of a DNS name (RFC 1035 § 2.3.1), as which it is asked for; what follows it in the same label takes 20 characters. */
const REGION = /^[a-z\d](?:[a-z\d-]{0,40}[a-z\d])?$/;

export function regionProblem(region: string, where: string): ConfigProblem | undefined {
  return REGION.test(region) ? undefined : wrongValue(where, region, 'a region in lower case, such as "us", or none');
}

export function readRegion(settings: MergedSettings, { problems }: Findings): string | undefined {
  const region = settings.string("region");
  const problem = region === undefined ? undefined : regionProblem(region, settings.get("region")?.where ?? "");
  if (problem !== undefined) problems.push(problem);
  return region;
}

/** Something can be dialled there: both a host and a port that is not 0. */
export function isEdgeAddress(text: string): boolean {
  const address = parseHostPort(text);
  return address !== undefined && address.host !== "" && address.port > 0;
}

/** An IPv6 one may name its interface (`fe80::1%eth0`). */
export function readIcmpSources(
  settings: MergedSettings,
  { problems }: Findings,
): Pick<TunnelConfig, "icmpv4Src" | "icmpv6Src"> {
  const icmpv4Src = settings.string("icmpv4-src");
  const icmpv6Src = settings.string("icmpv6-src");
  problems.push(
    ...icmpSourceProblems(icmpv4Src, 4, settings.get("icmpv4-src")?.where ?? ""),
    ...icmpSourceProblems(icmpv6Src, 6, settings.get("icmpv6-src")?.where ?? ""),
  );
  return { icmpv4Src, icmpv6Src };
}

export function icmpSourceProblems(source: string | undefined, family: 4 | 6, where: string): readonly ConfigProblem[] {
  if (source === undefined || isIP(source) === family) return [];
  return [wrongValue(where, source, `an IPv${family} address of this machine`)];
}

/** What cloudflared takes. */
const MAX_RESOLVERS = 10;

export function readResolvers(settings: MergedSettings, { problems }: Findings): readonly string[] {
  const resolvers = settings.list("dns-resolver-addrs");
  problems.push(...resolverProblems(resolvers, settings.get("dns-resolver-addrs")?.where ?? ""));
  return resolvers;
}

export function resolverProblems(resolvers: readonly string[], where: string): readonly ConfigProblem[] {
  const problems = resolvers
    .filter((entry) => !isIpPort(entry))
    .map((entry) => wrongValue(where, entry, "ip:port, IPv6 in brackets,"));
  if (resolvers.length <= MAX_RESOLVERS) return problems;
  return [...problems, { where, text: `found ${resolvers.length} resolvers; at most ${MAX_RESOLVERS} would be right` }];
}

/** `ip:port`, IPv6 in brackets. */
export function isIpPort(text: string): boolean {
  const address = parseHostPort(text);
  return address !== undefined && isIP(address.host) !== 0 && address.port > 0;
}

/** `host:port`, IPv6 in brackets; the host may be empty, which is every address. */
export function parseHostPort(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([\da-f:.]+(?:%[\w.-]+)?)\]|([^:[\]\s/]*)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || !(port <= 65_535) || (match[1] !== undefined && !isIPv6(match[1]))) return undefined;
  return { host: match[1] ?? match[2] ?? "", port };
}

export function readMetrics(
  settings: MergedSettings,
  fallback: MetricsConfig | undefined,
  { problems }: Findings,
): MetricsConfig | undefined {
  const chosen = settings.get("metrics");
  if (chosen === undefined) return fallback;
  if (chosen.value === "off") return undefined;
  const address = parseHostPort(String(chosen.value));
  if (address !== undefined) return { kind: "address", ...address };
  problems.push(wrongValue(chosen.where, chosen.value, 'host:port such as "127.0.0.1:20241", or off'));
  return fallback;
}

export function readRequestLog(settings: MergedSettings, { problems }: Findings): RequestLogMode {
  const chosen = settings.get("request-log");
  const mode = REQUEST_LOG_MODES.find((one) => one === chosen?.value);
  if (chosen === undefined || mode !== undefined) return mode ?? defaultTunnelConfig.requestLog;
  problems.push(wrongValue(chosen.where, chosen.value, '"off", "errors", "summary" or "headers"'));
  return defaultTunnelConfig.requestLog;
}

export function readTags(settings: MergedSettings, { problems }: Findings): TunnelConfig["tags"] {
  return settings.list("tag").map((tag) => {
    // Key: a header token; value: printable ASCII (operations § 2.1).
    const match = /^([!#$%&'*+.^`|~\w-]+)=([\x20-\x7e]*)$/.exec(tag);
    if (match === null) problems.push(wrongValue(settings.get("tag")?.where ?? "", tag, "KEY=VALUE"));
    return { name: match?.[1] ?? "", value: match?.[2] ?? "" };
  });
}

/** Where nobody names one, that of the systemd unit (systemd.exec, StateDirectory=), which may have several. */
export function readStateDirectory(settings: MergedSettings, env: Environment): string | undefined {
  const chosen = settings.string("state-directory");
  if (chosen !== undefined) return expandHome(chosen, env);
  return env["STATE_DIRECTORY"]?.split(":").find((path) => path.startsWith("/"));
}

/** Text of the PEM file that a setting names. */
export function readPem(
  settings: MergedSettings,
  name: string,
  env: Environment,
  { problems }: Findings,
): string | undefined {
  const chosen = settings.get(name);
  if (chosen === undefined) return undefined;
  const path = expandHome(String(chosen.value), env);
  const text = collect(problems, () => readTextFile(path, chosen.where));
  if (text !== undefined && !text.includes("-----BEGIN CERTIFICATE-----")) {
    problems.push({
      where: chosen.where,
      text: `${path} holds no certificate; a PEM file of authorities would be right`,
    });
  }
  return text;
}
