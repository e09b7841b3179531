import type { Environment } from "./interpolate.ts";
import type { ConfigProblem } from "./problem.ts";
import { CREDENTIALS, findCredential } from "./secret-file.ts";
import { isProblem, readSettingText, type Setting, type SettingLayer } from "./settings.ts";
import { settingsTable } from "./settings-table.ts";

/** What the environment says. An empty variable counts as unset: `docker run -e TUNNEL_URL=` means nothing. systemd's credentials are part of it. */
export function readEnvironment(env: Environment): { layer: SettingLayer; problems: readonly ConfigProblem[] } {
  const layer = new Map<string, Setting>();
  const problems: ConfigProblem[] = [];
  for (const spec of settingsTable) {
    const variable = spec.env.find((name) => env[name] !== undefined && env[name] !== "");
    if (variable === undefined) continue;
    const value = readSettingText(spec, env[variable] ?? "", variable);
    if (isProblem(value)) problems.push(value);
    else layer.set(spec.name, { name: spec.name, value, source: "environment", where: variable });
  }
  for (const { name, setting, unless } of CREDENTIALS) {
    const path = unless.some((other) => layer.has(other)) ? undefined : findCredential(name, env);
    if (path === undefined) continue;
    layer.set(setting, { name: setting, value: path, source: "environment", where: `CREDENTIALS_DIRECTORY/${name}` });
  }
  return { layer, problems };
}
