/** `underpass.toml`: `[tunnel]` and `[tunnel.cloudflare]`, and ingress rules as in `config.yml` (docs/config.md). */
import { parse, TomlError } from "smol-toml";
import { type ConfigFile, fileLayer, type IngressSection, type Located } from "./config-file.ts";
import { parseHostname } from "./hostname.ts";
import { ingressProblems } from "./ingress-check.ts";
import { type Environment, interpolate } from "./interpolate.ts";
import { formatKeyPath, type KeyPath } from "./key-path.ts";
import { nearest } from "../proxy/ingress/nearest.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "./problem.ts";
import { REQUEST_LOG_MODES } from "../proxy/request-log/request-log.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import type { SettingValue } from "./settings.ts";
import { locateTomlKeys } from "./toml-lines.ts";

interface TomlKey {
  /** The setting that it fills; none for keys that are only checked. */
  readonly setting: string | undefined;
  readonly expected: string;
  /** Undefined refuses the value. */
  readonly read: (value: unknown) => SettingValue | undefined;
  readonly secret?: true;
}

const KEYS: ReadonlyMap<string, TomlKey> = new Map([
  ["tunnel.backend", choice(undefined, "cloudflare")],
  ["tunnel.local_addr", { setting: "url", expected: 'host:port such as "127.0.0.1:8080"', read: readLocalAddress }],
  ["tunnel.health_check_interval_secs", whole("health-check-interval", 1, 86_400, 1000)],
  ["tunnel.max_failures", whole("max-failures", 1, 1_000_000)],
  ["tunnel.cloudflare.mode", choice("mode", "quick", "named")],
  ["tunnel.cloudflare.token", { setting: "token", expected: "a tunnel token in quotes", read: readText, secret: true }],
  [
    "tunnel.cloudflare.hostname",
    { setting: "hostname", expected: 'a host name such as "agent.example.com"', read: readHostname },
  ],
  ["tunnel.cloudflare.cloudflared_path", { setting: undefined, expected: "a path in quotes", read: readText }],
  ["tunnel.cloudflare.protocol", choice("protocol", "auto", "quic", "http2")],
  [
    "tunnel.cloudflare.edge_ip_version",
    { setting: "edge-ip-version", expected: '"auto", 4 or 6', read: readIpVersion },
  ],
  [
    "tunnel.cloudflare.edge_proxy",
    { setting: "edge-proxy", expected: 'a URL such as "http://proxy.example:3128"', read: readText, secret: true },
  ],
  [
    "tunnel.cloudflare.state_directory",
    { setting: "state-directory", expected: "the path of a directory in quotes", read: readText },
  ],
  ["tunnel.cloudflare.retries", whole("retries", 0, 1_000_000)],
  ["tunnel.cloudflare.grace_period_secs", whole("grace-period", 0, 180, 1000)],
  [
    "tunnel.cloudflare.metrics_port",
    { ...whole("metrics", 0, 65_535), expected: "a port number from 0 (any free one) to 65535", read: readPort },
  ],
  ["tunnel.cloudflare.log_level", choice("loglevel", "debug", "info", "warn", "error")],
  ["tunnel.cloudflare.request_log", choice("request-log", ...REQUEST_LOG_MODES)],
]);

/** Under `[tunnel]`; checked by config/ingress.ts. */
const INGRESS_KEYS = ["ingress", "originRequest", "warp-routing"] as const;

/** Reads and checks the whole document; all problems are reported at once. */
export function parseTomlConfig(text: string, path: string, env: Environment): ConfigFile {
  const source = text.replace(/^\uFEFF/, "");
  const document = parseDocument(source, path);
  const lines = locateTomlKeys(source);
  const place = (keys: KeyPath) => `${path}:${lines.find(keys) ?? 1}: ${redactLikely(formatKeyPath(keys))}`;
  const where = (key: string) => place(key.split("."));
  const problems: ConfigProblem[] = [];
  const entries: { name: string; value: SettingValue; where: string }[] = [];
  let mode: Located<"quick" | "named"> = { value: "quick", where: where("tunnel.cloudflare.mode") };
  const notes: string[] = [];
  const ingress: Record<string, unknown> = {};
  let isFilledIn = true;

  for (const [key, found] of flatten(document, problems, where)) {
    const known = KEYS.get(key);
    const section = INGRESS_KEYS.find((name) => key === `tunnel.${name}`);
    if (section !== undefined) {
      ingress[section] = readPlain(found, ["tunnel", section], env, (keys, problem) => {
        problems.push({ where: place(keys), ...problem });
        isFilledIn = false;
      });
      continue;
    }
    if (known === undefined) {
      problems.push({ where: where(key), text: unknownKey(key) });
      continue;
    }
    const filled = fillIn(found, env);
    if ("text" in filled) {
      problems.push({ where: where(key), ...filled });
      continue;
    }
    // A variable holds text; where the key wants a number, its digits are one.
    const filledText = filled.value !== found && typeof filled.value === "string" ? filled.value : "";
    const number = /^\d{1,15}$/.test(filledText) ? known.read(BigInt(filledText)) : undefined;
    const value = known.read(filled.value) ?? number;
    if (value === undefined) {
      const shown = known.secret && typeof found === "string" ? "[redacted]" : filled.value;
      problems.push(wrongValue(where(key), shown, known.expected));
    } else if (known.setting === "mode") {
      mode = { value: value === "named" ? "named" : "quick", where: where(key) };
    } else if (known.setting !== undefined) {
      entries.push({ name: known.setting, value, where: where(key) });
    } else if (key.endsWith(".cloudflared_path")) {
      notes.push(`${where(key)} is ignored: no cloudflared binary is needed`);
    }
  }
  const localAddr = entries.find(({ name }) => name === "url");
  if (localAddr !== undefined && "ingress" in ingress) {
    problems.push({ where: localAddr.where, text: "given beside [[tunnel.ingress]]; one of them would be right" });
  }
  const section: IngressSection = { source: ingress, where: (keys) => place(["tunnel", ...keys]), strict: true };
  if (problems.length > 0) {
    throw new ConfigError([...problems, ...(isFilledIn ? ingressProblems(section, env) : [])]);
  }
  return {
    path,
    format: "toml",
    layer: fileLayer(entries),
    mode,
    localAddr: where("tunnel.local_addr"),
    ...(Object.keys(ingress).length === 0 ? {} : { ingress: section }),
    warnings: [],
    notes,
  };
}

