/** From a command line to the plan that it asks for: environment and files read, everything checked. */
import type { ConfigFile } from "../config/config-file.ts";
import { readEnvironment } from "../config/environment.ts";
import { awaitTextFile, expandHome, findDefaultConfig, loadConfigFile } from "../config/files.ts";
import { findTokenSource, UsageError } from "../config/identity.ts";
import { namesService } from "../config/ingress.ts";
import { MergedSettings } from "../config/merged.ts";
import type { Waiting } from "../config/pipe.ts";
import { type Plan, planTunnel } from "../config/plan.ts";
import { collect, ConfigError, type ConfigProblem } from "../config/problem.ts";
import { awaitSecret } from "../config/secret-file.ts";
import { certFileProblem } from "../edge/roots.ts";
import { looksSecret, type Scrubber } from "../proxy/ingress/redact.ts";
import { findSetting, type SettingLayer } from "../config/settings.ts";
import type { TunnelIdentity } from "../config/tunnel-config.ts";
import type { CommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";
import { type LogSettings, readLogSettings } from "./log-settings.ts";

export interface LoadRequest {
  readonly line: CommandLine;
  /** Which rules apply: cloudflared's under `underpass tunnel`, else our own. */
  readonly style: "native" | "tunnel";
  readonly run: boolean;
  readonly tunnelRef: string | undefined;
  /** A configuration file given as argument, as `config check` takes it. */
  readonly configPath?: string | undefined;
  /** In place of a tunnel whose credentials can't be read. */
  readonly standIn?: TunnelIdentity | undefined;
  /** Ends the wait for a pipe that something is read from. */
  readonly signal?: AbortSignal | undefined;
}

export interface Loaded {
  readonly settings: MergedSettings;
  readonly plan: Plan;
  readonly log: LogSettings;
}

const SECRET_FILES = ["credentials-file", "service-token-file"];
const TEXT_FILES = ["cacert", "error-page"];

/** Throws a ConfigError or UsageError that tells all that is wrong. Every secret that it meets is told to the scrubber first. */
export async function loadPlan(request: LoadRequest, io: CliIo, scrubber: Scrubber): Promise<Loaded> {
  const environment = hiddenEnvironment(io, scrubber);
  const problems = [...request.line.problems, ...environment.problems];
  try {
    return await readPlan(request, environment.layer, problems, io, scrubber);
  } catch (error) {
    // What was misread may be what the rest misses; all of it is told at once.
    if (problems.length === 0) throw error;
    if (error instanceof UsageError) throw new ConfigError([...problems, { where: "", text: error.message }]);
    throw error instanceof ConfigError ? new ConfigError([...problems, ...error.problems]) : error;
  }
}

/** Command line, environment and file in one view, for commands that start no tunnel. Throws a ConfigError. */
export async function loadSettings(request: LoadRequest, io: CliIo, scrubber: Scrubber): Promise<MergedSettings> {
  const environment = hiddenEnvironment(io, scrubber);
  const problems = [...request.line.problems, ...environment.problems];
  if (problems.length > 0) throw new ConfigError(problems);
  return readSettings(request, environment.layer, io, scrubber);
}

function hiddenEnvironment(io: CliIo, scrubber: Scrubber): ReturnType<typeof readEnvironment> {
  for (const [name, value] of Object.entries(io.env)) {
    if (value !== undefined && /TUNNEL|CLOUDFLARE/.test(name) && looksSecret(value)) scrubber.add(value);
  }
  const environment = readEnvironment(io.env);
  hideLayer(environment.layer, scrubber);
  return environment;
}

async function readSettings(
  { line, style, run, configPath, signal }: LoadRequest,
  environment: SettingLayer,
  io: CliIo,
  scrubber: Scrubber,
): Promise<MergedSettings> {
  const named = line.layer.get("config");
  const givenPath = configPath ?? (named === undefined || named.value === "" ? undefined : String(named.value));
  const hasService = namesService(line.layer) || namesService(environment);
  // A quick tunnel whose service was given is not changed by a file that happens to lie around.
  const mayLookAround = style === "tunnel" && (run || !hasService);
  const path = givenPath ?? (mayLookAround ? findDefaultConfig(io.env) : undefined);
  const waiting = waitingOf(io, scrubber, signal);
  const file =
    path === undefined ? undefined : await readFile(path, givenPath === path ? "--config" : path, io, waiting);
  if (file !== undefined) hideLayer(file.layer, scrubber);
  const settings = new MergedSettings(line.layer, environment, file);
  await awaitFiles(settings, io, waiting);
  return settings;
}

async function readFile(path: string, where: string, io: CliIo, waiting: Waiting): Promise<ConfigFile> {
  await awaitTextFile(expandHome(path, io.env), where, waiting);
  return loadConfigFile(path, io.env, where);
}

/** How a command waits for what it reads from pipes. */
export function waitingOf(io: CliIo, scrubber: Scrubber, signal?: AbortSignal): Waiting {
  return {
    stdin: () => io.stdin,
    tell: (text) => io.stderr.write(scrubber.scrub(`underpass: ${text}\n`)),
    signal,
  };
}

/** What is read from a pipe is read here already, so that a signal is heard meanwhile. */
async function awaitFiles(settings: MergedSettings, io: CliIo, waiting: Waiting): Promise<void> {
  const token = findTokenSource(settings);
  const secrets = [token?.name === "token-file" ? token : undefined, ...SECRET_FILES.map((name) => settings.get(name))];
  for (const secret of secrets) {
    if (secret !== undefined) await awaitSecret(String(secret.value), secret.where, io.env, waiting);
  }
  for (const file of TEXT_FILES.map((name) => settings.get(name))) {
    if (file !== undefined) await awaitTextFile(expandHome(String(file.value), io.env), file.where, waiting);
  }
}

async function readPlan(
  request: LoadRequest,
  environment: SettingLayer,
  misread: readonly ConfigProblem[],
  io: CliIo,
  scrubber: Scrubber,
): Promise<Loaded> {
  const { style, run, standIn, tunnelRef } = request;
  const settings = await readSettings(request, environment, io, scrubber);
  const problems: ConfigProblem[] = [];
  const log = collect(problems, () => readLogSettings(settings, style, io));
  const plan = collect(problems, () => planTunnel({ style, run, standIn, tunnelRef, settings, env: io.env }));
  if (log === undefined || plan === undefined || misread.length > 0) {
    // What would only be a warning is told too: who corrects a file wants to do so once.
    throw new ConfigError([...problems, ...(settings.file?.warnings ?? [])]);
  }
  hideIdentity(plan.config.identity, scrubber);
  const problem = certFileProblem(io.env);
  const warnings = problem === undefined ? plan.warnings : [...plan.warnings, problem];
  return { settings, plan: { ...plan, warnings }, log };
}

function hideLayer(layer: SettingLayer, scrubber: Scrubber): void {
  for (const { name, value } of layer.values()) {
    if (typeof value === "string" && (findSetting(name)?.secret === true || looksSecret(value))) scrubber.add(value);
  }
}

function hideIdentity(identity: TunnelIdentity, scrubber: Scrubber): void {
  if (identity.mode !== "named") return;
  const secret = Buffer.from(identity.credentials.tunnelSecret.reveal());
  for (const encoding of ["base64", "base64url", "hex"] as const) scrubber.add(secret.toString(encoding));
}
