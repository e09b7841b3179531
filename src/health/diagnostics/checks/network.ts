/** The checks' peers on the real network: the same dials, resolvers and TLS that a tunnel has. */
import net from "node:net";
import { edgeProxyOf, environmentEdgeProxy } from "../../../config/edge-proxy.ts";
import type { TunnelConfig } from "../../../config/tunnel-config.ts";
import { DatagramSizes } from "../../../edge/datagram-sizes.ts";
import { systemResolvers } from "../../../edge/resolvers.ts";
import { dialHttp2 } from "../../../edge/http2.ts";
import { dialQuic } from "../../../edge/quic.ts";
import type { EdgeProxy } from "../../../edge/proxy-socket.ts";
import { createQuicTls } from "../../../edge/quic-tls.ts";
import { createEdgeTls } from "../../../edge/tls.ts";
import { createMemoryBudget } from "../../../protocol/memory-budget/budget.ts";
import type { Environment, OriginProxy } from "../../../proxy/environment-proxy.ts";
import { hostPort } from "../../../proxy/origin-target.ts";
import { ProxyTunnel } from "../../../proxy/proxy-tunnel.ts";
import type { EdgeAddress, EdgeConnection, Logger } from "../../../types.ts";
import { DIAL_MS } from "./edge-checks.ts";
import { knockAtOrigin } from "./knock.ts";
import type { CheckPeers, HostAddress, WebAnswer } from "./types.ts";

export interface NetworkOptions extends Pick<TunnelConfig, "cacert" | "edgeBindAddress" | "edgeProxy" | "postQuantum"> {
  readonly userAgent: string;
  readonly environment: Environment;
  /** PEM texts that origins are checked against. */
  readonly originRoots: () => readonly string[];
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Where the TLS settings for the edge can't be used, each dial says so. */
export function networkPeers(options: NetworkOptions): CheckPeers {
  const { cacert, edgeBindAddress, edgeProxy, environment, postQuantum } = options;
  const env = { ...environment };
  // Reading some 150 roots takes longer than a handshake does.
  const quicTls = createQuicTls({ cacert, postQuantum }, env);
  quicTls.catch(() => {});
  const budget = createMemoryBudget();
  const sizes = new DatagramSizes(false);
  const common = {
    connIndex: 0,
    budget,
    logger: silent,
    ...(edgeBindAddress === undefined ? {} : { bindAddress: edgeBindAddress }),
  };
  const dialBy = async (proxy: EdgeProxy | undefined, address: EdgeAddress, signal: AbortSignal): Promise<string> => {
    const tls = createEdgeTls({ cacert, postQuantum }, env);
    await hangUp(
      await dialHttp2({
        ...common,
        ...(proxy === undefined ? {} : { proxy }),
        address,
        signal,
        timeoutMs: DIAL_MS,
        tls,
      }),
    );
    return "TLS verified for h2.cftunnel.com";
  };
  return {
    addresses: (host, signal) => systemResolvers.addresses(host, signal),
    srv: (name, signal) => systemResolvers.srv(name, signal),
    srvOverTls: async (name, signal) =>
      (await systemResolvers.overTls(name, "SRV", signal)).flatMap((record) => (record.type === "SRV" ? [record] : [])),
    addressesOverTls,
    dialTcp: async (address, signal) => {
      if (edgeProxy === undefined) return await dialBy(undefined, address, signal);
      return `${await dialBy(edgeProxyOf(edgeProxy), address, signal)}, through the edge proxy`;
    },
    dialByEnvironment(address) {
      const proxy = edgeProxy === undefined ? environmentEdgeProxy(address, env) : undefined;
      return proxy && ((signal) => dialBy(proxy, address, signal));
    },
    dialQuic: async (address, signal) => {
      await hangUp(await dialQuic({ ...common, address, signal, tls: await quicTls, bindPort: 0, sizes }));
      return "TLS verified for quic.cftunnel.com";
    },
    ask: (url, signal) => ask(url, options, signal),
    throughProxy,
    origin: (target, signal) => knockAtOrigin(target, { environment, roots: options.originRoots }, signal),
  };
}

async function hangUp(connection: EdgeConnection): Promise<void> {
  await connection.close({ kind: "shutdown" });
}

async function addressesOverTls(host: string, signal: AbortSignal): Promise<readonly HostAddress[]> {
  const answers = await Promise.allSettled(
    (["A", "AAAA"] as const).map((type) => systemResolvers.overTls(host, type, signal)),
  );
  const records = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  return records.flatMap((record): HostAddress[] =>
    record.type === "A" || record.type === "AAAA" ? [{ ip: record.address, family: record.type === "A" ? 4 : 6 }] : [],
  );
}

/** What is answered does not matter, nor is it read. */
async function ask(url: URL, { environment, userAgent }: NetworkOptions, signal: AbortSignal): Promise<WebAnswer> {
  const { Agent, EnvHttpProxyAgent, request } = await import("undici");
  const named = (name: string): string => environment[name] || environment[name.toLowerCase()] || "";
  // As in Go, a proxy is never asked for this machine itself.
  const isLocal = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname);
  const dispatcher = isLocal
    ? new Agent()
    : new EnvHttpProxyAgent({
        httpProxy: named("HTTP_PROXY"),
        httpsProxy: named("HTTPS_PROXY"),
        noProxy: named("NO_PROXY"),
      });
  const sentAt = Date.now();
  try {
    const { body, headers, statusCode } = await request(url, {
      dispatcher,
      signal,
      headers: { "user-agent": userAgent, accept: "*/*" },
    });
    const receivedAt = Date.now();
    body.on("error", () => {});
    body.destroy();
    const date = Date.parse(typeof headers.date === "string" ? headers.date : "");
    return { status: statusCode, date: Number.isNaN(date) ? undefined : date, sentAt, receivedAt };
  } finally {
    await dispatcher.destroy();
  }
}

function throughProxy(proxy: OriginProxy, host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(proxy.address.port, proxy.address.host);
    const where = hostPort(proxy.address.host, proxy.address.port);
    const settle = (finish: () => void): void => {
      signal.removeEventListener("abort", abort);
      tunnel.destroy();
      finish();
    };
    const abort = (): void => settle(() => reject(signal.reason));
    const tunnel = new ProxyTunnel(socket, proxy, hostPort(host, port), () => settle(resolve));
    tunnel.on("error", (error: Error) => settle(() => reject(new Error(`the proxy ${where}: ${error.message}`))));
    signal.addEventListener("abort", abort, { once: true });
  });
}
