/** The local configuration as the edge wants to see it, for the dashboard (wire § 13). */
import { defaultTunnelConfig } from "../config/defaults.ts";
import { defaultOriginRequest } from "../proxy/ingress/defaults.ts";
import { serviceOf } from "../config/service.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { OriginRequestOptions } from "../types.ts";

/** JSON: `{"__configuration_flags"?, "ingress": [{"service", "originRequest"}], "warp-routing": {}}`. */
export function localConfiguration(config: TunnelConfig): Uint8Array {
  const flags = configurationFlags(config);
  return Buffer.from(
    JSON.stringify({
      ...(Object.keys(flags).length === 0 ? {} : { __configuration_flags: flags }),
      ingress: config.ingress.rules.map(({ hostname, path, service, originRequest }) => ({
        ...(hostname === "" ? {} : { hostname }),
        ...(path === undefined ? {} : { path }),
        // A handler in this process has no address to name.
        service: serviceOf(service) ?? "http://localhost",
        originRequest: changedOptions(originRequest),
      })),
      "warp-routing": {},
    }),
  );
}

/** Flags that somebody set, by cloudflared's names. */
function configurationFlags(config: TunnelConfig): Record<string, string> {
  const { edgeBindAddress, edgeIpVersion, protocol, retries } = config;
  return {
    ...(retries === defaultTunnelConfig.retries ? {} : { retries: String(retries) }),
    ...(protocol === defaultTunnelConfig.protocol ? {} : { protocol }),
    ...(edgeIpVersion === defaultTunnelConfig.edgeIpVersion ? {} : { "edge-ip-version": edgeIpVersion }),
    ...(edgeBindAddress === undefined ? {} : { "edge-bind-address": edgeBindAddress }),
  };
}

/** Only what differs from the defaults; durations in whole seconds. A CA pool is a file of this machine: it stays here. */
function changedOptions(options: OriginRequestOptions): Record<string, unknown> {
  const changed: Record<string, unknown> = {};
  const seconds = (
    key: string,
    field: "connectTimeoutMs" | "tlsTimeoutMs" | "tcpKeepAliveMs" | "keepAliveTimeoutMs",
  ) => {
    if (options[field] !== defaultOriginRequest[field]) changed[key] = Math.round(options[field] / 1000);
  };
  seconds("connectTimeout", "connectTimeoutMs");
  seconds("tlsTimeout", "tlsTimeoutMs");
  seconds("tcpKeepAlive", "tcpKeepAliveMs");
  seconds("keepAliveTimeout", "keepAliveTimeoutMs");
  if (options.noHappyEyeballs) changed.noHappyEyeballs = true;
  if (options.noTLSVerify) changed.noTLSVerify = true;
  if (options.keepAliveConnections !== defaultOriginRequest.keepAliveConnections) {
    changed.keepAliveConnections = options.keepAliveConnections;
  }
  if (options.httpHostHeader !== undefined) changed.httpHostHeader = options.httpHostHeader;
  if (options.originServerName !== undefined) changed.originServerName = options.originServerName;
  return changed;
}
