import { ConfigError, wrongValue } from "../config/problem.ts";
import type { MergedSettings } from "../config/merged.ts";
import { expandHome } from "../config/files.ts";
import type { CliIo } from "./io.ts";

type CommandLogLevel = "debug" | "info" | "warn" | "error" | "fatal";

export interface LogSettings {
  readonly level: CommandLogLevel;
  readonly format: "console" | "json";
  readonly colours: boolean;
  readonly logfile: string | undefined;
  readonly logDirectory: string | undefined;
  /** To be logged once there is a log. */
  readonly warnings: readonly string[];
}

const LEVELS: readonly string[] = ["debug", "info", "warn", "error", "fatal"] satisfies CommandLogLevel[];

/**
 * `underpass tunnel` writes text unless told otherwise, and shrugs at wrong values, as cloudflared does; `underpass` alone
 * writes text on a terminal and JSON elsewhere, and refuses wrong values.
 */
export function readLogSettings(settings: MergedSettings, style: "native" | "tunnel", io: CliIo): LogSettings {
  const warnings: string[] = [];
  const level = settings.get("loglevel");
  const output = settings.get("output");
  if (level !== undefined && !isLevel(level.value)) {
    if (style === "native") {
      throw new ConfigError([wrongValue(level.where, level.value, '"debug", "info", "warn", "error" or "fatal"')]);
    }
    warnings.push(`Failed to parse log level ${JSON.stringify(level.value)}, using "info" instead`);
  }
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
    level: isLevel(level?.value) ? level.value : "info",
    format: output?.value === "json" ? "json" : automatic,
    colours: isTerminal && (io.env["NO_COLOR"] ?? "") === "" && io.env["TERM"] !== "dumb",
    logfile,
    logDirectory: logfile === undefined ? logDirectory : undefined,
    warnings,
  };
}

function isLevel(value: unknown): value is CommandLogLevel {
  return typeof value === "string" && LEVELS.includes(value);
}
