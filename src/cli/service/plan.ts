/** What a service is to run: its command line, and the files that go with it. */
import { resolve } from "node:path";
import { expandHome, findDefaultConfig, loadConfigFile, readTextFile } from "../../config/files.ts";
import { findTokenSource, UsageError } from "../../config/identity.ts";
import { MergedSettings } from "../../config/merged.ts";
import { ConfigError, type ConfigProblem } from "../../config/problem.ts";
import { readSecretFile } from "../../config/secret-file.ts";
import { findSetting, type Setting, type SettingLayer } from "../../config/settings.ts";
import { parseUuid } from "../../config/uuid.ts";
import { formatDuration } from "../../proxy/ingress/duration.ts";
import type { Scrubber } from "../../proxy/ingress/redact.ts";
import { readEnvironment } from "../../config/environment.ts";
import type { CommandLine } from "../flags.ts";
import type { CliIo } from "../io.ts";
import { type Loaded, loadPlan } from "../load.ts";
import { ServiceError } from "./place.ts";

export interface ServicePlan {
  /** The token, where that is what tells the tunnel. */
  readonly token: string | undefined;
  /** The credentials file, where it is that; absolute. */
  readonly credentialsFile: string | undefined;
  readonly tunnelId: string | undefined;
  readonly config:
    | { readonly name: "config.yml" | "underpass.toml"; readonly text: string; readonly secret: boolean }
    | undefined;
  /** Further flags, as `--name=value`. */
  readonly flags: readonly string[];
  readonly gracePeriodMs: number;
  readonly warnings: readonly string[];
}

/** Said by the service itself, or its manager's to say. */
const OWN = new Set([
  "name",
  "token",
  "token-file",
  "config",
  "credentials-file",
  "credentials-contents",
  "origincert",
]);
const UNFIT = new Map([
  ["logfile", "the service manager keeps the log"],
  ["log-directory", "the service manager keeps the log"],
  ["pidfile", "the service manager knows the process"],
  ["stdin-control", "a service has no stdin"],
]);
const PATHS = new Set([
  "cacert",
  "origin-ca-pool",
  "error-page",
  "service-token-file",
  "state-directory",
  "unix-socket",
]);
/** What of the environment may tell the tunnel; the rest of it the service will not have. */
const VARIABLES = ["HOME", "TUNNEL_TOKEN", "TUNNEL_TOKEN_FILE", "CLOUDFLARE_TUNNEL_TOKEN", "TUNNEL_CRED_FILE"];

/** Throws where the service could not run as it is asked for. `word` is the token, `-` for stdin, or a tunnel's UUID. */
export async function planService(
  line: CommandLine,
  word: string | undefined,
  io: CliIo,
  scrubber: Scrubber,
): Promise<ServicePlan> {
  if (line.problems.length > 0) throw new ConfigError(line.problems);
  const tunnelId = word === undefined ? undefined : parseUuid(word);
  if (word !== undefined && word !== "-" && tunnelId === undefined) scrubber.add(word);
  const layer = flagsFor(line, tunnelId === undefined ? word : undefined);
  const flags = flagsOf(layer);
  const env = Object.fromEntries(VARIABLES.map((name) => [name, io.env[name]]));
  const given = findTokenSource(new MergedSettings(layer, readEnvironment(env).layer, undefined));
  const named = layer.get("config")?.value;
  const path =
    typeof named === "string" && named !== "" ? named : given === undefined ? findDefaultConfig(env) : undefined;
  if (given === undefined && path === undefined && !layer.has("credentials-file")) {
    throw new UsageError(
      "no tunnel to run: give its token by --token-file FILE (- is stdin), or --config FILE with tunnel and credentials-file in it",
    );
  }
  const run = { line: { ...line, words: [], layer }, style: "native", run: true, tunnelRef: tunnelId } as const;
  const loading = loadPlan({ ...run, configPath: path }, withEnvironment(io, env), scrubber);
  const loaded = await withoutVariables(loading, path === undefined ? undefined : expandHome(path, env));
  const { config, warnings } = loaded.plan;
  if (config.identity.mode === "quick") {
    throw new ServiceError(
      'a quick tunnel has another address after each start: a service wants a named one (mode = "named" and its token)',
    );
  }
  const identity = identityOf(loaded, env);
  return {
    ...identity,
    tunnelId,
    config: path === undefined ? undefined : copyOf(expandHome(path, env), loaded),
    flags,
    gracePeriodMs: config.gracePeriodMs,
    warnings,
  };
}

