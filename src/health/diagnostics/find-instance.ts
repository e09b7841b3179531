/** Finds the tunnels that run on this machine by their metrics servers, where cloudflared looks for its own. */
import type { MetricsConfig } from "../../config/tunnel-config.ts";
import { METRICS_PORTS } from "../server.ts";
import { type HttpAnswer, type HttpGet, NoAnswerError } from "./http-get.ts";
import { readTunnelState, type SeenTunnel } from "./tunnel-state.ts";

/** A metrics server of this machine that does not answer in this time is stuck. */
const PROBE_MS = 3_000;

export interface Instance {
  /** `http://host:port` of its metrics server. */
  readonly url: string;
  readonly state: SeenTunnel;
}

/** A place that was asked, and where no tunnel answered. */
export interface Unanswered {
  readonly url: string;
  readonly reason: string;
  /** Somebody takes connections there, or nobody refuses them, and no answer comes: a tunnel may hang. */
  readonly isSilent: boolean;
}

export interface Search {
  /** Each once. */
  readonly instances: readonly Instance[];
  readonly unanswered: readonly Unanswered[];
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

/** Asks at each of these places. Never rejects. */
export async function findInstances(urls: readonly string[], get: HttpGet): Promise<Search> {
  const found = await Promise.all(urls.map((url) => probe(url, get)));
  const byConnector = new Map<string, Instance>();
  const unanswered: Unanswered[] = [];
  for (const result of found) {
    if ("reason" in result) unanswered.push(result);
    else if (!byConnector.has(result.state.connectorId)) byConnector.set(result.state.connectorId, result);
  }
  return { instances: [...byConnector.values()], unanswered };
}

async function probe(url: string, get: HttpGet): Promise<Instance | Unanswered> {
  try {
    const { body, status } = await get(`${url}/diag/tunnel`, PROBE_MS);
    const state = status === 200 ? readTunnelState(body) : undefined;
    if (state !== undefined) return { url, state };
    const what = status === 200 ? "another program's" : `with status ${status}`;
    return { url, reason: `what answers there is no tunnel: the answer is ${what}`, isSilent: false };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { url, reason, isSilent: error instanceof NoAnswerError };
  }
}

/** `/ready` of an instance. Rejects where it does not answer. */
export function askReady(url: string, get: HttpGet): Promise<HttpAnswer> {
  return get(`${url}/ready`, PROBE_MS);
}
