/** `__configuration_flags`: the flags that somebody set, as the edge is told of them (ingress § 6); and as diagnosis shows them. */
import { formatDuration } from "../proxy/ingress/duration.ts";
import { looksSecret, REDACTED, redactLikely } from "../proxy/ingress/redact.ts";
import type { MergedSettings } from "./merged.ts";
import { findSetting, type Setting } from "./settings.ts";

/** What cloudflared tells; none of them is a credential. */
const TOLD: ReadonlySet<string> = new Set([
  "autoupdate-freq",
  "no-autoupdate",
  "retries",
  "protocol",
  "loglevel",
  "transport-loglevel",
  "origincert",
  "metrics",
  "metrics-update-freq",
  "edge-ip-version",
  "edge-bind-address",
  "max-active-flows",
]);

/** By name, in the form in which a flag takes them. */
export function configurationFlags(settings: MergedSettings): Readonly<Record<string, string>> {
  const told = settings.all().filter(({ name }) => TOLD.has(name));
  return Object.fromEntries(told.map((setting) => [setting.name, flagText(setting)]));
}

/** Everything that somebody chose, by name, without credentials: neither those that are settings nor those inside of a URL. */
export function shownSettings(settings: MergedSettings): Readonly<Record<string, string>> {
  const shown = settings.all().flatMap((setting): [string, string][] => {
    const spec = findSetting(setting.name);
    // What is without effect, such as api-email, is nobody's business.
    if (spec === undefined || spec.secret || spec.status.kind === "dead") return [];
    const text = flagText(setting).replace(/([a-z][a-z\d+.-]*:\/\/)[^/?#@\s,]*@/gi, `$1${REDACTED}@`);
    return [[setting.name, looksSecret(text) ? REDACTED : redactLikely(text)]];
  });
  return Object.fromEntries(shown);
}

function flagText({ name, value }: Setting): string {
  return typeof value === "number" && findSetting(name)?.type === "duration" ? formatDuration(value) : String(value);
}
