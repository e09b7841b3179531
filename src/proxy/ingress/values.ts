/** Readers of single values, as YAML, TOML and JSON give them. Each says what is wrong and then gives undefined. */
import { describeValue } from "./redact.ts";
import { parseDuration } from "./duration.ts";
import { nearest } from "./nearest.ts";
import type { Scope } from "./problems.ts";

type FieldReader = (value: unknown, scope: Scope) => void;

/**
 * Whoever writes more means nanoseconds, which cloudflared's own Go programs have: 100 ms of them are three years. In cloudflared such
 * a number is a time without end, or wraps (ingress § 4).
 */
const LONGEST_SECONDS = 1e8;
/** Node's timers end at once when they get more than 31 bits: a longer time counts as this one, 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export function readBoolean(value: unknown, scope: Scope): boolean | undefined {
  if (typeof value === "boolean") return value;
  scope.wrong(value, "true or false");
  return undefined;
}

export function readText(value: unknown, scope: Scope): string | undefined {
  if (typeof value === "string") return value;
  scope.wrong(value, typeof value === "number" || typeof value === "boolean" ? "a text in quotes" : "a text");
  return undefined;
}

export function readInteger(value: unknown, scope: Scope, lowest: number, highest: number): number | undefined {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= lowest && value <= highest) return value;
  scope.wrong(value, wholeNumber(lowest, highest));
  return undefined;
}

function wholeNumber(lowest: number, highest: number): string {
  if (lowest === Number.MIN_SAFE_INTEGER) return "a whole number";
  return highest === Number.MAX_SAFE_INTEGER
    ? `a whole number from ${lowest} on`
    : `a whole number from ${lowest} to ${highest}`;
}

/** Milliseconds of a number of seconds, or of a text in Go's form. */
export function readDuration(value: unknown, scope: Scope, negative: "negative" | "not negative"): number | undefined {
  const milliseconds = durationMs(value);
  if (milliseconds === undefined) {
    const tooLong = typeof value === "number" && Math.abs(value) >= LONGEST_SECONDS;
    scope.wrong(
      value,
      tooLong
        ? "a number in seconds, of less than three years,"
        : 'a text such as "30s" or "1m30s", or a number in seconds,',
    );
    return undefined;
  }
  if (milliseconds < 0 && negative === "not negative") {
    scope.wrong(value, "a duration that is not negative (0 = no limit)");
    return undefined;
  }
  return Math.min(milliseconds, LONGEST_TIMER_MS);
}

function durationMs(value: unknown): number | undefined {
  if (typeof value === "string") return parseDuration(value);
  return typeof value === "number" && Math.abs(value) < LONGEST_SECONDS ? value * 1000 : undefined;
}

/** The items of a list; `expected` says what it should hold. */
export function readList(value: unknown, scope: Scope, expected: string): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  scope.wrong(value, expected);
  return undefined;
}

/** The texts of a list, without those that are none. */
export function readTexts(value: unknown, scope: Scope, expected: string): readonly string[] | undefined {
  const texts: string[] = [];
  const list = readList(value, scope, expected);
  list?.forEach((item, index) => {
    if (typeof item === "string" && item !== "") texts.push(item);
    else scope.at(index).wrong(item === "" ? undefined : item, "a text");
  });
  return list && texts;
}

export function readTable(value: unknown, scope: Scope): Readonly<Record<string, unknown>> | undefined {
  if (isTable(value)) return value;
  scope.wrong(value, "keys and values");
  return undefined;
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * Calls the reader of each key that has a value, in the order of `readers`, and names the keys that have no reader. Keys without
 * a value count as absent, as in Go. A slip in one of `guarding`, whose loss would let in more than was meant, is a problem; all
 * other unknown keys are warnings.
 */
export function readFields(
  value: unknown,
  scope: Scope,
  readers: Readonly<Record<string, FieldReader>>,
  guarding: readonly string[] = [],
): void {
  if (value === undefined || value === null) return;
  const table = readTable(value, scope);
  if (table === undefined) return;
  for (const [key, read] of Object.entries(readers)) {
    const field = Object.hasOwn(table, key) ? table[key] : undefined;
    if (field !== undefined && field !== null) read(field, scope.at(key));
  }
  for (const key of Object.keys(table)) {
    if (!Object.hasOwn(readers, key)) unknownKey(key, scope.at(key), Object.keys(readers), guarding);
  }
}

function unknownKey(key: string, scope: Scope, known: readonly string[], guarding: readonly string[]): void {
  const guard = nearest(key, guarding, 1);
  if (guard !== undefined) {
    scope.problem(`found the unknown key ${describeValue(key)}; ${guard} would be right`);
    return;
  }
  const near = nearest(key, known);
  scope.unknownKey(
    `unknown key ${describeValue(key)} is ignored${near === undefined ? "" : `; did you mean ${near}?`}`,
  );
}
