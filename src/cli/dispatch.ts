/** Which command a command line means. Each is imported when it is needed, so that `run` starts without the others. */
import { once } from "node:events";
import { nearest } from "../proxy/ingress/nearest.ts";
import { ConfigError, formatProblem, wrongValue } from "../config/problem.ts";
import { UsageError } from "../config/identity.ts";
import { isTokenLike, TOKEN_ADVICE } from "../config/token.ts";
import { Scrubber } from "../proxy/ingress/redact.ts";
import { UnderpassError } from "../errors.ts";
import type { DiagFlags } from "./diag-flags.ts";
import { type CommandLine, readCommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";
import { loadPlan, type LoadRequest } from "./load.ts";
import { watchOutput } from "./output.ts";
import type { StartTunnel } from "./run.ts";

/** Usage errors under `underpass tunnel`, as cloudflared has it. */
const USAGE_STATUS = 255;

const COMMANDS =
  "run tunnel config ingress check ready healthcheck diag tail management service mock-edge demo version help".split(
    " ",
  );
/** Commands of cloudflared that are not there yet, and why one may not miss them. */
const NOT_YET: ReadonlyMap<string, string> = new Map([
  ["access", ""],
  ["forward", ""],
  ["login", ""],
  ["update", "; npm, or whatever installed underpass, updates it"],
]);
const TUNNEL_NOT_YET = "login create route vnet list info delete cleanup token".split(" ");
const REMOVED: ReadonlyMap<string, number> = new Map([
  ["proxy-dns", 1],
  ["db-connect", USAGE_STATUS],
]);

/** Runs a command line. Never throws; resolves with the exit status. `start` stands in for the connector in tests. */
export async function main(args: readonly string[], ownIo: CliIo, start?: StartTunnel): Promise<number> {
  const scrubber = new Scrubber();
  const { io, lost } = watchOutput(ownIo);
  try {
    const status = await dispatch(args, io, scrubber, start);
    const error = await lost();
    if (error !== undefined) throw error;
    return status;
  } catch (error) {
    return await report(error, args, io, scrubber);
  }
}

async function dispatch(args: readonly string[], io: CliIo, scrubber: Scrubber, start?: StartTunnel): Promise<number> {
  const [command, ...rest] = args;
  if (command === "demo") return (await import("./demo.ts")).demo(rest, io);
  if (command === "tail") return (await import("./tail.ts")).tail(rest, io, scrubber);
  if (command === "management") return (await import("./management.ts")).management(rest, io, scrubber);
  if (command === "mock-edge") return (await import("./mock-edge.ts")).mockEdge(rest, io);

  const diagFlags = args.includes("diag") ? (await import("./diag-flags.ts")).takeDiagFlags(args) : undefined;
  const line = readCommandLine(diagFlags?.rest ?? args, scrubber);
  const [first, second] = line.words;
  if (line.switches.has("help") || first === "help" || (first === "tunnel" && second === "help") || args.length === 0) {
    const { helpFor } = await import("./help.ts");
    io.stdout.write(helpFor(first === "help" ? line.words.slice(1) : line.words));
    return 0;
  }
  refuseStraySwitches(line);
  refuseStrayOutput(line);
  if (first === "version" || line.switches.has("version")) {
    const { readVersion } = await import("../config/version.ts");
    io.stdout.write(line.switches.has("short") ? `${readVersion()}\n` : `underpass version ${readVersion()}\n`);
    return 0;
  }
  switch (first) {
    case undefined:
      return run({ line, style: "native", run: false, tunnelRef: undefined }, io, scrubber, start);
    case "run":
      if (line.words.length > 2) throw refuse(line, "underpass run takes one argument at most: the tunnel's UUID");
      return run({ line, style: "native", run: true, tunnelRef: second }, io, scrubber, start);
    case "tunnel":
      if (second === "diag") return diag(line, line.words[2], diagFlags, "tunnel", io, scrubber);
      return tunnel(line, io, scrubber, start);
    case "config":
      return configCheck(line, io, scrubber);
    case "ingress":
      return ingress(line, line.words.slice(1), io, scrubber);
    case "check":
      if (line.words.length > 1) throw refuse(line, "check takes no argument");
      return (await import("./check.ts")).check({ line, io, scrubber });
    case "diag":
      return diag(line, second, diagFlags, "native", io, scrubber);
    case "service":
      return (await import("./service/service.ts")).service({ line, io, scrubber });
    case "ready":
    case "healthcheck":
      return health(first, line, "native", io, scrubber);
    default:
      throw unknownCommand(line, first);
  }
}

async function run(request: LoadRequest, io: CliIo, scrubber: Scrubber, start?: StartTunnel): Promise<number> {
  // The connector and the logger load while nothing else is to be done: both take longer than reading the command line.
  const loading = Promise.all([import("./run.ts"), start ?? import("../connector/tunnel.ts")]);
  // A wrong command line is reported first.
  loading.catch(() => {});
  const stop = new AbortController();
  const release = io.onSignal(() => stop.abort());
  try {
    const signalled = once(stop.signal, "abort").then(() => undefined);
    const reading = loadPlan({ ...request, signal: stop.signal }, io, scrubber);
    // Whoever writes a token to stdin may take long, or never do.
    const loaded = await Promise.race([reading, signalled]);
    if (loaded === undefined) {
      reading.catch(() => {});
      return 0;
    }
    const [{ runTunnel }, connector] = await loading;
    if (stop.signal.aborted) return 0;
    const startTunnel = typeof connector === "function" ? connector : connector.startTunnel;
    return await runTunnel({ request, loaded, io, scrubber, start: startTunnel });
  } finally {
    release();
  }
}

function tunnel(line: CommandLine, io: CliIo, scrubber: Scrubber, start?: StartTunnel): Promise<number> {
  const [, second, tunnelRef] = line.words;
  if (second === undefined) {
    return run({ line, style: "tunnel", run: false, tunnelRef: undefined }, io, scrubber, start);
  }
  if (second === "ingress") return ingress(line, line.words.slice(2), io, scrubber);
  if (second === "ready") return health("ready", line, "tunnel", io, scrubber);
  if (second !== "run") throw unknownCommand(line, second, "tunnel");
  if (line.words.length > 3) {
    throw refuse(line, '"underpass tunnel run" accepts only one argument, the ID of the tunnel to run');
  }
  return run({ line, style: "tunnel", run: true, tunnelRef }, io, scrubber, start);
}

async function configCheck(line: CommandLine, io: CliIo, scrubber: Scrubber): Promise<number> {
  const [, second, configPath] = line.words;
  if (second !== "check" || line.words.length > 3) {
    throw refuse(line, "underpass config has one command: underpass config check [--config FILE]");
  }
  const loaded = await loadPlan({ line, style: "native", run: false, tunnelRef: undefined, configPath }, io, scrubber);
  const { describeConfig } = await import("./config-check.ts");
  io.stdout.write(scrubber.scrub(describeConfig(loaded, line.switches.has("json"))));
  return 0;
}

async function ingress(line: CommandLine, words: readonly string[], io: CliIo, scrubber: Scrubber): Promise<number> {
  const { ingressCommand } = await import("./ingress.ts");
  return ingressCommand({ line, words, io, scrubber });
}

async function diag(
  line: CommandLine,
  file: string | undefined,
  flags: DiagFlags | undefined,
  style: "native" | "tunnel",
  io: CliIo,
  scrubber: Scrubber,
): Promise<number> {
  const most = style === "tunnel" ? 3 : 2;
  if (line.words.length > most || flags === undefined)
    throw refuse(line, "diag takes one argument at most: the file to write");
  return (await import("./diag.ts")).diag({ line, style, io, scrubber, flags, file });
}

async function health(
  command: "ready" | "healthcheck",
  line: CommandLine,
  style: "native" | "tunnel",
  io: CliIo,
  scrubber: Scrubber,
): Promise<number> {
  if (line.words.length > (style === "tunnel" ? 2 : 1)) throw refuse(line, `${command} takes no argument`);
  const commands = await import("./ready.ts");
  return commands[command]({ line, style, io, scrubber });
}

const OWNERS = {
  json: "underpass config check --json",
  short: "underpass version --short",
  strict: "underpass healthcheck --strict",
  "dry-run": "underpass service install --dry-run",
  // Of cloudflared's timer that updates it, which there is none of here.
  "no-update-service": "underpass service install",
} as const;

/** These belong to few commands. */
function refuseStraySwitches({ switches, words }: CommandLine): void {
  const [first, second] = words;
  const owners = {
    json: ["config", "check", "healthcheck"].includes(first ?? "") || [first, second].includes("ingress"),
    short: words[0] === "version" || switches.has("version"),
    strict: words[0] === "healthcheck",
    "dry-run": words[0] === "service",
    "no-update-service": words[0] === "service",
  };
  for (const name of ["json", "short", "strict", "dry-run", "no-update-service"] as const) {
    if (!switches.has(name) || owners[name]) continue;
    throw new ConfigError([{ where: `--${name}`, text: `unknown flag here; ${OWNERS[name]} has it` }]);
  }
}

/** Commands that write no log would not miss a wrong format; what is taken for `--output` by them is a file more often than not. */
function refuseStrayOutput({ layer, words }: CommandLine): void {
  const [first = "", second] = words;
  const output = layer.get("output");
  if (output === undefined || ["", "default", "json"].includes(String(output.value))) return;
  const diagnosis = first === "tunnel" && second === "diag" ? "tunnel diag" : first === "diag" ? first : undefined;
  if (diagnosis === undefined && !["check", "healthcheck", "ingress", "ready"].includes(first)) return;
  const { where, text } = wrongValue(output.where, output.value, '"default" or "json", the format of a log,');
  const hint = diagnosis === undefined ? "" : `; the file to write is an argument: underpass ${diagnosis} FILE.zip`;
  throw new ConfigError([{ where, text: `${text}${hint}` }]);
}

/** A flag that is wrong comes first: its value may be the word too many. */
function refuse({ problems }: CommandLine, message: string): Error {
  return problems.length > 0 ? new ConfigError(problems) : new UsageError(message);
}

function unknownCommand({ problems }: CommandLine, word: string, parent?: "tunnel"): Error {
  const notYet = parent === "tunnel" ? TUNNEL_NOT_YET.includes(word) : NOT_YET.has(word);
  const name = parent === undefined ? word : `${parent} ${word}`;
  if (notYet) return new NotYetError(`\`underpass ${name}\` is not there yet${NOT_YET.get(word) ?? ""}`, 1);
  const removed = REMOVED.get(word);
  if (removed !== undefined) return new NotYetError(`\`${name}\` is gone: cloudflared has removed it too`, removed);
  if (problems.length > 0) return new ConfigError(problems);
  const near = nearest(
    word,
    parent === "tunnel" ? ["run", "ingress", "ready", "diag", ...TUNNEL_NOT_YET] : [...COMMANDS, ...NOT_YET.keys()],
  );
  const hint = /^\d+$/.test(word)
    ? `for a quick tunnel: underpass --url http://localhost:${word}`
    : isTokenLike(word)
      ? `for a tunnel: underpass run; ${TOKEN_ADVICE}`
      : near === undefined
        ? "see underpass --help"
        : `did you mean ${near}?`;
  return new ConfigError([{ where: "", text: `unknown command ${JSON.stringify(name.slice(0, 80))}; ${hint}` }]);
}

class NotYetError extends UnderpassError {
  readonly status: number;

  constructor(message: string, status: number) {
    super("ERR_UNDERPASS_NOT_YET", message);
    this.status = status;
  }
}

/** Prints what went wrong and what to do, readable and without secrets, and returns the exit status. */
async function report(error: unknown, args: readonly string[], io: CliIo, scrubber: Scrubber): Promise<number> {
  const print = (text: string) => {
    io.stderr.on("error", () => {});
    if (!io.stderr.destroyed) io.stderr.write(scrubber.scrub(text));
  };
  if (error instanceof ConfigError) {
    // Each says itself what would be right.
    print(error.problems.map((problem) => `underpass: ${formatProblem(problem)}\n`).join(""));
    return 1;
  }
  if (error instanceof UsageError) {
    const [command = "run", second = ""] = readCommandLine(args, scrubber).words;
    const isTunnel = command === "tunnel";
    const help = isTunnel
      ? `tunnel ${["ingress", "diag", "ready"].includes(second) ? second : "run"}`
      : COMMANDS.includes(command)
        ? command
        : "run";
    print(`underpass: ${error.message}\nSee 'underpass ${help} --help'.\n`);
    return isTunnel ? USAGE_STATUS : 1;
  }
  const level = readCommandLine(args, scrubber).layer.get("loglevel")?.value ?? io.env["TUNNEL_LOGLEVEL"];
  const debugging = level === "debug";
  const detail = error instanceof Error ? (debugging ? (error.stack ?? error.message) : error.message) : String(error);
  print(`underpass: ${detail}\n${await adviceOn(error)}`);
  return error instanceof NotYetError ? error.status : 1;
}

/** What docs/errors.md says about the error's code. */
async function adviceOn(error: unknown): Promise<string> {
  if (!(error instanceof UnderpassError)) return "";
  const { remedyOf } = await import("../error-catalogue.ts");
  const remedy = remedyOf(error);
  return remedy === undefined ? "" : `What to do: ${remedy} (${error.code})\n`;
}
