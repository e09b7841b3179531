/** Every case of the lists has its test here: what is not asked for is not known to work. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const numbered = (prefix: string, last: number): string[] =>
  Array.from({ length: last }, (_, i) => `${prefix}-${String(i + 1).padStart(2, "0")}`);

/** 9 wants the real edge; 18 is the soak's day. */
const ROWS = Array.from({ length: 17 }, (_, i) => i + 1).filter((row) => row !== 9);

const CASES = [
  ...numbered("REG", 20),
  ...numbered("SUP", 7),
  ...numbered("SHUT", 6),
  ...numbered("PRE", 2),
  ...ROWS.map((row) => `row ${row}`),
];

it("each case of registration, supervision, shutdown, checks and reliability is in a test's name", () => {
  const sources = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith(".test.ts") && name !== "list.test.ts")
    .map((name) => readFileSync(join(import.meta.dirname, name), "utf8"));
  // Neither a comment nor a test that is skipped counts.
  const live = sources.map((source) => source.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, ""));
  for (const source of live) expect(source).not.toMatch(/\.(?:skip|todo|only|fails)\b/);
  const named = new Set(live.flatMap((source) => source.match(/\b(?:(?:REG|SUP|SHUT|PRE)-\d\d|row \d+)\b/g) ?? []));
  expect(CASES.filter((id) => !named.has(id))).toEqual([]);
});
