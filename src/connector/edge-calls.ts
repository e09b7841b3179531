/** What the edge asks of a QUIC connection beside requests (wire §§ 5.5 to 8): UDP sessions, ICMP, a new configuration. */
import type { RpcMetrics } from "../health/rpc-metrics.ts";
import type { DatagramConnection, DatagramProxy } from "../proxy/datagrams.ts";
import { createCloudflaredClient } from "../rpc/cloudflared-client.ts";
import { type CloudflaredHandlers, serveCloudflared } from "../rpc/cloudflared-server.ts";
import type { ByteChannel, EdgeConnection } from "../types.ts";
import { ConnectionLostError } from "./errors.ts";

/** How long the edge may take to hear that a session has ended. */
const UNREGISTER_SESSION_TIMEOUT_MS = 5_000;

export interface EdgeCallsOptions {
  readonly datagrams: DatagramProxy;
  /** Of the datagrams, as it is registered. */
  readonly version: 2 | 3;
  readonly updateConfiguration: CloudflaredHandlers["updateConfiguration"];
  readonly metrics: RpcMetrics;
  /** The life of a stream on which the edge calls. */
  readonly rpcTimeoutMs: number;
}

/** Serves them until the connection is gone. HTTP/2 has none of them. */
export function serveEdgeCalls(edge: EdgeConnection, options: EdgeCallsOptions): void {
  if (edge.datagrams === undefined) return;
  const { datagrams, metrics, version, updateConfiguration, rpcTimeoutMs } = options;
  const sessions = datagrams.attach(edge.connIndex, edge.datagrams, version, {
    unregisterUdpSession: (sessionId, message) =>
      metrics.called("unregister_udp_session", () => unregister(edge, sessionId, message)),
  });
  void edge.closed.then(() => sessions.close());
  const handlers = handlersOf(sessions, updateConfiguration, metrics);
  edge.onRpc = (channel) => serve(channel, handlers, rpcTimeoutMs);
}

function handlersOf(
  sessions: DatagramConnection,
  updateConfiguration: CloudflaredHandlers["updateConfiguration"],
  metrics: RpcMetrics,
): CloudflaredHandlers {
  return {
    registerUdpSession: (request) =>
      metrics.served("register_udp_session", async () => {
        await sessions.registerUdpSession(request);
        // No trace spans.
        return new Uint8Array(0);
      }),
    unregisterUdpSession: (sessionId, message) =>
      metrics.served("unregister_udp_session", () => sessions.unregisterUdpSession(sessionId, message)),
    updateConfiguration: (version, config, signal) =>
      metrics.served("update_configuration", () => updateConfiguration(version, config, signal)),
  };
}

function serve(channel: ByteChannel, handlers: CloudflaredHandlers, rpcTimeoutMs: number): void {
  const server = serveCloudflared(channel, handlers);
  const timer = setTimeout(() => server.close(), rpcTimeoutMs);
  void server.ended.then(() => clearTimeout(timer));
}

async function unregister(edge: EdgeConnection, sessionId: string, message: string): Promise<void> {
  const channel = edge.openRpc?.();
  if (channel === undefined) throw new ConnectionLostError("the edge takes no further stream on this connection");
  const client = createCloudflaredClient(channel);
  try {
    await client.unregisterUdpSession(sessionId, message, { timeoutMs: UNREGISTER_SESSION_TIMEOUT_MS });
  } finally {
    client.close();
  }
}
