/**
 * Checks of the values that programs give: in JavaScript that may be anything. Each pushes what is wrong and returns something
 * of the right type, so that all problems are told at once.
 */
import { ConfigError, type ConfigProblem, wrongValue } from "../config/problem.ts";
import type { UnderpassError } from "../errors.ts";
import { nearest } from "../proxy/ingress/nearest.ts";

/** Node's timers take 24 days. */
const MAX_MS = 2 ** 31 - 1;

/** What an option's value is described as. */
function show(value: unknown): unknown {
  if (typeof value === "function") return "a function";
  return typeof value === "object" && value !== null && !Array.isArray(value) ? "an object" : value;
}

export class OptionChecks {
  readonly problems: ConfigProblem[] = [];
  #ownError: UnderpassError | undefined;

  wrong(where: string, found: unknown, expected: string): void {
    this.problems.push(wrongValue(where, show(found), expected));
  }

  refuse(where: string, text: string): void {
    this.problems.push({ where, text });
  }

  /** An error that says more by itself than a line among others. */
  refuseFor(error: UnderpassError, where: string): void {
    this.refuse(where, error.message);
    this.#ownError = error;
  }

  /** What to throw. */
  failure(): UnderpassError {
    return this.problems.length === 1 && this.#ownError !== undefined ? this.#ownError : new ConfigError(this.problems);
  }

  text(where: string, value: unknown): string | undefined {
    if (value === undefined || typeof value === "string") return value;
    this.wrong(where, value, "a text");
    return undefined;
  }

  flag(where: string, value: unknown, fallback: boolean): boolean {
    if (value === undefined) return fallback;
    if (typeof value === "boolean") return value;
    this.wrong(where, value, "true or false");
    return fallback;
  }

  texts(where: string, value: unknown): readonly string[] {
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
    this.wrong(where, value, "a list of texts");
    return [];
  }

  /** An object with none but these keys; anything else counts as empty. */
  table(where: string, value: unknown, known: readonly string[] | undefined): Readonly<Record<string, unknown>> {
    if (value === undefined) return {};
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.wrong(where, value, "an object");
      return {};
    }
    if (known !== undefined) this.#unknownKeys(where, Object.keys(value), known);
    return value as Readonly<Record<string, unknown>>;
  }

  #unknownKeys(where: string, keys: readonly string[], known: readonly string[]): void {
    for (const key of keys) {
      if (known.includes(key)) continue;
      const near = nearest(key, known);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      this.refuse(where === "options" ? key : `${where}.${key}`, `there is no such option${hint}`);
    }
  }

  whole(where: string, value: unknown, fallback: number, low: number, high: number): number {
    if (value === undefined) return fallback;
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
    const range = high > 1e9 ? `from ${low} on` : `from ${low} to ${high}`;
    this.wrong(where, value, `a whole number ${range}`);
    return fallback;
  }

  milliseconds(where: string, value: unknown, fallback: number, low: number, high = MAX_MS): number {
    if (value === undefined) return fallback;
    if (typeof value === "number" && value >= low && value <= high) return value;
    this.wrong(where, value, `milliseconds from ${low} to ${high}`);
    return fallback;
  }

  oneOf<T extends string>(where: string, value: unknown, fallback: T, choices: readonly T[]): T {
    if (value === undefined) return fallback;
    const found = choices.find((choice) => choice === (typeof value === "number" ? String(value) : value));
    if (found === undefined) this.wrong(where, value, choices.map((choice) => `"${choice}"`).join(", "));
    return found ?? fallback;
  }

  url(where: string, value: unknown): URL | undefined {
    const text = value instanceof URL ? value.href : value;
    const url = typeof text === "string" && URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol === "http:" || url?.protocol === "https:") return url;
    this.wrong(where, value, "an http or https URL");
    return undefined;
  }

  /** Functions under these names, which `value` must have. */
  methods<T>(where: string, value: T | undefined, names: readonly string[], expected: string): T | undefined {
    if (value === undefined) return undefined;
    const has =
      (typeof value === "object" || typeof value === "function") &&
      value !== null &&
      names.every((name) => typeof Reflect.get(value, name) === "function");
    if (has) return value;
    this.wrong(where, value, expected);
    return undefined;
  }
}
