/** What applies where a rule says nothing: cloudflared's values (ingress § 4). */
import type { HeaderEdits, Ingress, OriginRequestOptions, Service, WarpRouting } from "../../types.ts";

const NO_EDITS: HeaderEdits = { set: [], remove: [] };

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
  matchSNItoHost: false,
  disableChunkedEncoding: false,
  http2Origin: false,
  proxyType: "",
  ipRules: [],
  access: undefined,
  responseHeaderTimeoutMs: 0,
  idleTimeoutMs: 0,
  stripPrefix: undefined,
  addPrefix: undefined,
  requestHeaders: NO_EDITS,
  responseHeaders: NO_EDITS,
  proxyProtocol: undefined,
};

export const defaultWarpRouting: WarpRouting = { connectTimeoutMs: 5_000, tcpKeepAliveMs: 30_000, maxActiveFlows: 0 };

/** Everything goes to one service. */
export function singleService(service: Service, originRequest: OriginRequestOptions): Ingress {
  return { rules: [{ hostname: "", path: undefined, service, originRequest }], warpRouting: defaultWarpRouting };
}
