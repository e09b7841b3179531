/** The rules in effect as the edge wants to see them, for the dashboard (ingress § 6, wire § 13). */
import { serviceOf } from "../config/service.ts";
import { defaultOriginRequest, defaultWarpRouting } from "../proxy/ingress/defaults.ts";
import type { Ingress, IngressRule, OriginRequestOptions, Service, WarpRouting } from "../types.ts";

/**
 * JSON: `{"__configuration_flags"?, "ingress": [{"hostname"?, "path"?, "service", "originRequest"}], "warp-routing"}`. The
 * options of the whole are folded into each rule, and only what is not the default is there. Durations are seconds.
 */
export function localConfiguration(ingress: Ingress, flags: Readonly<Record<string, string>>): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      ...(Object.keys(flags).length === 0 ? {} : { __configuration_flags: flags }),
      ingress: ingress.rules.map(rule),
      "warp-routing": warpRouting(ingress.warpRouting),
    }),
  );
}

/**
 * What the metrics server shows as `/config`, in cloudflared's form: JSON `{"version", "config": {"ingress", "warp-routing"},
 * "lastError"?}`, with every option of each rule.
 */
export function runningConfiguration(running: {
  readonly version: number;
  readonly ingress: Ingress;
  readonly lastError: string | undefined;
}): string {
  const { ingress, lastError, version } = running;
  return JSON.stringify({
    version,
    config: {
      ingress: ingress.rules.map(({ hostname, originRequest, path, service }) => ({
        hostname,
        path: path ?? null,
        service: serviceOf(service) ?? `in-process:${service.kind}`,
        originRequest: { ...allOptions(originRequest), bastionMode: service.kind === "bastion" },
      })),
      "warp-routing": warpRouting(ingress.warpRouting),
    },
    ...(lastError === undefined ? {} : { lastError }),
  });
}

function rule({ hostname, originRequest, path, service }: IngressRule): Record<string, unknown> {
  return {
    ...(hostname === "" ? {} : { hostname }),
    ...(path === undefined ? {} : { path }),
    service: serviceText(service),
    originRequest: changedOptions(originRequest),
  };
}

/** A handler in this process has no address to name, and of several origins a rule can name one. */
function serviceText(service: Service): string {
  const named = service.kind === "failover" ? service.origins[0] : service;
  return (named && serviceOf(named)) ?? "http://localhost";
}

const DURATIONS = {
  connectTimeout: "connectTimeoutMs",
  tlsTimeout: "tlsTimeoutMs",
  tcpKeepAlive: "tcpKeepAliveMs",
  keepAliveTimeout: "keepAliveTimeoutMs",
} as const satisfies Readonly<Record<string, keyof OriginRequestOptions>>;

const VALUES = [
  "noHappyEyeballs",
  "keepAliveConnections",
  "httpHostHeader",
  "originServerName",
  "matchSNItoHost",
  "noTLSVerify",
  "disableChunkedEncoding",
  "proxyType",
  "http2Origin",
] as const satisfies readonly (keyof OriginRequestOptions)[];

/**
 * cloudflared's keys alone: the edge knows no others, and headers that a rule sets may be credentials. A CA pool is a file of
 * this machine, of which only the content is left.
 */
function changedOptions(options: OriginRequestOptions): Record<string, unknown> {
  const changed: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(DURATIONS)) {
    if (options[field] !== defaultOriginRequest[field]) changed[key] = options[field] / 1000;
  }
  for (const key of VALUES) if (options[key] !== defaultOriginRequest[key]) changed[key] = options[key];
  if (options.ipRules.length > 0) changed["ipRules"] = options.ipRules;
  if (options.access?.required === true) changed["access"] = access(options.access);
  return changed;
}

/** As cloudflared shows them, with its own empty values; without `proxyAddress` and `proxyPort`, which have no effect. */
function allOptions(options: OriginRequestOptions): Record<string, unknown> {
  return {
    ...Object.fromEntries(Object.entries(DURATIONS).map(([key, field]) => [key, options[field] / 1000])),
    ...Object.fromEntries(VALUES.map((key) => [key, options[key] ?? ""])),
    caPool: options.caPool === undefined ? "" : "PEM text",
    ipRules: options.ipRules.length === 0 ? null : options.ipRules,
    access: options.access === undefined ? { teamName: "", audTag: null } : access(options.access),
  };
}

function access({ audTag, environment, required, teamName }: NonNullable<OriginRequestOptions["access"]>) {
  return { required, teamName, audTag, ...(environment === "" ? {} : { environment }) };
}

function warpRouting({ connectTimeoutMs, maxActiveFlows, tcpKeepAliveMs }: WarpRouting): Record<string, unknown> {
  return {
    ...(connectTimeoutMs === defaultWarpRouting.connectTimeoutMs ? {} : { connectTimeout: connectTimeoutMs / 1000 }),
    ...(maxActiveFlows === defaultWarpRouting.maxActiveFlows ? {} : { maxActiveFlows }),
    ...(tcpKeepAliveMs === defaultWarpRouting.tcpKeepAliveMs ? {} : { tcpKeepAlive: tcpKeepAliveMs / 1000 }),
  };
}
