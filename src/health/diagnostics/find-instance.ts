/** Finds the tunnels that run on this machine by their metrics servers, where cloudflared looks for its own. */
import type { MetricsConfig } from "../../config/tunnel-config.ts";
import { METRICS_PORTS } from "../server.ts";
import type { HttpAnswer, HttpGet } from "./http-get.ts";
import { readTunnelState, type SeenTunnel } from "./tunnel-state.ts";

/** A metrics server of this machine that does not answer in this time is stuck. */
const PROBE_MS = 3_000;

export interface Instance {
  /** `http://host:port` of its metrics server. */
  readonly url: string;
  readonly state: SeenTunnel;
}

/** Where the metrics server of a tunnel with this setting is reached; where it is not known, the ports that it would take by itself. */
export function instanceUrls(metrics: MetricsConfig | undefined): readonly string[] {
  if (metrics?.kind === "address" && metrics.port !== 0) {
    const { host, port } = metrics;
    const reached = host === "" || host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
    return [`http://${reached.includes(":") ? `[${reached}]` : reached}:${port}`];
  }
  // cloudflared listens on localhost, which is either.
  return METRICS_PORTS.flatMap((port) => [`http://127.0.0.1:${port}`, `http://[::1]:${port}`]);
}

/** Those that answer as a tunnel does, each once. */
export async function findInstances(urls: readonly string[], get: HttpGet): Promise<readonly Instance[]> {
  const found = await Promise.all(urls.map((url) => probe(url, get)));
  const byConnector = new Map<string, Instance>();
  for (const instance of found) {
    if (instance !== undefined && !byConnector.has(instance.state.connectorId)) {
      byConnector.set(instance.state.connectorId, instance);
    }
  }
  return [...byConnector.values()];
}

async function probe(url: string, get: HttpGet): Promise<Instance | undefined> {
  try {
    const { body, status } = await get(`${url}/diag/tunnel`, PROBE_MS);
    const state = status === 200 ? readTunnelState(body) : undefined;
    return state === undefined ? undefined : { url, state };
  } catch {
    return undefined;
  }
}

/** `/ready` of an instance. Rejects where it does not answer. */
export function askReady(url: string, get: HttpGet): Promise<HttpAnswer> {
  return get(`${url}/ready`, PROBE_MS);
}
