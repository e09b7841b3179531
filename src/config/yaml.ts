/** cloudflared's own `config.yml` (ingress § 1): its flags as keys, `ingress`, `originRequest` and `warp-routing`. */
import { isMap, isScalar, type Node, type Scalar } from "yaml";
import { nearest } from "../proxy/ingress/nearest.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import { meantSection } from "../proxy/ingress/sections.ts";
import { type ConfigFile, fileLayer, type IngressSection, type Located } from "./config-file.ts";
import { ingressProblems } from "./ingress-check.ts";
import type { Environment } from "./interpolate.ts";
import type { KeyPath } from "./key-path.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "./problem.ts";
import { findSetting, isProblem, readSettingValue, settingNames, type SettingValue } from "./settings.ts";
import { YamlFile } from "./yaml-values.ts";

const INGRESS_KEYS = ["ingress", "originRequest", "warp-routing"] as const;

/** Fields that Go reads as text even where YAML sees a number or a boolean: `teamName: 1234`. */
const TEXTS = new Set([
  "hostname",
  "path",
  "service",
  "httpHostHeader",
  "originServerName",
  "caPool",
  "proxyAddress",
  "proxyType",
  "teamName",
  "audTag",
  "environment",
]);
/** Fields that Go reads as booleans in YAML 1.1's spellings too. */
const BOOLEANS = new Set([
  "noHappyEyeballs",
  "noTLSVerify",
  "matchSNItoHost",
  "disableChunkedEncoding",
  "http2Origin",
  "bastionMode",
  "required",
  "allow",
]);

export function parseYamlConfig(text: string, path: string, env: Environment): ConfigFile {
  return new YamlReader(text, path).read(env);
}

class YamlReader {
  readonly #path: string;
  readonly #file: YamlFile;
  readonly #problems: ConfigProblem[] = [];
  readonly #warnings: ConfigProblem[] = [];
  readonly #entries: { name: string; value: SettingValue; where: string }[] = [];
  readonly #ingress: Record<string, unknown> = {};
  #tunnel: Located<string> | undefined;

  constructor(text: string, path: string) {
    this.#path = path;
    this.#file = new YamlFile(text, path);
  }

  read(env: Environment): ConfigFile {
    const { root } = this.#file;
    if (root === null || (isScalar(root) && root.value === null)) {
      this.#warnings.push({ where: this.#path, text: "the configuration file is empty" });
    } else if (isMap(root)) {
      for (const { key, value } of this.#file.entries(root, [])) this.#topLevel(key, value, this.#file.where([key]));
    } else {
      this.#problems.push(wrongValue(this.#file.where([]), this.#file.shallow(root), "keys and values"));
    }
    const ingress = this.#section();
    if (this.#problems.length > 0) {
      // What would only be a warning is told too: who corrects the file wants to do so once.
      throw new ConfigError([...this.#problems, ...ingressProblems(ingress, env), ...this.#warnings]);
    }
    return {
      path: this.#path,
      format: "yaml",
      layer: fileLayer(this.#entries),
      ...(this.#tunnel === undefined ? {} : { tunnel: this.#tunnel }),
      ...(ingress === undefined ? {} : { ingress }),
      warnings: this.#warnings,
      notes: [],
    };
  }

  #section(): IngressSection | undefined {
    if (Object.keys(this.#ingress).length === 0) return undefined;
    return { source: this.#ingress, where: (path) => this.#file.where(path), strict: false };
  }

  #topLevel(key: string, value: Node | null, where: string): void {
    if (key === "tunnel") {
      const text = this.#text(value, where, "a tunnel's UUID in quotes");
      if (text !== undefined) this.#tunnel = { value: text, where };
      return;
    }
    if (INGRESS_KEYS.some((known) => known === key)) {
      this.#ingress[key] = this.#file.deep(value, [key], readScalar);
      return;
    }
    // Where people keep what they merge in elsewhere.
    if (key.startsWith("x-")) return;
    const spec = findSetting(key);
    // Aliases are no keys in cloudflared either.
    if (spec === undefined || spec.name !== key || spec.native || key === "config") {
      const section = meantSection(key);
      if (section !== undefined) {
        this.#problems.push({ where, text: `found the unknown key ${redactLikely(key)}; ${section} would be right` });
        return;
      }
      const names = [...settingNames()].filter((name) => name.length > 2 && name !== key);
      const near = nearest(key, ["tunnel", ...INGRESS_KEYS, ...names]);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      this.#warnings.push({ where, text: `unknown key ${redactLikely(key)} is ignored${hint}` });
      return;
    }
    this.#setting(key, value, where);
  }

  #setting(name: string, value: Node | null, where: string): void {
    const spec = findSetting(name);
    const plain = this.#file.shallow(value);
    if (spec === undefined || plain === null) return;
    // 4 and 6 are numbers in YAML; everybody writes them without quotes.
    const given =
      spec.type === "string" && name === "edge-ip-version" && typeof plain === "number" ? `${plain}` : plain;
    const read = readSettingValue(spec, given, where);
    if (isProblem(read)) this.#problems.push(read);
    else this.#entries.push({ name, value: read, where });
  }

  #text(node: Node | null, where: string, expected: string): string | undefined {
    const plain = this.#file.shallow(node);
    if (typeof plain === "string") return plain;
    if (plain !== null) this.#problems.push(wrongValue(where, plain, expected));
    return undefined;
  }
}

/** As Go's decoder reads the scalar into the field that it is for. */
function readScalar({ value, source, type }: Scalar, path: KeyPath): unknown {
  const key = path.findLast((part) => typeof part === "string") ?? "";
  if (type !== "PLAIN" || source === undefined) return value;
  if (TEXTS.has(key) && (typeof value === "number" || typeof value === "boolean")) return source;
  if (BOOLEANS.has(key) && typeof value === "string") {
    if (/^(?:y|Y|yes|Yes|YES|on|On|ON)$/.test(value)) return true;
    if (/^(?:n|N|no|No|NO|off|Off|OFF)$/.test(value)) return false;
  }
  return value;
}
