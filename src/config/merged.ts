import type { ConfigFile } from "./config-file.ts";
import type { Setting, SettingLayer } from "./settings.ts";

/** All sources in one view: flag before environment before file. Defaults are the reader's. */
export class MergedSettings {
  readonly flags: SettingLayer;
  readonly environment: SettingLayer;
  readonly file: ConfigFile | undefined;
  readonly #layers: readonly SettingLayer[];

  constructor(flags: SettingLayer, environment: SettingLayer, file: ConfigFile | undefined) {
    this.flags = flags;
    this.environment = environment;
    this.file = file;
    this.#layers = file === undefined ? [flags, environment] : [flags, environment, file.layer];
  }

  /** The setting that counts. An empty text counts as not given, and hides what weaker sources say. */
  get(name: string): Setting | undefined {
    const found = this.#layers.find((layer) => layer.has(name))?.get(name);
    return found?.value === "" ? undefined : found;
  }

  string(name: string): string | undefined {
    const value = this.get(name)?.value;
    return typeof value === "string" ? value : undefined;
  }

  number(name: string, fallback: number): number {
    const value = this.get(name)?.value;
    return typeof value === "number" ? value : fallback;
  }

  bool(name: string): boolean {
    return this.get(name)?.value === true;
  }

  list(name: string): readonly string[] {
    const value = this.get(name)?.value;
    return typeof value === "object" ? value : [];
  }

  /** Every setting that somebody chose, by name. */
  all(): readonly Setting[] {
    const names = new Set(this.#layers.flatMap((layer) => [...layer.keys()]));
    return [...names]
      .sort()
      .map((name) => this.get(name))
      .filter((setting) => setting !== undefined);
  }
}