/** The copy of the file is read by a process that has no environment but its manager's, whatever is exported here. */
async function withoutVariables(loading: Promise<Loaded>, path: string | undefined): Promise<Loaded> {
  const failure = await loading.then(
    () => undefined,
    (error: unknown) => error,
  );
  const missing = path === undefined ? [] : await variablesIn(path);
  if (missing.length === 0) return await loading;
  const others = failure instanceof ConfigError ? failure.problems : [];
  throw new ConfigError([...missing, ...others.filter(({ variable }) => variable === undefined)]);
}

async function variablesIn(path: string): Promise<readonly ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  try {
    await loadConfigFile(path, {}, "--config");
  } catch (error) {
    if (error instanceof ConfigError) problems.push(...error.problems);
  }
  return problems.flatMap(({ variable, where }) => {
    if (variable === undefined) return [];
    const advice = "the value itself would be right (the service's copy of a file with secrets is its own alone)";
    const text = `found \${${variable}}, and a service does not have the variables of this shell, exported or not; ${advice}`;
    return [{ where, text }];
  });
}

/** The token given as argument is a flag like any other. */
function flagsFor({ layer }: CommandLine, token: string | undefined): SettingLayer {
  const flags = new Map([...layer].filter(([name]) => name !== "name"));
  if (token === "-") flags.set("token-file", { name: "token-file", value: "-", source: "flag", where: "-" });
  else if (token !== undefined) flags.set("token", { name: "token", value: token, source: "flag", where: "TOKEN" });
  return flags;
}

function flagsOf(layer: SettingLayer): readonly string[] {
  const problems: ConfigProblem[] = [];
  const flags: string[] = [];
  for (const { name, value, where } of layer.values()) {
    const unfit = UNFIT.get(name);
    const spec = findSetting(name);
    if (OWN.has(name) || spec === undefined) continue;
    if (unfit !== undefined) problems.push({ where, text: `not for a service: ${unfit}` });
    else if (spec.secret) {
      problems.push({ where, text: "would stand where every user can read it; the configuration file would be right" });
    } else if (spec.type === "duration") flags.push(`--${name}=${formatDuration(Number(value))}`);
    else flags.push(`--${name}=${PATHS.has(name) ? resolve(String(value)) : String(value)}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return flags;
}

function identityOf(
  { settings }: Loaded,
  env: Readonly<Record<string, string | undefined>>,
): Pick<ServicePlan, "token" | "credentialsFile"> {
  const source = findTokenSource(settings);
  if (source !== undefined) {
    // One that stands in the configuration file goes with it.
    if (source.source === "file" && source.name === "token") return { token: undefined, credentialsFile: undefined };
    return { token: readToken(source, env), credentialsFile: undefined };
  }
  if (settings.get("credentials-contents") !== undefined) return { token: undefined, credentialsFile: undefined };
  const file = settings.get("credentials-file");
  if (file === undefined) {
    throw new ServiceError(
      `${settings.file?.path ?? "--config"}: names no credentials-file, and a service does not look for it in your home directory; credentials-file: /path/of/<tunnel id>.json would be right`,
    );
  }
  return { token: undefined, credentialsFile: resolve(expandHome(String(file.value), env)) };
}

function readToken({ name, value, where }: Setting, env: Readonly<Record<string, string | undefined>>): string {
  const text = name === "token" ? String(value) : readSecretFile(String(value), where, env, []);
  return text.trim();
}

function copyOf(path: string, { settings }: Loaded): ServicePlan["config"] {
  const secrets = [...(settings.file?.layer.values() ?? [])].filter(({ name }) => findSetting(name)?.secret === true);
  return {
    name: settings.file?.format === "toml" ? "underpass.toml" : "config.yml",
    text: readTextFile(path, ""),
    secret: secrets.length > 0,
  };
}

function withEnvironment(io: CliIo, env: CliIo["env"]): CliIo {
  return {
    env,
    // stdin is opened when it is asked for.
    get stdin() {
      return io.stdin;
    },
    stdout: io.stdout,
    stderr: io.stderr,
    onSignal: (listener) => io.onSignal(listener),
    onHangup: (listener) => io.onHangup(listener),
    kill: () => io.kill(),
  };
}
