/** The first lines of a tunnel's log, as cloudflared's readers know them (operations § 5). */
import { formatDuration } from "../proxy/ingress/duration.ts";
import type { Environment } from "../config/interpolate.ts";
import type { MergedSettings } from "../config/merged.ts";
import { findSetting, type Setting } from "../config/settings.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { readVersion } from "../config/version.ts";
import type { Logger } from "../types.ts";

const MASK = "*****";

export function logStart(logger: Logger, config: TunnelConfig, settings: MergedSettings, env: Environment): void {
  if (config.identity.mode === "named") {
    logger.info("Starting tunnel", { tunnelID: config.identity.credentials.tunnelId });
  }
  logger.info(`Version ${readVersion()}`);
  logger.info(`Node.js ${process.version}, ${process.platform} ${process.arch}`);
  const chosen = settings.all();
  if (chosen.length > 0) logger.info(`Settings: map[${chosen.map((setting) => showSetting(setting)).join(" ")}]`);
  const variables = Object.keys(env)
    .filter((name) => name.includes("TUNNEL_") && env[name] !== undefined)
    .sort();
  if (variables.length > 0) {
    const shown = variables.map((name) => `${name}:${isSecret(name) ? MASK : env[name]}`);
    logger.info(`Environmental variables map[${shown.join(" ")}]`);
  }
}

function showSetting({ name, value }: Setting): string {
  const spec = findSetting(name);
  if (spec?.secret === true) return `${name}:${MASK}`;
  if (spec?.type === "duration" && typeof value === "number") return `${name}:${formatDuration(value)}`;
  return `${name}:${typeof value === "object" ? `[${value.join(" ")}]` : String(value)}`;
}

/** Whether a variable holds a credential; one that nobody knows is masked when its name says so. */
function isSecret(variable: string): boolean {
  return /TOKEN$|SECRET|CONTENTS|KEY|PASSW|PROXY$/.test(variable);
}
