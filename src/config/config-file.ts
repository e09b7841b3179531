/** What a configuration file says, whichever its format. */
import type { IngressSource } from "../proxy/ingress/parse.ts";
import type { KeyPath } from "./key-path.ts";
import type { ConfigProblem } from "./problem.ts";
import type { Setting, SettingLayer, SettingValue } from "./settings.ts";

export interface Located<T> {
  readonly value: T;
  readonly where: string;
}

/** What a file says about where requests go; checked by config/ingress.ts. */
export interface IngressSection {
  readonly source: IngressSource;
  /** Where the value at that path of `source` stands. */
  readonly where: (path: KeyPath) => string;
  /** Whether an unknown key is an error, as it is elsewhere in the file. */
  readonly strict: boolean;
}

export interface ConfigFile {
  readonly path: string;
  /** Of its text, to know a change; where it comes from a file. */
  readonly digest?: string;
  readonly format: "toml" | "yaml";
  readonly layer: SettingLayer;
  /** TOML: where the mode was chosen, or would be. */
  readonly mode?: Located<"quick" | "named">;
  /** TOML: where local_addr stands, or would. */
  readonly localAddr?: string;
  /** YAML: UUID or name of the tunnel. */
  readonly tunnel?: Located<string>;
  readonly ingress?: IngressSection;
  readonly warnings: readonly ConfigProblem[];
  readonly notes: readonly string[];
}

export function fileLayer(entries: Iterable<{ name: string; value: SettingValue; where: string }>): SettingLayer {
  const layer = new Map<string, Setting>();
  for (const { name, value, where } of entries) layer.set(name, { name, value, source: "file", where });
  return layer;
}
