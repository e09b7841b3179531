/** `underpass ready` and `underpass healthcheck`: how the tunnel on this machine is, told by its metrics server. */
import { type Findings, readMetrics } from "../config/edge-settings.ts";
import { ConfigError } from "../config/problem.ts";
import type { MetricsConfig } from "../config/tunnel-config.ts";
import { UnderpassError } from "../errors.ts";
import {
  askReady,
  findInstances,
  type Instance,
  instanceUrls,
  type Unanswered,
} from "../health/diagnostics/find-instance.ts";
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
  constructor(where: string) {
    super("ERR_UNDERPASS_NO_INSTANCE", `no running tunnel answers on ${where}`);
  }
}

/** Where no tunnel answered, and why, as far as that says something: that nobody listens on nine of ten ports does not. */
export function whereNone(unanswered: readonly Unanswered[]): string {
  const [only] = unanswered;
  if (unanswered.length === 1 && only !== undefined) return `${only.url}: ${only.reason}`;
  const hung = unanswered.filter(({ isSilent }) => isSilent).map(({ url }) => url);
  const places = "127.0.0.1, ports 20241 to 20245";
  return hung.length === 0 ? places : `${places}; ${hung.join(", ")} can be connected to, but does not answer`;
}

/** The metrics setting of the tunnel that is looked for: from the same flag, variable or file that it was started with. */
export async function metricsOf({ io, line, scrubber, style }: ReadyRequest): Promise<MetricsConfig | undefined> {
  const settings = await loadSettings({ line, style, run: true, tunnelRef: undefined }, io, scrubber);
  const findings: Findings = { problems: [], warnings: [] };
  const metrics = readMetrics(settings, undefined, findings);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return metrics;
}

/** As cloudflared's `tunnel ready`: silent and 0 where the tunnel found has a registered connection, else 1 and why. */
export async function ready(request: ReadyRequest): Promise<number> {
  const { io } = request;
  const urls = instanceUrls(await metricsOf(request));
  const [only] = urls;
  // An old cloudflared has no /diag/tunnel, but where an address was given it is asked all the same.
  if (urls.length === 1 && only !== undefined) return (await isReady(only, io)) ? 0 : 1;
  const { instances, unanswered } = await findInstances(urls, httpGet);
  const [instance] = instances;
  if (instance === undefined) throw new NoInstanceError(whereNone(unanswered));
  if (instances.length > 1) {
    io.stderr.write(chooseOne(instances));
    return 1;
  }
  const hung = unanswered.filter(({ isSilent }) => isSilent);
  for (const { reason, url } of hung) io.stderr.write(`underpass: ${url}: ${reason}\n`);
  return (await isReady(instance.url, io)) ? 0 : 1;
}

/** Several tunnels run, and only one can be meant. */
export function chooseOne(instances: readonly Instance[]): string {
  const list = instances.map(({ state, url }) => `  --metrics ${new URL(url).host}   tunnel ${state.tunnelId}\n`);
  return `underpass: several tunnels run on this machine; choose one:\n${list.join("")}`;
}

async function isReady(url: string, io: CliIo): Promise<boolean> {
  try {
    const { body, status } = await askReady(url, httpGet);
    if (status === 200) return true;
    io.stderr.write(`underpass: ${url}/ready endpoint returned status code ${status}\n${shown(body)}\n`);
  } catch (error) {
    throw new NoInstanceError(`${url}: ${error instanceof Error ? error.message : String(error)}`);
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

type Health = "ready" | "degraded" | "live" | "hung";

/** What it says itself counts; a cloudflared has only its connections to tell. */
function healthOf({ active, state, wanted }: Instance["state"]): Health {
  if (active === 0) return "live";
  if (state === "ready" || state === "degraded") return state;
  return wanted !== undefined && active < wanted ? "degraded" : "ready";
}

const MEANING: Readonly<Record<Health, string>> = {
  ready: "all is well",
  degraded: "requests get through, but not all is well",
  live: "the process runs, but no connection is registered",
  hung: "it can be connected to, but does not answer",
};

/** One line an instance on stdout, or `--json`. 0 where requests get through to each: ready, or degraded unless `--strict`. */
export async function healthcheck(request: ReadyRequest): Promise<number> {
  const { io, line } = request;
  const urls = instanceUrls(await metricsOf(request));
  const { instances, unanswered } = await findInstances(urls, httpGet);
  const rows = instances.map(({ state, url }) => ({ url, health: healthOf(state), ...state }));
  const hung = unanswered.filter(({ isSilent }) => isSilent).map(({ url }) => ({ url, health: "hung" as const }));
  const asJson = line.switches.has("json");
  if (asJson) io.stdout.write(`${JSON.stringify({ instances: [...rows, ...hung] }, null, 2)}\n`);
  if (instances.length === 0) throw new NoInstanceError(whereNone(unanswered));
  if (!asJson) {
    for (const { active, health, reasons, url, wanted } of rows) {
      const count = wanted === undefined ? `${active} connections` : `${active} of ${wanted} connections`;
      const why = health === "ready" || reasons.length === 0 ? MEANING[health] : shown(reasons.join("; "));
      io.stdout.write(`${url}: ${health} (${count}): ${why}\n`);
    }
    for (const { health, url } of hung) io.stdout.write(`${url}: ${health}: ${MEANING[health]}\n`);
  }
  const isStrict = line.switches.has("strict");
  const enough: readonly Health[] = isStrict ? ["ready"] : ["ready", "degraded"];
  // What is silent on one of many ports need not be a tunnel.
  return (hung.length === 0 || !isStrict) && rows.every(({ health }) => enough.includes(health)) ? 0 : 1;
}
