/** `underpass ready` and `underpass healthcheck`: how the tunnel on this machine is, told by its metrics server. */
import { type Findings, readMetrics } from "../config/edge-settings.ts";
import { ConfigError } from "../config/problem.ts";
import type { MetricsConfig } from "../config/tunnel-config.ts";
import { UnderpassError } from "../errors.ts";
import { askReady, findInstances, type Instance, instanceUrls } from "../health/diagnostics/find-instance.ts";
import { httpGet } from "../health/diagnostics/http-get.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { CommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";
import { loadSettings } from "./load.ts";

export interface ReadyRequest {
  readonly line: CommandLine;
  readonly style: "native" | "tunnel";
  readonly io: CliIo;
  readonly scrubber: Scrubber;
}

const MAX_SHOWN = 1_000;

/** No metrics server of a tunnel answers where one would be. */
class NoInstanceError extends UnderpassError {
  constructor(urls: readonly string[]) {
    const [only] = urls;
    const places = urls.length === 1 && only !== undefined ? only : "127.0.0.1, ports 20241 to 20245";
    super("ERR_UNDERPASS_NO_INSTANCE", `no running tunnel answers on ${places}`);
  }
}

/** The metrics setting of the tunnel that is looked for: from the same flag, variable or file that it was started with. */
export async function metricsOf({ io, line, scrubber, style }: ReadyRequest): Promise<MetricsConfig | undefined> {
  const settings = await loadSettings({ line, style, run: true, tunnelRef: undefined }, io, scrubber);
  const findings: Findings = { problems: [], warnings: [] };
  const metrics = readMetrics(settings, undefined, findings);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return metrics;
}

/** As cloudflared's `tunnel ready`: silent and 0 where every tunnel found has a registered connection, else 1 and why. */
export async function ready(request: ReadyRequest): Promise<number> {
  const urls = instanceUrls(await metricsOf(request));
  // An old cloudflared has no /diag/tunnel, but where an address was given it is asked all the same.
  const found = urls.length === 1 ? urls : (await findInstances(urls, httpGet)).map(({ url }) => url);
  if (found.length === 0) throw new NoInstanceError(urls);
  const answers = await Promise.all(found.map((url) => isReady(url, request.io)));
  return answers.every(Boolean) ? 0 : 1;
}

async function isReady(url: string, io: CliIo): Promise<boolean> {
  try {
    const { body, status } = await askReady(url, httpGet);
    if (status === 200) return true;
    io.stderr.write(`underpass: ${url}/ready endpoint returned status code ${status}\n${shown(body)}\n`);
  } catch (error) {
    io.stderr.write(`underpass: ${url}/ready: ${error instanceof Error ? error.message : String(error)}\n`);
  }
  return false;
}

/** What answers there may be another program. */
function shown(body: string): string {
  return body
    .trim()
    .replaceAll(/\p{Cc}+/gu, " ")
    .slice(0, MAX_SHOWN);
}

type Health = "ready" | "degraded" | "live";

function healthOf({ active, wanted }: Instance["state"]): Health {
  if (active === 0) return "live";
  return wanted !== undefined && active < wanted ? "degraded" : "ready";
}

const MEANING: Readonly<Record<Health, string>> = {
  ready: "every connection is registered",
  degraded: "some connections are registered; requests get through",
  live: "the process runs, but no connection is registered",
};

/** One line an instance on stdout, or `--json`. 0 where requests get through to each: ready or degraded. */
export async function healthcheck(request: ReadyRequest): Promise<number> {
  const { io, line } = request;
  const urls = instanceUrls(await metricsOf(request));
  const instances = await findInstances(urls, httpGet);
  if (instances.length === 0) throw new NoInstanceError(urls);
  const rows = instances.map(({ state, url }) => ({ url, health: healthOf(state), ...state }));
  if (line.switches.has("json")) io.stdout.write(`${JSON.stringify({ instances: rows }, null, 2)}\n`);
  else {
    for (const { active, health, url, wanted } of rows) {
      const count = wanted === undefined ? `${active} connections` : `${active} of ${wanted} connections`;
      io.stdout.write(`${url}: ${health} (${count}): ${MEANING[health]}\n`);
    }
  }
  return rows.every(({ health }) => health !== "live") ? 0 : 1;
}
