/**
 * Finds the line on which each key of a TOML document stands. The parser reports positions for syntax errors alone, so
 * this walks over the text of a document that it has already accepted: every step may take the syntax as valid.
 */
import { type KeyPath, KeyPlaces } from "./key-path.ts";

/** The 1-based lines of keys, tables, and items of lists and arrays of tables; of a key that stands there twice, the first. */
export function locateTomlKeys(source: string): KeyPlaces<number> {
  return new TomlWalker(source).walk();
}

class TomlWalker {
  readonly #source: string;
  readonly #lines = new KeyPlaces<number>();
  /** Arrays of tables, by their paths, with the index of their last table. */
  readonly #arrays = new KeyPlaces<{ index: number }>();
  #at = 0;
  #line = 1;

  constructor(source: string) {
    this.#source = source;
  }

  walk(): KeyPlaces<number> {
    let table: KeyPath = [];
    for (;;) {
      this.#skipBlank();
      if (this.#at >= this.#source.length) return this.#lines;
      if (this.#peek() === "[") {
        const isArray = this.#source.startsWith("[[", this.#at);
        this.#at += isArray ? 2 : 1;
        table = this.#table(this.#key(), isArray);
        this.#note(table);
        this.#at += isArray ? 2 : 1;
      } else {
        this.#pair(table);
      }
    }
  }

  #peek(): string {
    return this.#source.charAt(this.#at);
  }

  #note(path: KeyPath): void {
    for (let length = 1; length <= path.length; length++) this.#lines.note(path.slice(0, length), this.#line);
  }

  /** The path of a table's header. What stands below an array of tables belongs to its last one. */
  #table(keys: readonly string[], isArray: boolean): KeyPath {
    let path: KeyPath = [];
    keys.forEach((key, place) => {
      path = [...path, key];
      const array = this.#arrays.get(path);
      if (isArray && place === keys.length - 1) {
        const index = array === undefined ? 0 : ++array.index;
        if (array === undefined) this.#arrays.note(path, { index });
        path = [...path, index];
      } else if (array !== undefined) {
        path = [...path, array.index];
      }
    });
    return path;
  }

  #pair(table: KeyPath): void {
    const path = [...table, ...this.#key()];
    this.#note(path);
    this.#at++; // =
    this.#value(path);
  }

  /** Dots and quotes allowed: `a."b c".d`. Ends before `=` or `]`. */
  #key(): readonly string[] {
    const parts: string[] = [];
    for (;;) {
      this.#skipSpaces();
      const quote = this.#peek();
      const start = this.#at;
      if (quote === '"' || quote === "'") {
        this.#string();
        parts.push(this.#source.slice(start + 1, this.#at - 1));
      } else {
        while (this.#at < this.#source.length && /[\w-]/.test(this.#peek())) this.#at++;
        parts.push(this.#source.slice(start, this.#at));
      }
      this.#skipSpaces();
      if (this.#peek() !== ".") return parts;
      this.#at++;
    }
  }

  #value(path: KeyPath): void {
    this.#skipBlank();
    switch (this.#peek()) {
      case '"':
      case "'":
        this.#string();
        break;
      case "[":
        this.#list("]", (index) => this.#item([...path, index]));
        break;
      case "{":
        this.#list("}", () => this.#pair(path));
        break;
      default:
        // A number, boolean or date.
        while (this.#at < this.#source.length && !/[\s,\]}#]/.test(this.#peek())) this.#at++;
    }
  }

  #item(path: KeyPath): void {
    this.#skipBlank();
    this.#note(path);
    this.#value(path);
  }

  #list(end: string, item: (index: number) => void): void {
    let index = 0;
    this.#at++;
    for (;;) {
      this.#skipBlank();
      if (this.#at >= this.#source.length) return;
      if (this.#peek() === end) {
        this.#at++;
        return;
      }
      if (this.#peek() === ",") this.#at++;
      else item(index++);
    }
  }

  #string(): void {
    const quote = this.#peek();
    const long = this.#source.startsWith(quote.repeat(3), this.#at);
    this.#at += long ? 3 : 1;
    while (this.#at < this.#source.length) {
      const char = this.#peek();
      if (char === "\n") this.#line++;
      if (char === "\\" && quote === '"') {
        if (this.#source.charAt(this.#at + 1) === "\n") this.#line++;
        this.#at += 2;
      } else if (long ? this.#source.startsWith(quote.repeat(3), this.#at) : char === quote) {
        this.#at += long ? 3 : 1;
        // Up to two quotes may stand right before the closing three.
        if (long) while (this.#peek() === quote) this.#at++;
        return;
      } else {
        this.#at++;
      }
    }
  }

  #skipSpaces(): void {
    while (/[ \t]/.test(this.#peek())) this.#at++;
  }

  #skipBlank(): void {
    while (this.#at < this.#source.length) {
      const char = this.#peek();
      if (char === "#") {
        while (this.#at < this.#source.length && this.#peek() !== "\n") this.#at++;
      } else if (/\s/.test(char)) {
        if (char === "\n") this.#line++;
        this.#at++;
      } else {
        return;
      }
    }
  }
}
