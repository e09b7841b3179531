/** cloudflared's own `config.yml` (ingress § 1): its flags as keys, `originRequest`, and one catch-all ingress rule. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { type ConfigFile, fileLayer, type Located } from "./config-file.ts";
import { nearest } from "../proxy/ingress/nearest.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "./problem.ts";
import { redactLikely } from "../redact.ts";
import { findSetting, isProblem, readSettingValue, settingNames, type SettingValue } from "./settings.ts";

/** Fields of `originRequest` and the settings that they are. */
const ORIGIN_REQUEST: ReadonlyMap<string, string> = new Map([
  ["connectTimeout", "proxy-connect-timeout"],
  ["tlsTimeout", "proxy-tls-timeout"],
  ["tcpKeepAlive", "proxy-tcp-keepalive"],
  ["noHappyEyeballs", "proxy-no-happy-eyeballs"],
  ["keepAliveConnections", "proxy-keepalive-connections"],
  ["keepAliveTimeout", "proxy-keepalive-timeout"],
  ["httpHostHeader", "http-host-header"],
  ["originServerName", "origin-server-name"],
  ["caPool", "origin-ca-pool"],
  ["noTLSVerify", "no-tls-verify"],
  ["disableChunkedEncoding", "no-chunked-encoding"],
  ["http2Origin", "http2-origin"],
  ["bastionMode", "bastion"],
  ["proxyAddress", "proxy-address"],
  ["proxyPort", "proxy-port"],
]);

/** Fields whose loss would weaken or change what the origin is sent: refused unless they are empty. */
const ORIGIN_REQUEST_NOT_YET = ["matchSNItoHost", "proxyType", "ipRules", "access"];
/** How deep `<<` may nest; an alias inside itself ends there. */
const MERGE_DEPTH = 8;

const NO_INGRESS =
  "ingress rules are not there yet; one service for all requests, as `url: http://localhost:8080` or a single rule without hostname and path, would be right";

export function parseYamlConfig(text: string, path: string): ConfigFile {
  return new YamlReader(text, path).read();
}

class YamlReader {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #root: Node | null;
  readonly #document: ReturnType<typeof parseDocument>;
  readonly #problems: ConfigProblem[] = [];
  readonly #warnings: ConfigProblem[] = [];
  readonly #entries: { name: string; value: SettingValue; where: string; rank: number }[] = [];
  #tunnel: Located<string> | undefined;
  #service: Located<string> | undefined;

  constructor(text: string, path: string) {
    this.#path = path;
    // The pretty messages quote the source, which may hold the token.
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const error = this.#document.errors[0];
    if (error !== undefined) {
      const { line, col } = this.#lines.linePos(error.pos[0]);
      throw new ConfigError([
        { where: `${path}:${line}:${col}`, text: `not valid YAML: ${redactLikely(error.message)}` },
      ]);
    }
    this.#root = this.#document.contents;
  }

