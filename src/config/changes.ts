/** What a configuration that was read again changes. */
import type { Ingress, IngressRule } from "../types.ts";
import { singleServiceSettings } from "./ingress.ts";
import type { MergedSettings } from "./merged.ts";

/** How people find a rule: `app.example.com ^/api`, `*`. */
export function ruleName({ hostname, path }: IngressRule): string {
  const host = hostname === "" ? "*" : hostname;
  return path === undefined ? host : `${host} ${path}`;
}

/** Such as `added a.example.com`, `changed *`; nothing where both serve the same. Handlers are not compared. */
export function ingressChanges(before: Ingress, after: Ingress): readonly string[] {
  const old = byName(before.rules);
  const now = byName(after.rules);
  const kept = [...now.keys()].filter((name) => old.has(name));
  const changes = [
    ...[...now.keys()].filter((name) => !old.has(name)).map((name) => `added ${name}`),
    ...[...old.keys()].filter((name) => !now.has(name)).map((name) => `removed ${name}`),
    ...kept.filter((name) => old.get(name) !== now.get(name)).map((name) => `changed ${name}`),
  ];
  const places = [...old.keys()].filter((name) => now.has(name));
  if (places.some((name, index) => name !== kept[index])) changes.push("another order");
  if (JSON.stringify(before.warpRouting) !== JSON.stringify(after.warpRouting)) changes.push("changed warp-routing");
  return changes;
}

/** Each rule as text, by a name of its own. */
function byName(rules: readonly IngressRule[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const rule of rules) {
    const name = ruleName(rule);
    let unique = name;
    for (let count = 2; found.has(unique); count++) unique = `${name} (${count})`;
    found.set(unique, JSON.stringify(rule));
  }
  return found;
}

/** Where settings stand, or stood, that only count from the start of a tunnel on. */
export function changesForRestart(before: MergedSettings, after: MergedSettings): readonly string[] {
  const names = new Set([...before.all(), ...after.all()].map(({ name }) => name));
  const settings = [...names]
    .filter((name) => !singleServiceSettings.has(name))
    .filter((name) => String(before.get(name)?.value) !== String(after.get(name)?.value))
    .map((name) => after.get(name)?.where ?? before.get(name)?.where ?? name);
  const [old, now] = [before.file, after.file];
  return [
    ...(old?.tunnel?.value === now?.tunnel?.value ? [] : [now?.tunnel?.where ?? old?.tunnel?.where ?? "tunnel"]),
    ...(old?.mode?.value === now?.mode?.value ? [] : [now?.mode?.where ?? old?.mode?.where ?? "mode"]),
    ...settings,
  ];
}
