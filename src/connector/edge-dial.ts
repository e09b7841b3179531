/** How connections reach the edge: by the transport that the configuration names, or by whichever of the two gets through. */
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { AddressTokens } from "../edge/address-tokens.ts";
import { edgeProxyOf, environmentEdgeProxy } from "../config/edge-proxy.ts";
import { DatagramSizes } from "../edge/datagram-sizes.ts";
import { DialError } from "../edge/errors.ts";
import { dialHttp2 } from "../edge/http2.ts";
import type { EdgeProxy } from "../edge/proxy-socket.ts";
import { assertTrust, createEdgeTls, hasPostQuantumTls } from "../edge/tls.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import type { Environment } from "../proxy/environment-proxy.ts";
import type { EdgeConnection, EdgeProtocol, Logger } from "../types.ts";
import { type Dial, type DialAttempt, ProtocolDialer } from "./protocol-dialer.ts";

export interface EdgeDial {
  readonly dial: Dial;
  /** What a connection takes first. */
  readonly initialProtocol: EdgeProtocol;
  /** Where there is a choice. */
  readonly choice: ProtocolDialer | undefined;
}

type DialConfig = Pick<
  TunnelConfig,
  "cacert" | "edgeBindAddress" | "edgeProxy" | "postQuantum" | "protocol" | "quicDisablePmtuDiscovery"
>;

/** Throws EdgeTlsError for a bad `cacert`, or where post-quantum key exchange is wanted of a transport that can't have it here. */
export function createEdgeDial(
  config: DialConfig,
  budget: MemoryBudget,
  logger: Logger,
  env: Environment = process.env,
  isQuicWithdrawn: () => boolean = () => false,
): EdgeDial {
  const { cacert, postQuantum } = config;
  const http2 = http2Dial(config, budget, logger, env);
  const protocol = transportOf(config, logger);
  if (protocol === "http2") {
    createEdgeTls({ cacert, postQuantum });
    return { dial: http2, initialProtocol: "http2", choice: undefined };
  }
  assertTrust(cacert);
  const quic = quicDial(config, budget, logger);
  if (protocol === "quic") return { dial: quic, initialProtocol: "quic", choice: undefined };
  const choice = new ProtocolDialer({ dials: { quic, http2 }, logger, isQuicWithdrawn });
  return { dial: (attempt) => choice.dial(attempt), initialProtocol: "quic", choice };
}

function transportOf({ edgeProxy, postQuantum, protocol }: DialConfig, logger: Logger): DialConfig["protocol"] {
  if (edgeProxy !== undefined) {
    logger.info(`Reaching the edge through the proxy at ${edgeProxy.host}:${edgeProxy.port}, over HTTP/2`);
    return "http2";
  }
  if (protocol !== "auto" || !postQuantum || hasPostQuantumTls()) return protocol;
  logger.info(
    `post-quantum: this Node.js (${process.version}) has it for QUIC alone, Node.js 24 for HTTP/2 too: using QUIC`,
  );
  return "quic";
}

/**
 * A proxy that the owner names is always used. One that the environment names for HTTPS is meant for browsers and the like: it
 * is tried only where the edge can't be reached without it, and from then on first.
 */
function http2Dial(
  { cacert, edgeBindAddress, edgeProxy, postQuantum }: DialConfig,
  budget: MemoryBudget,
  logger: Logger,
  env: Environment,
): Dial {
  const bind = edgeBindAddress === undefined ? {} : { bindAddress: edgeBindAddress };
  const dialBy = (proxy: EdgeProxy | undefined, attempt: DialAttempt): Promise<EdgeConnection> => {
    // Not before it is needed: reading some 150 roots takes a while, and QUIC reads them by itself.
    const tls = createEdgeTls({ cacert, postQuantum });
    return dialHttp2({ ...attempt, ...bind, ...(proxy === undefined ? {} : { proxy }), tls, budget, logger });
  };
  const named = edgeProxy === undefined ? undefined : edgeProxyOf(edgeProxy);
  if (named !== undefined) return (attempt) => dialBy(named, attempt);
  let takesProxy = false;
  return async (attempt) => {
    const fallback = environmentEdgeProxy(attempt.address, env);
    if (fallback === undefined) return await dialBy(undefined, attempt);
    const [first, second] = takesProxy ? [fallback, undefined] : [undefined, fallback];
    let failure: DialError;
    try {
      return await dialBy(first, attempt);
    } catch (error) {
      // Whoever answers with another certificate would do so on the other way, too.
      if (!(error instanceof DialError) || error.phase === "tls") throw error;
      failure = error;
    }
    const connection = await dialBy(second, attempt).catch((error: unknown) => {
      attempt.signal.throwIfAborted();
      if (takesProxy) throw error;
      const { address, message, phase } = failure;
      const reason = error instanceof Error ? error.message : String(error);
      throw new DialError(phase, address, `${message}; nor by HTTPS_PROXY: ${reason}`, { cause: failure.cause });
    });
    takesProxy = second !== undefined;
    logger.info(
      takesProxy
        ? `The edge can't be reached directly: using the proxy of HTTPS_PROXY at ${fallback.host}:${fallback.port}`
        : "The edge can be reached directly again",
      { connIndex: attempt.connIndex },
    );
    return connection;
  };
}

function quicDial(
  { cacert, edgeBindAddress, postQuantum, quicDisablePmtuDiscovery }: DialConfig,
  budget: MemoryBudget,
  logger: Logger,
): Dial {
  const bind = edgeBindAddress === undefined ? {} : { bindAddress: edgeBindAddress };
  const settings = { ...bind, sizes: new DatagramSizes(!quicDisablePmtuDiscovery), budget, logger };
  /** By the index of the connection: the edge, and what stands between, know it again (wire § 5.1). */
  const ports = new Map<number, number>();
  const tokens = new AddressTokens();
  const load = async () => {
    const [{ dialQuic }, { createQuicTls }] = await Promise.all([
      import("../edge/quic.ts"),
      import("../edge/quic-tls.ts"),
    ]);
    return { dialQuic, tls: await createQuicTls({ cacert, postQuantum }) };
  };
  // Beside the search for the edge. A failure is that of the first dial, and each tries again.
  let loaded: ReturnType<typeof load> | undefined = load();
  loaded.catch(() => {});
  return async (attempt): Promise<EdgeConnection> => {
    loaded ??= load();
    const { dialQuic, tls } = await loaded.catch((error: unknown) => {
      loaded = undefined;
      throw error;
    });
    const { address, connIndex } = attempt;
    const edge = await dialQuic({
      ...attempt,
      ...settings,
      bindPort: ports.get(connIndex) ?? 0,
      token: tokens.take(address.ip),
      onNewToken: (token) => tokens.keep(address.ip, token),
      tls,
    });
    ports.set(connIndex, edge.localPort);
    return edge;
  };
}
