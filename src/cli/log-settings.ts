import { ConfigError, wrongValue } from "../config/problem.ts";
import type { MergedSettings } from "../config/merged.ts";
import { expandHome } from "../config/files.ts";
import type { CliIo } from "./io.ts";

export type CommandLogLevel = "debug" | "info" | "warn" | "error" | "fatal";

export interface LogSettings {
  readonly level: CommandLogLevel;
  readonly format: "console" | "json";
  readonly colours: boolean;
  readonly logfile: string | undefined;
  readonly logDirectory: string | undefined;
  /** Of either. */
  readonly fileLevel: CommandLogLevel;
  readonly fileFormat: "console" | "json";
  /** To be logged once there is a log. */
  readonly warnings: readonly string[];
}

/** From the most to the least. */
export const LEVELS = ["debug", "info", "warn", "error", "fatal"] as const satisfies CommandLogLevel[];

/**
 * `underpass tunnel` writes text unless told otherwise, and shrugs at wrong values, as cloudflared does; `underpass` alone
 * writes text on a terminal and JSON elsewhere, and refuses wrong values.
 */
export function readLogSettings(settings: MergedSettings, style: "native" | "tunnel", io: CliIo): LogSettings {
  const warnings: string[] = [];
  const level = readLevel(settings, style, warnings);
  const output = settings.get("output");
  if (output !== undefined && output.value !== "default" && output.value !== "json" && style === "native") {
    throw new ConfigError([wrongValue(output.where, output.value, '"default" or "json"')]);
  }
  const [logfile, logDirectory] = ["logfile", "log-directory"].map((name) => {
    const path = settings.string(name);
    return path === undefined ? undefined : expandHome(path, io.env);
  });
  if (logfile !== undefined && logDirectory !== undefined) {
    warnings.push(`logfile (${logfile}) and log-directory (${logDirectory}) are both set: logfile takes precedence`);
  }
  const isTerminal = io.stderr.isTTY === true;
  const automatic = style === "native" && output === undefined && !isTerminal ? "json" : "console";
  return {
    level,
    format: output?.value === "json" ? "json" : automatic,
    colours: isTerminal && (io.env["NO_COLOR"] ?? "") === "" && io.env["TERM"] !== "dumb",
    logfile,
    logDirectory: logfile === undefined ? logDirectory : undefined,
    ...readFileSettings(settings, level),
    warnings,
  };
}

function readLevel(settings: MergedSettings, style: "native" | "tunnel", warnings: string[]): CommandLogLevel {
  const chosen = settings.get("loglevel");
  if (chosen === undefined) return "info";
  if (isLevel(chosen.value)) return chosen.value;
  if (style === "native") throw wrongLevel(chosen.where, chosen.value);
  warnings.push(`Failed to parse log level ${JSON.stringify(chosen.value)}, using "info" instead`);
  return "info";
}

/** These are not cloudflared's: a wrong value is an error everywhere. */
function readFileSettings(
  settings: MergedSettings,
  fallback: CommandLogLevel,
): Pick<LogSettings, "fileLevel" | "fileFormat"> {
  const level = settings.get("logfile-level");
  const fileLevel = level === undefined ? fallback : level.value;
  if (!isLevel(fileLevel)) throw wrongLevel(level?.where ?? "", fileLevel);
  const output = settings.get("logfile-output");
  if (output !== undefined && output.value !== "default" && output.value !== "json") {
    throw new ConfigError([wrongValue(output.where, output.value, '"default" or "json"')]);
  }
  return { fileLevel, fileFormat: output?.value === "default" ? "console" : "json" };
}

function wrongLevel(where: string, value: unknown): ConfigError {
  return new ConfigError([wrongValue(where, value, '"debug", "info", "warn", "error" or "fatal"')]);
}

function isLevel(value: unknown): value is CommandLogLevel {
  return LEVELS.some((level) => level === value);
}