function parseDocument(source: string, path: string): unknown {
  try {
    return parse(source, { integersAsBigInt: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // What follows the first line is the source around the error, which may hold the token.
    const reason = redactLikely(error.message.split("\n")[0] ?? "").replace(/^Invalid TOML document: /, "");
    throw new ConfigError([{ where: `${path}:${error.line}:${error.column}`, text: `not valid TOML: ${reason}` }]);
  }
}

/** The leaves of `[tunnel]` and `[tunnel.cloudflare]` by dotted path, in the document's order. */
function flatten(
  document: unknown,
  problems: ConfigProblem[],
  where: (key: string) => string,
): readonly (readonly [string, unknown])[] {
  const leaves: (readonly [string, unknown])[] = [];
  const visit = (value: unknown, path: string) => {
    for (const [name, child] of Object.entries(value ?? {})) {
      const key = path === "" ? name : `${path}.${name}`;
      if (key !== "tunnel" && key !== "tunnel.cloudflare") leaves.push([key, child]);
      else if (typeof child === "object" && !Array.isArray(child)) visit(child, key);
      else problems.push(wrongValue(where(key), child, `a table [${key}]`));
    }
  };
  visit(document, "");
  return leaves;
}

/** A value for the ingress parser: numbers as JSON has them, variables filled in. */
function readPlain(
  value: unknown,
  path: KeyPath,
  env: Environment,
  refuse: (path: KeyPath, problem: Unfilled) => void,
): unknown {
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "string") {
    const filled = fillIn(value, env);
    if ("value" in filled) return filled.value;
    refuse(path, filled);
    return undefined;
  }
  if (Array.isArray(value)) return value.map((item, index) => readPlain(item, [...path, index], env, refuse));
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([key, item]) => [key, readPlain(item, [...path, key], env, refuse)] as const));
}

function unknownKey(key: string): string {
  const parent = parentOf(key);
  const siblings = [...KEYS.keys(), ...INGRESS_KEYS.map((name) => `tunnel.${name}`)]
    .filter((known) => parentOf(known) === parent)
    .map(nameOf);
  const elsewhere = [...KEYS.keys()].find((known) => nameOf(known) === nameOf(key));
  let right = nearest(nameOf(key), siblings);
  if (elsewhere !== undefined) right = `${nameOf(key)} under [${parentOf(elsewhere)}]`;
  else if (siblings.length === 0) right = "[tunnel] or [tunnel.cloudflare]";
  return `found an unknown key; ${right ?? `one of ${siblings.join(", ")}`} would be right`;
}

function parentOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf(".")));
}

function nameOf(key: string): string {
  return key.slice(key.lastIndexOf(".") + 1);
}

type Unfilled = Pick<ConfigProblem, "text" | "variable">;

/** `${NAME}` is filled in before a value is checked. */
function fillIn(found: unknown, env: Environment): { readonly value: unknown } | Unfilled {
  if (typeof found !== "string") return { value: found };
  const result = interpolate(found, env);
  if (result.ok) return result;
  const text = `found ${result.found}; ${result.expected} would be right`;
  return result.variable === undefined ? { text } : { text, variable: result.variable };
}

function choice(setting: string | undefined, ...values: readonly string[]): TomlKey {
  const quoted = values.map((value) => `"${value}"`);
  const expected = quoted.length === 1 ? String(quoted[0]) : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
  return {
    setting,
    expected,
    read: (value) => (typeof value === "string" && values.includes(value) ? value : undefined),
  };
}

function whole(setting: string, low: number, high: number, factor = 1): TomlKey {
  const expected = `a whole number from ${low} to ${high}`;
  return {
    setting,
    expected,
    read: (value) => {
      return typeof value === "bigint" && value >= low && value <= high ? Number(value) * factor : undefined;
    },
  };
}

function readText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function readPort(value: unknown): string | undefined {
  return typeof value === "bigint" && value >= 0 && value <= 65_535 ? `127.0.0.1:${value}` : undefined;
}

function readHostname(value: unknown): string | undefined {
  return typeof value === "string" ? parseHostname(value) : undefined;
}

function readIpVersion(value: unknown): string | undefined {
  const text = typeof value === "bigint" ? String(value) : value;
  return text === "auto" || text === "4" || text === "6" ? text : undefined;
}

/** `host:port`, or an http or https URL. */
function readLocalAddress(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  if (/^https?:\/\//i.test(value)) return URL.canParse(value) ? value : undefined;
  const match = /^(?:\[[\da-f:.]+\]|[a-z\d](?:[a-z\d._-]*[a-z\d])?):(\d{1,5})$/i.exec(value);
  const port = Number(match?.[1]);
  return port >= 1 && port <= 65_535 && URL.canParse(`http://${value}`) ? `http://${value}` : undefined;
}
