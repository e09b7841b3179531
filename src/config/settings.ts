/**
 * A setting is one thing that a user can choose, under the name of cloudflared's flag. Flags, environment variables,
 * YAML keys and TOML keys all end in the same settings; `settings-table.ts` lists them.
 */
import { formatDuration, parseDuration } from "../proxy/ingress/duration.ts";
import { type ConfigProblem, wrongValue } from "./problem.ts";
import { REDACTED } from "../proxy/ingress/redact.ts";
import { settingsTable } from "./settings-table.ts";

/** Durations are milliseconds. */
export type SettingValue = string | number | boolean | readonly string[];
export type SettingType = "string" | "bool" | "int" | "duration" | "list";

export type SettingStatus =
  | { readonly kind: "supported" }
  /** The feature is not there yet: only the value that leaves it off is taken. */
  | { readonly kind: "not-yet"; readonly feature: string; readonly off: SettingValue }
  /** Belongs to something that underpass does not do, or does not do yet, and can be left unread without harm. */
  | { readonly kind: "unused" }
  /** Without effect in cloudflared too. */
  | { readonly kind: "dead" };

export interface SettingSpec {
  readonly name: string;
  readonly type: SettingType;
  readonly status: SettingStatus;
  readonly aliases: readonly string[];
  readonly env: readonly string[];
  /** What applies when nobody says anything, as the help shows it. */
  readonly fallback: string | undefined;
  readonly help: string;
  /** The value is a credential. */
  readonly secret: boolean;
  /** Known to underpass alone: no flag of cloudflared, and no key of its file. */
  readonly native: boolean;
  /** For numbers and durations (milliseconds), inclusive. */
  readonly range: readonly [number, number] | undefined;
}

/** A value and where it came from. */
export interface Setting {
  readonly name: string;
  readonly value: SettingValue;
  readonly source: "flag" | "environment" | "file";
  /** For errors and `config check`: `--retries`, `TUNNEL_RETRIES`, `underpass.toml:12: tunnel.cloudflare.retries`. */
  readonly where: string;
}

/** What one source says. */
export type SettingLayer = ReadonlyMap<string, Setting>;

const byName = new Map<string, SettingSpec>();
for (const spec of settingsTable) for (const name of [spec.name, ...spec.aliases]) byName.set(name, spec);

/** The setting of that flag name or alias. */
export function findSetting(name: string): SettingSpec | undefined {
  return byName.get(name);
}

export function settingNames(): Iterable<string> {
  return byName.keys();
}

/** Reads a value that was given as text (a flag, a variable). */
export function readSettingText(spec: SettingSpec, text: string, where: string): SettingValue | ConfigProblem {
  switch (spec.type) {
    case "string":
      return text;
    case "list":
      return text.split(",").filter((part) => part !== "");
    case "bool":
      // Go's spellings.
      if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return true;
      if (/^(?:0|f|F|FALSE|false|False)$/.test(text)) return false;
      return wrongValue(where, hide(spec, text), "true or false");
    case "int":
      return inRange(spec, /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined, text, where);
    case "duration":
      return inRange(spec, parseDuration(text), text, where);
    default:
      return spec.type satisfies never;
  }
}

/** Reads a value of a configuration file, where it has a type of its own. */
export function readSettingValue(spec: SettingSpec, value: unknown, where: string): SettingValue | ConfigProblem {
  switch (spec.type) {
    case "bool":
      if (typeof value === "boolean") return value;
      break;
    case "int":
      return inRange(spec, typeof value === "number" && Number.isInteger(value) ? value : undefined, value, where);
    case "duration":
      return inRange(spec, typeof value === "string" ? parseDuration(value) : undefined, value, where);
    case "list":
      if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
      break;
    case "string":
      if (typeof value === "string") return value;
      break;
    default:
      return spec.type satisfies never;
  }
  return wrongValue(where, hide(spec, value), expectedValue(spec));
}

export function isProblem(value: SettingValue | ConfigProblem): value is ConfigProblem {
  return typeof value === "object" && "where" in value;
}

function inRange(spec: SettingSpec, value: number | undefined, found: unknown, where: string): number | ConfigProblem {
  const [low, high] = spec.range ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  if (value !== undefined && value >= low && value <= high) return value;
  return wrongValue(where, hide(spec, found), expectedValue(spec));
}

function hide(spec: SettingSpec, value: unknown): unknown {
  return spec.secret ? REDACTED : value;
}

/** What a setting takes, for errors. */
export function expectedValue(spec: SettingSpec): string {
  if (spec.type === "bool") return "true or false";
  if (spec.type === "string") return "a text";
  if (spec.type === "list") return "a list of texts";
  const kind = spec.type === "int" ? "a whole number" : 'a duration such as "30s" or "1m30s"';
  if (spec.range === undefined) return kind;
  const show = spec.type === "int" ? String : formatDuration;
  const [low, high] = spec.range;
  return Number.isFinite(high) && high < 1e9
    ? `${kind} from ${show(low)} to ${show(high)}`
    : `${kind} from ${show(low)}`;
}
