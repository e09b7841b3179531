/** `underpass diag`: what is to be known about the tunnel on this machine, in one zip file that may be handed on. */
import { constants } from "node:fs";
import { access, type FileHandle, lstat, open, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { findSetting, isProblem, readSettingText, type Setting } from "../config/settings.ts";
import { ConfigError } from "../config/problem.ts";
import { expandHome } from "../config/files.ts";
import { readVersion } from "../config/version.ts";
import { collectArchive, type JobResult } from "../health/diagnostics/archive.ts";
import type { CheckPeers } from "../health/diagnostics/checks/types.ts";
import { findInstances, type Instance, instanceUrls } from "../health/diagnostics/find-instance.ts";
import { type HttpGet, httpGet } from "../health/diagnostics/http-get.ts";
import { fromDirectoryOf, type RunProgram, runProgram } from "../health/diagnostics/logs.ts";
import { parseObject } from "../health/diagnostics/tunnel-state.ts";
import { createZip } from "../health/diagnostics/zip.ts";
import { UnderpassError } from "../errors.ts";
import { checkAll } from "./check.ts";
import type { DiagFlags } from "./diag-flags.ts";
import type { CommandLine } from "./flags.ts";
import { chooseOne, metricsOf, type ReadyRequest, whereNone } from "./ready.ts";

/** The file can't be written. */
class DiagFileError extends UnderpassError {
  constructor(path: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super("ERR_UNDERPASS_DIAG_FILE", `can't write ${path}: ${reason}`, { cause });
  }
}

export interface DiagRequest extends ReadyRequest {
  readonly flags: DiagFlags;
  /** Where to; default: a name with the time in the working directory. */
  readonly file: string | undefined;
  /** Stand in for the network and this machine in tests. */
  readonly peers?: CheckPeers;
  readonly get?: HttpGet;
  readonly run?: RunProgram;
}

/** How the running tunnel reaches the edge: the checks look there, whatever this command line says. */
const EDGE_SETTINGS: readonly string[] = [
  "protocol",
  "edge",
  "region",
  "edge-ip-version",
  "edge-bind-address",
  "cacert",
  "post-quantum",
  "edge-proxy",
];
const PAGE_MS = 5_000;

/** 0 once the file is written, whatever is missing in it; 1 where several tunnels run and none is chosen. */
export async function diag(request: DiagRequest): Promise<number> {
  const { flags, io, scrubber } = request;
  if (flags.problems.length > 0) throw new ConfigError(flags.problems);
  const get = request.get ?? httpGet;
  const now = new Date();
  const path = request.file ?? `underpass-diag-${now.toISOString().slice(0, 19).replaceAll(":", "-")}Z.zip`;
  // Not after half a minute.
  await assertWritable(path);
  const { instances, unanswered } = await findInstances(instanceUrls(await metricsOf(request)), get);
  const [instance] = instances;
  if (instances.length > 1) {
    io.stderr.write(chooseOne(instances));
    return 1;
  }
  io.stderr.write(
    instance === undefined
      ? `No running tunnel was found on ${whereNone(unanswered)} (--metrics HOST:PORT says where one listens): collecting what can be had without.\n`
      : `Found tunnel ${instance.state.tunnelId} at ${instance.url}. This takes up to half a minute.\n`,
  );
  const settings = instance === undefined ? {} : await settingsOf(instance, get);
  const { entries, results } = await collectArchive({
    version: readVersion(),
    instance,
    missingAt: whereNone(unanswered),
    get,
    run: request.run ?? runProgram,
    environment: io.env,
    logs: {
      logfile: pathOf(settings["logfile"], request),
      logDirectory: pathOf(settings["log-directory"], request),
      pid: instance?.state.pid,
      containerId: flags.containerId,
      podId: flags.podId,
    },
    checks: () => checkAll({ ...request, line: withSettings(request.line, settings, instance?.state.pid) }),
    known: (text) => scrubber.scrub(text),
    without: flags.without,
  });
  await writeNew(path, createZip(entries, now));
  for (const result of results) io.stderr.write(`  ${describe(result)}\n`);
  io.stdout.write(`${path}\n`);
  return 0;
}

/** Tells what is wrong with the place before anything is collected for it. */
async function assertWritable(path: string): Promise<void> {
  try {
    const directory = dirname(resolve(path));
    if (!(await stat(directory)).isDirectory()) throw new Error(`${directory} is no directory`);
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new DiagFileError(path, error);
  }
  const found = await lstat(path).catch(() => undefined);
  if (found !== undefined) throw new DiagFileError(path, new Error("there is something of that name already"));
}

/** Its owner's alone, never in the place of another file, and whole or not there. */
async function writeNew(path: string, content: Uint8Array): Promise<void> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "wx", 0o600);
    await file.writeFile(content);
    await file.close();
  } catch (error) {
    await file?.close().catch(() => {});
    if (file !== undefined) await rm(path, { force: true });
    throw new DiagFileError(path, error);
  }
}

function describe({ error, file, job }: JobResult): string {
  return error === undefined ? `${job}: ${file}` : `${job}: not collected (${error})`;
}

async function settingsOf(instance: Instance, get: HttpGet): Promise<Readonly<Record<string, unknown>>> {
  try {
    return parseObject((await get(`${instance.url}/diag/configuration`, PAGE_MS)).body);
  } catch {
    return {};
  }
}

function pathOf(value: unknown, { io }: DiagRequest): string | undefined {
  return typeof value === "string" && value !== "" ? expandHome(value, io.env) : undefined;
}

/** The command line, with what the running tunnel was told where the command line says nothing. */
function withSettings(
  line: CommandLine,
  settings: Readonly<Record<string, unknown>>,
  pid: number | undefined,
): CommandLine {
  const layer = new Map(line.layer);
  for (const name of EDGE_SETTINGS) {
    const spec = findSetting(name);
    const text = settings[name];
    if (spec === undefined || typeof text !== "string" || text.includes("[redacted]") || layer.has(name)) continue;
    const where = `the running tunnel's ${name}`;
    // cloudflared shows lists as Go prints them: [a:1 b:2].
    const goList = spec.type === "list" ? /^\[(.*)\]$/.exec(text)?.[1]?.replaceAll(" ", ",") : undefined;
    const listed = goList ?? (name === "cacert" ? fromDirectoryOf(pid, text) : text);
    const value = readSettingText(spec, listed, where);
    if (!isProblem(value)) layer.set(name, { name, value, source: "flag", where } satisfies Setting);
  }
  return { ...line, layer };
}