  read(): ConfigFile {
    if (this.#root === null || (isScalar(this.#root) && this.#root.value === null)) {
      this.#warnings.push({ where: this.#path, text: "the configuration file is empty" });
    } else if (isMap(this.#root)) {
      this.#eachKey(this.#root, "", (key, value, where) => this.#topLevel(key, value, where));
    } else {
      this.#problems.push(wrongValue(`${this.#path}:1`, this.#plain(this.#root), "keys and values"));
    }
    if (this.#problems.length > 0) throw new ConfigError(this.#problems);
    return {
      path: this.#path,
      format: "yaml",
      layer: fileLayer(this.#entries.sort((a, b) => a.rank - b.rank)),
      ...(this.#tunnel === undefined ? {} : { tunnel: this.#tunnel }),
      ...(this.#service === undefined ? {} : { service: this.#service }),
      warnings: this.#warnings,
      notes: [],
    };
  }

  #topLevel(key: string, value: Node | null, where: string): void {
    if (key === "tunnel") {
      const text = this.#text(value, where, "a tunnel's UUID in quotes");
      if (text !== undefined) this.#tunnel = { value: text, where };
      return;
    }
    if (key === "originRequest") return this.#originRequest(value, where, 1);
    if (key === "ingress") return this.#ingress(value, where);
    if (key === "warp-routing") {
      this.#warnings.push({ where, text: "is not read yet: private networks keep their defaults" });
      return;
    }
    const spec = findSetting(key);
    // Aliases are no keys in cloudflared either.
    if (spec === undefined || spec.name !== key || spec.native || key === "config") {
      const names = [...settingNames()].filter((name) => name.length > 2);
      this.#unknown(where, key, nearest(key, ["tunnel", "ingress", "originRequest", ...names]));
      return;
    }
    this.#setting(key, value, where, 0);
  }

  /** The highest rank wins: a rule's own originRequest, then the document's, then the flag's name as a key. */
  #setting(name: string, value: Node | null, where: string, rank: number): void {
    const spec = findSetting(name);
    const plain = this.#plain(value);
    if (spec === undefined || plain === null) return;
    // 4 and 6 are numbers in YAML; everybody writes them without quotes.
    const given =
      spec.type === "string" && name === "edge-ip-version" && typeof plain === "number" ? `${plain}` : plain;
    const read = readSettingValue(spec, given, where);
    if (isProblem(read)) this.#problems.push(read);
    else this.#entries.push({ name, value: read, where, rank });
  }

  #originRequest(node: Node | null, where: string, rank: number): void {
    const map = this.#resolve(node);
    if (map === null || (isScalar(map) && map.value === null)) return;
    if (!isMap(map)) {
      this.#problems.push(wrongValue(where, this.#plain(map), "keys and values"));
      return;
    }
    this.#eachKey(map, "originRequest", (key, value, where) => {
      const name = ORIGIN_REQUEST.get(key);
      if (name !== undefined) this.#setting(name, value, where, rank);
      else if (!ORIGIN_REQUEST_NOT_YET.includes(key)) {
        this.#unknown(where, key, nearest(key, [...ORIGIN_REQUEST.keys(), ...ORIGIN_REQUEST_NOT_YET]));
      } else if (isOn(this.#plain(value))) {
        this.#problems.push({ where, text: `${key} is not there yet: leave it out` });
      }
    });
  }

  #ingress(node: Node | null, where: string): void {
    const list = this.#resolve(node);
    if (list === null || (isScalar(list) && list.value === null)) return;
    if (!isSeq(list)) {
      this.#problems.push(wrongValue(where, this.#plain(list), "a list of rules"));
      return;
    }
    const rule = list.items.length === 1 ? this.#resolve(list.items[0]) : undefined;
    if (!isMap(rule)) {
      this.#problems.push({ where, text: NO_INGRESS });
      return;
    }
    this.#eachKey(rule, "ingress", (key, value, where) => {
      if (key === "originRequest") return this.#originRequest(value, where, 2);
      if (key !== "service" && key !== "hostname" && key !== "path") {
        return this.#unknown(where, key, nearest(key, ["service", "hostname", "path", "originRequest"]));
      }
      const text = this.#text(value, where, "a text");
      if (text === undefined) return;
      if (key === "service") this.#service = { value: text, where };
      else if (text !== "" && !(key === "hostname" && text === "*")) this.#problems.push({ where, text: NO_INGRESS });
    });
  }

  #unknown(where: string, key: string, near: string | undefined): void {
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    this.#warnings.push({ where, text: `unknown key ${redactLikely(key)} is ignored${hint}` });
  }

  /** Calls back for each pair; what `<<` merges in comes first, so that the map's own keys win. */
  #eachKey(
    node: Node,
    parent: string,
    each: (key: string, value: Node | null, where: string) => void,
    depth = 0,
  ): void {
    if (!isMap(node) || depth > MERGE_DEPTH) return;
    const pairs = node.items.map(({ key, value }) => ({ key: this.#resolve(key), value: this.#resolve(value) }));
    for (const { key, value } of pairs) {
      if (!isScalar(key) || key.value !== "<<" || value === null) continue;
      for (const merged of isSeq(value) ? value.items : [value]) {
        const inner = this.#resolve(merged);
        if (inner !== null) this.#eachKey(inner, parent, each, depth + 1);
      }
    }
    for (const { key, value } of pairs) {
      const name = isScalar(key) ? String(key.value) : "?";
      if (name === "<<") continue;
      const { line } = this.#lines.linePos(key?.range?.[0] ?? 0);
      each(name, value, `${this.#path}:${line}: ${redactLikely(parent === "" ? name : `${parent}.${name}`)}`);
    }
  }

  #resolve(node: unknown): Node | null {
    if (isAlias(node)) return node.resolve(this.#document) ?? null;
    return isScalar(node) || isMap(node) || isSeq(node) ? node : null;
  }

  /** As deep as settings go: a scalar, or a list or map of scalars. No alias can make it grow. */
  #plain(node: Node | null, nested = false): unknown {
    if (isScalar(node)) return node.value;
    if (nested || node === null) return node === null ? null : {};
    if (isSeq(node)) return node.items.map((item) => this.#plain(this.#resolve(item), true));
    if (!isMap(node)) return null;
    return Object.fromEntries(
      node.items.map(({ key, value }) => [String(key), this.#plain(this.#resolve(value), true)] as const),
    );
  }

  #text(node: Node | null, where: string, expected: string): string | undefined {
    const plain = this.#plain(node);
    if (typeof plain === "string") return plain;
    if (plain !== null) this.#problems.push(wrongValue(where, plain, expected));
    return undefined;
  }
}

function isOn(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === "") return false;
  if (Array.isArray(value)) return value.length > 0;
  // `access` is enforced only when it is required (ingress § 4).
  return typeof value === "object" && "required" in value ? value.required !== false : true;
}
