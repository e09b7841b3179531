/** How connections reach the edge: by the transport that the configuration names, or by whichever of the two gets through. */
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { dialHttp2 } from "../edge/http2.ts";
import { assertTrust, createEdgeTls, hasPostQuantumTls } from "../edge/tls.ts";
import type { MemoryBudget } from "../protocol/memory-budget/budget.ts";
import type { EdgeConnection, EdgeProtocol, Logger } from "../types.ts";
import { type Dial, ProtocolDialer } from "./protocol-dialer.ts";

export interface EdgeDial {
  readonly dial: Dial;
  /** What a connection takes first. */
  readonly initialProtocol: EdgeProtocol;
  /** Where there is a choice. */
  readonly choice: ProtocolDialer | undefined;
}

type DialConfig = Pick<TunnelConfig, "cacert" | "edgeBindAddress" | "postQuantum" | "protocol">;

/** Throws EdgeTlsError for a bad `cacert`, or where post-quantum key exchange is wanted of a transport that can't have it here. */
export function createEdgeDial(config: DialConfig, budget: MemoryBudget, logger: Logger): EdgeDial {
  const { cacert, edgeBindAddress, postQuantum } = config;
  const bind = edgeBindAddress === undefined ? {} : { bindAddress: edgeBindAddress };
  // Not before it is needed: reading some 150 roots takes a while, and QUIC reads them by itself.
  const http2: Dial = (attempt) => {
    const tls = createEdgeTls({ cacert, postQuantum });
    return dialHttp2({ ...attempt, ...bind, tls, budget, logger });
  };
  const protocol = transportOf(config, logger);
  if (protocol === "http2") {
    createEdgeTls({ cacert, postQuantum });
    return { dial: http2, initialProtocol: "http2", choice: undefined };
  }
  assertTrust(cacert);
  const quic = quicDial(config, budget, logger);
  if (protocol === "quic") return { dial: quic, initialProtocol: "quic", choice: undefined };
  const choice = new ProtocolDialer({ dials: { quic, http2 }, logger });
  return { dial: (attempt) => choice.dial(attempt), initialProtocol: "quic", choice };
}

function transportOf({ postQuantum, protocol }: DialConfig, logger: Logger): DialConfig["protocol"] {
  if (protocol !== "auto" || !postQuantum || hasPostQuantumTls()) return protocol;
  logger.info(
    `post-quantum: this Node.js (${process.version}) has it for QUIC alone, Node.js 24 for HTTP/2 too: using QUIC`,
  );
  return "quic";
}

function quicDial({ cacert, edgeBindAddress, postQuantum }: DialConfig, budget: MemoryBudget, logger: Logger): Dial {
  const bind = edgeBindAddress === undefined ? {} : { bindAddress: edgeBindAddress };
  /** By the index of the connection: the edge, and what stands between, know it again (wire § 5.1). */
  const ports = new Map<number, number>();
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
    const { connIndex } = attempt;
    const edge = await dialQuic({ ...attempt, ...bind, bindPort: ports.get(connIndex) ?? 0, tls, budget, logger });
    ports.set(connIndex, edge.localPort);
    return edge;
  };
}
