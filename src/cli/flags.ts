/** Reads a command line by Go's rules: `-x v`, `--x v`, `--x=v`, one dash or two, flags at any level. */
import { type ConfigProblem, wrongValue } from "../config/problem.ts";
import { looksSecret, type Scrubber } from "../proxy/ingress/redact.ts";
import {
  expectedValue,
  findSetting,
  isProblem,
  readSettingText,
  type Setting,
  type SettingLayer,
  type SettingSpec,
} from "../config/settings.ts";
import { nearestFlag } from "./nearest-flag.ts";

export interface CommandLine {
  /** Commands and arguments: what is no flag and no flag's value. */
  readonly words: readonly string[];
  readonly layer: SettingLayer;
  readonly switches: ReadonlySet<Switch>;
  /** What `--json` was given, where it was given something: an object for `ingress validate`. */
  readonly json: string | undefined;
  readonly problems: readonly ConfigProblem[];
}

/** Flags that are no settings. */
type Switch = "help" | "version" | "json" | "short" | "strict" | "dry-run" | "no-update-service";

const SWITCHES: ReadonlyMap<string, Switch> = new Map([
  ["help", "help"],
  ["h", "help"],
  ["version", "version"],
  ["v", "version"],
  ["V", "version"],
  ["json", "json"],
  ["j", "json"],
  ["short", "short"],
  ["s", "short"],
  ["strict", "strict"],
  ["dry-run", "dry-run"],
  ["no-update-service", "no-update-service"],
]);

/** Never throws. What looks like a credential is told to the scrubber, whichever flag it was given to. */
export function readCommandLine(args: readonly string[], scrubber: Scrubber): CommandLine {
  const words: string[] = [];
  const layer = new Map<string, Setting>();
  const switches = new Set<Switch>();
  const problems: ConfigProblem[] = [];
  let flagsEnded = false;
  let json: string | undefined;

  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    const match = flagsEnded ? null : /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(arg);
    hideSecrets(arg, match?.[2], scrubber);
    if (match?.[1] === undefined) {
      if (arg === "--" && !flagsEnded) flagsEnded = true;
      else words.push(arg);
      continue;
    }
    const [, name, attached] = match;
    const known = SWITCHES.get(name);
    const spec = findSetting(name);
    if (known !== undefined) {
      if (attached !== "false") switches.add(known);
      if (known === "json") {
        const follows = attached === undefined && /^\s*[{[]/.test(args[index + 1] ?? "");
        json = follows ? args[++index] : attached;
      }
      continue;
    }
    if (spec === undefined) {
      problems.push(unknownFlag(name));
      continue;
    }
    let text = attached;
    if (text === undefined && spec.type !== "bool") {
      const next = args[index + 1];
      if (next === undefined || isKnownFlag(next)) {
        problems.push(wrongValue(`--${spec.name}`, undefined, expectedValue(spec)));
        continue;
      }
      text = next;
      index++;
      hideSecrets(text, undefined, scrubber);
    }
    if (spec.type === "bool" && text === undefined && /^(?:true|false)$/.test(args[index + 1] ?? "")) {
      const right = `--${spec.name}=${args[index + 1]}`;
      problems.push({ where: `--${spec.name}`, text: `takes its value after "="; ${right} would be right` });
      index++;
      continue;
    }
    if (spec.secret && text !== undefined) scrubber.add(text);
    addSetting(layer, problems, spec, text ?? "true");
  }
  return { words, layer, switches, json, problems };
}

function addSetting(layer: Map<string, Setting>, problems: ConfigProblem[], spec: SettingSpec, text: string): void {
  const { name } = spec;
  const where = `--${name}`;
  const value = readSettingText(spec, text, where);
  if (isProblem(value)) {
    problems.push(value);
    return;
  }
  // Lists grow; of all else the last one counts, which is the innermost level's.
  const before = layer.get(name)?.value;
  const all = Array.isArray(value) && Array.isArray(before) ? [...before, ...value] : value;
  layer.set(name, { name, value: all, source: "flag", where });
}

/** An unknown flag is named without its value, which may be a token. */
function unknownFlag(name: string): ConfigProblem {
  const shown = looksSecret(name) ? "[redacted]" : name.slice(0, 60);
  const near = nearestFlag(name);
  const hint = near === undefined ? "see underpass --help" : `did you mean --${near}?`;
  return { where: `--${shown}`, text: `unknown flag; ${hint}` };
}

function isKnownFlag(arg: string): boolean {
  const name = /^--([^=]+)/.exec(arg)?.[1];
  return name !== undefined && (findSetting(name) !== undefined || SWITCHES.has(name));
}

function hideSecrets(arg: string, attached: string | undefined, scrubber: Scrubber): void {
  for (const text of [arg, attached]) if (text !== undefined && looksSecret(text)) scrubber.add(text);
}
