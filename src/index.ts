/**
 * Underpass: a Cloudflare Tunnel connector in your program.
 *
 * Importing this costs little: what a tunnel is made of is loaded by the first `connect`.
 */
import type { Tunnel } from "./connector/api.ts";
import { AbortError } from "./connector/errors.ts";
import type { ConnectOptions } from "./connector/connect-options.ts";

export { QuickTunnelError, type QuickTunnelErrorCode } from "./account/quick-tunnel.ts";
export { CredentialsError } from "./config/credentials.ts";
export type {
  AccessInput,
  DurationInput,
  HeaderEditsInput,
  IngressRuleInput,
  IpRuleInput,
  OriginRequestInput,
  RoutingOptions,
  WarpRoutingInput,
} from "./config/ingress-option.ts";
export type { OriginInput } from "./config/origin.ts";
export { ConfigError, type ConfigProblem } from "./config/problem.ts";
export type { ConnectionInfo, DegradedReport, StateChange, Tunnel, TunnelEvents } from "./connector/api.ts";
export type { TunnelState } from "./health/state.ts";
export {
  AbortError,
  ConnectionLostError,
  ControlStreamTimeoutError,
  EdgeUnreachableError,
  HealthCheckError,
  RegistrationRefusedError,
} from "./connector/errors.ts";
export type { HealthCheckOptions } from "./connector/health-options.ts";
export type { ManagementOptions } from "./connector/management-options.ts";
export type { ConnectOptions, CredentialsInput } from "./connector/connect-options.ts";
export {
  DialError,
  EdgeConnectionError,
  EdgeDiscoveryError,
  EdgeTlsError,
  NoEdgeAddressError,
} from "./edge/errors.ts";
export { UnderpassError } from "./errors.ts";
export { MetricsListenError } from "./health/server.ts";
export { Http1RequestError } from "./protocol/http1/errors.ts";
export { Http2ConnectionError } from "./protocol/http2/errors.ts";
export { Socks5Error } from "./protocol/socks5/errors.ts";
export { WebSocketError } from "./protocol/websocket/errors.ts";
export { AccessDeniedError } from "./proxy/access/errors.ts";
export { BadRequestError } from "./proxy/bad-request.ts";
export { FlowLimitError } from "./proxy/flow-limiter.ts";
export { AbandonedHandlersError } from "./proxy/in-process/abandoned-handlers.ts";
export { HandlerError, NoUpgradeHandlerError } from "./proxy/in-process/errors.ts";
export { OriginError } from "./proxy/origin-errors.ts";
export { IpRulesError } from "./proxy/socks5/errors.ts";
export { RpcError, type RpcFault } from "./rpc/errors.ts";
export type {
  FetchHandler,
  LogFields,
  Logger,
  OriginRequestOptions,
  OutcomeClass,
  RequestListener,
  RequestOutcome,
  RequestPhase,
  UpgradeListener,
} from "./types.ts";

/**
 * Opens a tunnel and resolves once its first connection has registered; the others follow within a second. From then on
 * the tunnel keeps itself up whatever the network does, until it is closed.
 *
 * ```ts
 * const tunnel = await connect({ token, origin: "http://localhost:8080" });
 * try {
 *   await yourWork();
 * } finally {
 *   await tunnel.close();
 * }
 * ```
 *
 * Rejects, with nothing left behind, with
 * - `ConfigError` or `CredentialsError`: an option, the token or the credentials are wrong;
 * - `EdgeTlsError`: `cacert` holds no certificate, or this Node.js has no post-quantum key exchange;
 * - `RegistrationRefusedError`: the edge refused the tunnel for good;
 * - `QuickTunnelError`: the service gave no quick tunnel (it is asked again as long as it can't be reached);
 * - `MetricsListenError`: the address for `metrics` can't be listened on;
 * - `AbortError`: `signal` was aborted; its reason is the error's `cause`.
 *
 * An edge that can't be reached, or a name that can't be resolved, is none of them: `connect` waits and tries again
 * until it is, or until `signal` ends it.
 */
export async function connect(options: ConnectOptions): Promise<Tunnel> {
  const [{ readOptions }, { startTunnel }] = await Promise.all([
    import("./connector/options.ts"),
    import("./connector/tunnel.ts"),
  ]);
  const { config, runtime } = readOptions(options);
  const { signal } = runtime;
  refuseAborted(signal);
  const tunnel = startTunnel(config, runtime);
  try {
    await tunnel.registered;
    refuseAborted(signal);
  } catch (error) {
    await tunnel.close({ grace: 0 });
    throw error;
  }
  return tunnel;
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortError(signal.reason);
}
