/** What a configuration file says, whichever its format. */
import type { ConfigProblem } from "./problem.ts";
import type { Setting, SettingLayer, SettingValue } from "./settings.ts";

export interface Located<T> {
  readonly value: T;
  readonly where: string;
}

export interface ConfigFile {
  readonly path: string;
  readonly format: "toml" | "yaml";
  readonly layer: SettingLayer;
  /** TOML: where the mode was chosen, or would be. */
  readonly mode?: Located<"quick" | "named">;
  /** TOML: where local_addr stands, or would. */
  readonly localAddr?: string;
  /** YAML: UUID or name of the tunnel. */
  readonly tunnel?: Located<string>;
  /** YAML: the service of the one ingress rule. */
  readonly service?: Located<string>;
  readonly warnings: readonly ConfigProblem[];
  readonly notes: readonly string[];
}

export function fileLayer(entries: Iterable<{ name: string; value: SettingValue; where: string }>): SettingLayer {
  const layer = new Map<string, Setting>();
  for (const { name, value, where } of entries) layer.set(name, { name, value, source: "file", where });
  return layer;
}
