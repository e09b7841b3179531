/** `underpass ingress validate` and `ingress rule URL`: with cloudflared's words on stdout, which scripts look for. */
import type { IngressSection } from "../config/config-file.ts";
import { readEnvironment } from "../config/environment.ts";
import { awaitTextFile, expandHome, findDefaultConfig, loadConfigFile } from "../config/files.ts";
import { type CheckedIngress, checkIngress } from "../config/ingress-check.ts";
import { formatKeyPath } from "../config/key-path.ts";
import { ConfigError, type ConfigProblem, formatProblem } from "../config/problem.ts";
import { serviceOf } from "../config/service.ts";
import { createRouter } from "../proxy/ingress/router.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { IngressRule } from "../types.ts";
import type { CommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";
import { waitingOf } from "./load.ts";

const NO_FILE =
  "No configuration file was found. Please create one, or use the --config flag to specify its filepath. You can use the help command to learn more about configuration files";
const NO_RULES = "The config file doesn't contain any ingress rules";

interface Rules extends CheckedIngress {
  /** As the file has them. */
  readonly source: unknown;
}

export interface IngressCommand {
  readonly line: CommandLine;
  /** What follows the word `ingress`. */
  readonly words: readonly string[];
  readonly io: CliIo;
  readonly scrubber: Scrubber;
}

/** Resolves with the exit status. Throws a ConfigError. */
export async function ingressCommand(command: IngressCommand): Promise<number> {
  const { line, words } = command;
  if (line.problems.length > 0) throw new ConfigError(line.problems);
  const [name, argument, ...rest] = words;
  if (name === "validate" && argument === undefined) return validate(command);
  if (name === "rule" && rest.length === 0) return findRule(command, argument);
  const text = "underpass ingress has two commands: ingress validate [--config FILE], and ingress rule URL";
  throw new ConfigError([{ where: "", text }]);
}

async function validate(command: IngressCommand): Promise<number> {
  const { io, line } = command;
  const json = line.json ?? io.env["TUNNEL_INGRESS_VALIDATE_JSON"];
  const print = printer(command);
  let rules: Rules;
  if (json !== undefined && json !== "") {
    print("Validating rules from cmdline flag --json");
    rules = validated(() => checkRules(readJson(json), io));
  } else {
    rules = await rulesOfFile(command, "Validating");
    const url = line.layer.get("url") ?? readEnvironment(io.env).layer.get("url");
    if (url !== undefined && url.value !== "") {
      throw new ConfigError([
        { where: "", text: "You can't set the --url flag (or $TUNNEL_URL) when using multiple-origin ingress rules" },
      ]);
    }
  }
  const { unknownKeys, warnings } = rules;
  for (const warning of warnings) if (!unknownKeys.includes(warning)) print(`Warning: ${warning}`);
  if (unknownKeys.length === 0) {
    print("OK");
  } else {
    print("Warning: unused keys detected in your config file. Here is a list of unused keys:");
    for (const warning of unknownKeys) print(warning);
  }
  return 0;
}

async function findRule(command: IngressCommand, url: string | undefined): Promise<number> {
  if (url === undefined) {
    throw new ConfigError([{ where: "", text: "underpass ingress rule expects a single argument, the URL to test" }]);
  }
  // Not by URL, which would tidy up the path; rules see it as the visitor sends it.
  const parts = /^[a-z][a-z\d+.-]*:\/\/(?:[^/?#]*@)?([^/?#]+)([^#]*)/is.exec(url);
  if (parts === null) {
    throw new ConfigError([{ where: "", text: `${url} doesn't have a hostname, consider adding a scheme` }]);
  }
  const [, host = "", path = ""] = parts;
  const { ingress, source } = await rulesOfFile(command, "Using");
  const index = createRouter(ingress.rules).match(host, byteString(path === "" ? "/" : path));
  const rule = ingress.rules[index];
  if (rule === undefined) throw new RangeError(`there is no rule ${index}`);
  const print = printer(command);
  print(`Matched rule #${index}`);
  print(describeRule(rule, Array.isArray(source) ? source[index] : undefined));
  return 0;
}

/** Requests carry their paths as bytes. */
function byteString(path: string): string {
  return Buffer.from(path, "utf8").toString("latin1");
}

function describeRule(rule: IngressRule, source: unknown): string {
  const lines = [
    ...(rule.hostname === "" ? [] : [`hostname: ${rule.hostname}`]),
    ...(rule.path === undefined ? [] : [`path: ${rule.path}`]),
    `service: ${writtenService(rule, source) ?? serviceOf(rule.service) ?? rule.service.kind}`,
  ];
  return lines.map((text) => `\t${text}`).join("\n");
}

/** A URL with the usual port, where it was written with it. */
function writtenService({ service }: IngressRule, source: unknown): string | undefined {
  const isTable = typeof source === "object" && source !== null && "service" in source;
  const text = service.kind === "url" && isTable ? source.service : undefined;
  return typeof text === "string" && /^\w+:\/\/[\w.-]+:\d+$/.test(text) ? text : undefined;
}

function printer({ io, scrubber }: IngressCommand): (text: string) => void {
  return (text) => io.stdout.write(scrubber.scrub(`${text}\n`));
}

async function rulesOfFile(command: IngressCommand, verb: "Validating" | "Using"): Promise<Rules> {
  const { io, line, scrubber } = command;
  const named = line.layer.get("config")?.value;
  const path = named === undefined || named === "" ? findDefaultConfig(io.env) : String(named);
  if (path === undefined) throw new ConfigError([{ where: "", text: NO_FILE }]);
  await awaitTextFile(expandHome(path, io.env), "--config", waitingOf(io, scrubber));
  const file = await loadConfigFile(path, io.env, "--config");
  printer(command)(`${verb} rules from ${path}`);
  return validated(() => {
    const rules = checkRules(file.ingress, io);
    return { ...rules, unknownKeys: [...file.warnings.map(formatProblem), ...rules.unknownKeys] };
  });
}

function checkRules(section: IngressSection | undefined, io: CliIo): Rules {
  const rules = section?.source.ingress;
  if (section === undefined || rules === undefined || rules === null || (Array.isArray(rules) && rules.length === 0)) {
    throw new ConfigError([{ where: "", text: NO_RULES }]);
  }
  return { ...checkIngress(section, io.env), source: rules };
}

function readJson(text: string): IngressSection {
  let source: unknown;
  try {
    source = JSON.parse(text);
  } catch {
    throw new ConfigError([{ where: "--json", text: "is not valid JSON" }]);
  }
  if (typeof source !== "object" || source === null || Array.isArray(source)) {
    throw new ConfigError([{ where: "--json", text: 'is no object; {"ingress": […]} would be right' }]);
  }
  return { source, where: (path) => `--json: ${formatKeyPath(path)}`, strict: false };
}

/** Says with the first problem what has failed, as cloudflared does. */
function validated(check: () => Rules): Rules {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = error.problems.map(
      ({ where, text }): ConfigProblem => ({
        where: where === "" ? "Validation failed" : `Validation failed: ${where}`,
        text,
      }),
    );
    throw new ConfigError(problems);
  }
}
