/** Values of a YAML document with merge keys (`<<`) followed, and the place of each. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type Scalar } from "yaml";
import { redactLikely } from "../proxy/ingress/redact.ts";
import { formatKeyPath, type KeyPath, KeyPlaces } from "./key-path.ts";
import { ConfigError } from "./problem.ts";

/** No configuration is that deep or that long; aliases of aliases may be. */
const MAX_DEPTH = 16;
const MAX_VALUES = 100_000;

export interface YamlEntry {
  readonly key: string;
  readonly value: Node | null;
}

/** What the parser says in words for its programmers. */
const PROBLEMS: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: "this key stands there twice",
  MULTIPLE_DOCS: "a second document begins here; one would be right",
};

export class YamlFile {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: ReturnType<typeof parseDocument>;
  readonly #places = new KeyPlaces<Node>();
  #values = 0;

  /** Throws a ConfigError on what is no YAML. */
  constructor(text: string, path: string) {
    this.#path = path;
    // The pretty messages quote the source, which may hold the token.
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const error = this.#document.errors[0];
    if (error !== undefined) {
      const { line, col } = this.#lines.linePos(error.pos[0]);
      const problem = PROBLEMS[error.code] ?? redactLikely(error.message);
      throw new ConfigError([{ where: `${path}:${line}:${col}`, text: `not valid YAML: ${problem}` }]);
    }
  }

  get root(): Node | null {
    return this.#document.contents;
  }

  /** `config.yml:3:5: ingress[0].service`; for what does not stand there, where it would. */
  where(path: KeyPath): string {
    const offset = this.#places.find(path)?.range?.[0] ?? this.root?.range?.[0] ?? 0;
    const { line, col } = this.#lines.linePos(offset);
    const place = `${this.#path}:${line}:${col}`;
    return path.length === 0 ? place : `${place}: ${redactLikely(formatKeyPath(path))}`;
  }

  /** The entries of a map: its own, then those that `<<` merges in and that it does not have. */
  entries(node: Node | null, path: KeyPath, depth = 0): readonly YamlEntry[] {
    if (!isMap(node) || depth > MAX_DEPTH) return [];
    const found = new Map<string, Node | null>();
    const merged: (readonly YamlEntry[])[] = [];
    for (const pair of node.items) {
      const { key, name, value } = this.#pair(pair);
      if (name === "<<") {
        for (const item of isSeq(value) ? value.items : [value]) {
          merged.push(this.entries(this.resolve(item), path, depth + 1));
        }
        continue;
      }
      if (key !== null) this.#places.note([...path, name], key);
      found.set(name, value);
    }
    for (const { key, value } of merged.flat()) if (!found.has(key)) found.set(key, value);
    return [...found].map(([key, value]) => ({ key, value }));
  }

  #pair({ key, value }: Pair): { key: Node | null; name: string; value: Node | null } {
    const node = this.resolve(key);
    return { key: node, name: isScalar(node) ? String(node.value) : "?", value: this.resolve(value) };
  }

  resolve(node: unknown): Node | null {
    if (isAlias(node)) return node.resolve(this.#document) ?? null;
    return isScalar(node) || isMap(node) || isSeq(node) ? node : null;
  }

  /** As deep as settings go: a scalar, or a list or map of scalars. No alias can make it grow. */
  shallow(node: Node | null, nested = false): unknown {
    if (isScalar(node)) return node.value;
    if (nested || node === null) return node === null ? null : {};
    if (isSeq(node)) return node.items.map((item) => this.shallow(this.resolve(item), true));
    if (!isMap(node)) return null;
    return Object.fromEntries(
      node.items.map(({ key, value }) => [String(key), this.shallow(this.resolve(value), true)] as const),
    );
  }

  /** The whole value, as plain data. Throws a ConfigError where aliases make it endless. */
  deep(node: Node | null, path: KeyPath, scalar: (node: Scalar, path: KeyPath) => unknown): unknown {
    if (path.length > MAX_DEPTH || ++this.#values > MAX_VALUES) {
      const text = "is nested too deep, or has too many values; aliases that name each other may do that";
      throw new ConfigError([{ where: this.where(path.slice(0, 3)), text }]);
    }
    if (isScalar(node)) return scalar(node, path);
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const value = this.resolve(item);
        const inner = [...path, index];
        if (value !== null) this.#places.note(inner, value);
        return this.deep(value, inner, scalar);
      });
    }
    if (!isMap(node)) return null;
    const entries = this.entries(node, path);
    return Object.fromEntries(entries.map(({ key, value }) => [key, this.deep(value, [...path, key], scalar)]));
  }
}
