import { formatDuration } from "../proxy/ingress/duration.ts";
import { describeValue } from "../proxy/ingress/redact.ts";
import type { MergedSettings } from "./merged.ts";
import type { ConfigProblem } from "./problem.ts";
import { findSetting, type Setting, type SettingSpec, type SettingValue } from "./settings.ts";

/** Refuses what turns on a feature that is not there yet; names what is accepted without effect, on one line each. */
export function checkStatuses(settings: MergedSettings): {
  readonly problems: readonly ConfigProblem[];
  readonly notes: readonly string[];
} {
  const problems: ConfigProblem[] = [];
  const dead: string[] = [];
  const unused: string[] = [];
  const updatesOff = settings.bool("no-autoupdate");
  for (const setting of settings.all()) {
    const spec = findSetting(setting.name);
    const name = setting.source === "flag" ? `--${setting.name}` : setting.where;
    if (spec?.status.kind === "dead") dead.push(name);
    else if (spec?.status.kind === "unused") unused.push(name);
    else if (spec?.status.kind === "not-yet" && !isOff(setting.value, spec.status.off)) {
      if (setting.name === "autoupdate-freq" && updatesOff) unused.push(name);
      else problems.push({ where: setting.where, text: notThereYet(spec, setting, spec.status) });
    }
  }
  const notes: string[] = [];
  if (dead.length > 0) notes.push(`Accepted, without effect as in cloudflared: ${dead.join(", ")}`);
  if (unused.length > 0) notes.push(`Accepted, not used by this version: ${unused.join(", ")}`);
  return { problems, notes };
}

function isOff(value: SettingValue, off: SettingValue): boolean {
  return typeof value === "object" ? value.length === 0 : value === off;
}

function notThereYet(
  spec: SettingSpec,
  { value }: Setting,
  { feature, off }: { readonly feature: string; readonly off: SettingValue },
): string {
  const shown = spec.type === "duration" && typeof value === "number" ? formatDuration(value) : describeValue(value);
  const right = spec.type === "bool" ? `${String(off)}, or nothing,` : "nothing";
  return `found ${shown}, but ${feature} is not there yet; ${right} would be right`;
}
