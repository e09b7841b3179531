/** Options of rules as people read them: by the keys of a file, without what is the default and without secrets. */
import { defaultOriginRequest, defaultWarpRouting } from "../proxy/ingress/defaults.ts";
import { formatDuration } from "../proxy/ingress/duration.ts";
import type { HeaderEdits, OriginRequestOptions, WarpRouting } from "../types.ts";

export type ShownOptions = Readonly<Record<string, unknown>>;

export function showOriginRequest(options: OriginRequestOptions): ShownOptions {
  return changed({ ...options }, { ...defaultOriginRequest });
}

export function showWarpRouting(options: WarpRouting): ShownOptions {
  return changed({ ...options }, { ...defaultWarpRouting });
}

function changed(values: ShownOptions, defaults: ShownOptions): ShownOptions {
  const entries = Object.entries(values).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(defaults[key]),
  );
  return Object.fromEntries(entries.map(([key, value]) => showOption(key, value)));
}

function showOption(key: string, value: unknown): readonly [string, unknown] {
  if (key.endsWith("Ms") && typeof value === "number") return [key.slice(0, -2), formatDuration(value)];
  if (key === "caPool") return [key, "PEM text"];
  if (isHeaderEdits(value)) return [key, { set: value.set.map(({ name }) => name), remove: value.remove }];
  return [key, value];
}

/** Values of headers may be credentials. */
function isHeaderEdits(value: unknown): value is HeaderEdits {
  return typeof value === "object" && value !== null && "set" in value && "remove" in value;
}
