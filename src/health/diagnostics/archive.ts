/** What `underpass diag` puts together, under cloudflared's file names where it has the same ones (operations § 15). */
import { randomUUID } from "node:crypto";
import dns from "node:dns";
import os from "node:os";
import type { Environment } from "../../proxy/environment-proxy.ts";
import type { CheckReport } from "./checks/assess.ts";
import { messageOf, within } from "./checks/row.ts";
import type { CheckComponent, CheckStatus } from "./checks/types.ts";
import type { Instance } from "./find-instance.ts";
import type { HttpGet } from "./http-get.ts";
import { collectLogs, type LogSource, type RunProgram } from "./logs.ts";
import { redactReport } from "./redact-report.ts";
import { renderSystemInformation } from "./system-information.ts";
import type { ZipEntry } from "./zip.ts";

export interface ArchiveOptions {
  readonly version: string;
  /** Undefined where none runs: then what can be had without it. */
  readonly instance: Instance | undefined;
  /** Where none was found, and what was found instead. */
  readonly missingAt: string;
  readonly get: HttpGet;
  readonly run: RunProgram;
  readonly logs: LogSource;
  readonly environment: Environment;
  /** Bounded in time by itself. */
  readonly checks: () => Promise<CheckReport>;
  /** Blanks the secrets that this command knows. */
  readonly known: (text: string) => string;
  /** What is left out. */
  readonly without: ReadonlySet<DiagPart>;
}

export type DiagPart = "logs" | "metrics" | "system" | "runtime" | "network";

export interface Archive {
  readonly entries: readonly ZipEntry[];
  readonly results: readonly JobResult[];
}

export interface JobResult {
  /** cloudflared's name for it. */
  readonly job: string;
  readonly file: string;
  /** Why there is no such file. */
  readonly error: string | undefined;
}

interface Job {
  readonly name: string;
  readonly file: string;
  readonly part: DiagPart | undefined;
  readonly limitMs: number;
  readonly collect: (signal: AbortSignal) => Promise<string>;
}

const COLLECT_MS = 15_000;
/** The rows' own limits are shorter. */
const CHECKS_MS = 30_000;

/** Never rejects: what can't be had is told in `task-result.json`. */
export async function collectArchive(options: ArchiveOptions): Promise<Archive> {
  const jobs = jobsOf(options).filter(({ part }) => part === undefined || !options.without.has(part));
  const done = await Promise.all(jobs.map((job) => runJob(job, options)));
  const results = done.map(({ result }) => result);
  const tasks = results.map(({ error, job }): [string, object] => [
    job,
    error === undefined ? { result: "success" } : { result: "failure", error },
  ]);
  const report = { name: "task-result.json", content: pretty(JSON.stringify(Object.fromEntries(tasks))) };
  return { entries: [...done.flatMap(({ entry }) => (entry === undefined ? [] : [entry])), report], results };
}

async function runJob(
  job: Job,
  { known }: ArchiveOptions,
): Promise<{ result: JobResult; entry: ZipEntry | undefined }> {
  const { collect, file, limitMs, name } = job;
  try {
    const text = await within(limitMs, undefined, collect);
    // Redacted as it stands in the file: what JSON escapes is then as it will be read.
    const content = redactReport(file.endsWith(".json") ? pretty(text) : text, known);
    return { result: { job: name, file, error: undefined }, entry: { name: file, content } };
  } catch (error) {
    return { result: { job: name, file, error: redactReport(messageOf(error), known) }, entry: undefined };
  }
}

function jobsOf(options: ArchiveOptions): readonly Job[] {
  const { instance, logs, run, version } = options;
  let report: Promise<CheckReport> | undefined;
  const checks = (): Promise<CheckReport> => (report ??= options.checks());
  const job = (
    name: string,
    file: string,
    part: DiagPart | undefined,
    collect: Job["collect"],
    limitMs = COLLECT_MS,
  ) => ({
    name,
    file,
    part,
    limitMs,
    collect,
  });
  const page = (path: string) => async (): Promise<string> => {
    if (instance === undefined) throw new Error(`no tunnel answers on ${options.missingAt}`);
    const { body, status } = await options.get(`${instance.url}${path}`, COLLECT_MS);
    if (status !== 200) throw new Error(`${path} answered with status ${status}`);
    return body;
  };
  const system = instance === undefined ? () => renderSystemInformation(version) : page("/diag/system");
  return [
    job("tunnel state", "tunnelstate.json", undefined, page("/diag/tunnel")),
    job("system information", "systeminformation.json", "system", system),
    job("process", "process.json", "runtime", page("/diag/process")),
    job("metrics", "metrics.txt", "metrics", page("/metrics")),
    job("log information", "cloudflared_logs.txt", "logs", (signal) => collectLogs(logs, run, signal)),
    job(
      "network information",
      "network.json",
      "network",
      async () => networkInformation(await checks(), options.environment),
      CHECKS_MS,
    ),
    job("cli configuration", "cli-configuration.json", undefined, page("/diag/configuration")),
    job("configuration", "configuration.json", undefined, page("/config")),
    job("connectivity pre-checks", "prechecks.json", "network", async () => renderPrechecks(await checks()), CHECKS_MS),
  ];
}

/** Where this machine stands, and how far the edge is. */
function networkInformation({ checks }: CheckReport, environment: Environment): string {
  const interfaces = Object.entries(os.networkInterfaces()).map(([name, addresses]) => ({
    name,
    addresses: (addresses ?? []).map(({ cidr, family, internal }) => ({ family, cidr, internal })),
  }));
  const proxies = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].filter(
    (name) => (environment[name] || environment[name.toLowerCase()] || "") !== "",
  );
  const edge = checks
    .filter(({ component }) => component === "UDP" || component === "TCP")
    .map(({ details, id, milliseconds, status }) => ({ id, status, milliseconds, details }));
  return JSON.stringify({ interfaces, resolvers: dns.getServers(), proxies, edge });
}

/** cloudflared's numbers. */
const TYPES: Partial<Readonly<Record<CheckComponent, number>>> = { DNS: 0, UDP: 1, TCP: 2, API: 3 };
const STATUSES: Readonly<Record<CheckStatus, number>> = { ok: 0, warning: 1, failed: 1, skipped: 2 };
const PROTOCOLS = { http2: 0, quic: 1 } as const;

/** In cloudflared's shape, with all that `underpass check --json` says beside it. */
function renderPrechecks(report: CheckReport): string {
  const { checks, suggestedProtocol } = report;
  return JSON.stringify({
    RunID: randomUUID(),
    Results: checks.flatMap(({ action, component, details, status, target }) => {
      const type = TYPES[component];
      if (type === undefined) return [];
      return [
        {
          Type: type,
          Component: component,
          Target: target,
          ProbeStatus: STATUSES[status],
          Details: details,
          Action: action ?? "",
        },
      ];
    }),
    SuggestedProtocol: suggestedProtocol === undefined ? null : PROTOCOLS[suggestedProtocol],
    underpass: report,
  });
}

/** As it came, where it is no JSON. */
function pretty(json: string): string {
  try {
    return `${JSON.stringify(JSON.parse(json), null, 2)}\n`;
  } catch {
    return json;
  }
}
