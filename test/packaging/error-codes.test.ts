/** docs/errors.md lists every stable code and every outcome of a request, once, and none that does not exist. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { errorCatalogue } from "../../src/error-catalogue.ts";

const root = resolve(import.meta.dirname, "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

// The catalogue repeats the page and throws nothing.
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && name !== "error-catalogue.ts")
  .map((name) => read(join("src", name)));

/** What stands alone between backquotes in the first column of the tables of a section. */
function firstColumn(markdown: string): string[] {
  return [...markdown.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1] ?? "");
}

const [codes = "", outcomes = ""] = read("docs/errors.md").split("## Outcomes");

describe("docs/errors.md", () => {
  it("lists every code of the sources, and no other", () => {
    // A prefix such as ERR_UNDERPASS_QUICK_TUNNEL_ is no code.
    const thrown = sources.flatMap((text) => text.match(/ERR_UNDERPASS_[A-Z\d_]*[A-Z\d]\b(?!_)/g) ?? []);
    expect(new Set(thrown).size).toBeGreaterThan(40);
    expect(firstColumn(codes).sort()).toEqual([...new Set(thrown)].sort());
  });

  it("sees every code: they are whole words, never put together", () => {
    const built = sources.filter((text) => /ERR_UNDERPASS_[A-Z\d_]*\$\{|"ERR_UNDERPASS_" ?\+|`ERR_/.test(text));
    expect(built).toEqual([]);
  });

  it("says what to do about each code", () => {
    const rows = codes.split("\n").filter((line) => line.startsWith("| `"));
    for (const row of rows) {
      const cells = row.split("|").map((cell) => cell.trim());
      expect(
        cells.slice(1, -1).map((cell) => cell.length > 5),
        row,
      ).toEqual([true, true, true]);
      // Whoever reads that has read the message.
      expect(cells[3]).not.toMatch(/^what the message names/);
    }
  });

  it("is what the command prints: node scripts/error-catalogue.mjs writes it anew after a change", () => {
    expect(Object.keys(errorCatalogue).sort()).toEqual(firstColumn(codes).sort());
    const bare = (text: string): string =>
      text.replace(/\]\([^)]*\)/g, "").replaceAll(/docs\/(?=[a-z]+\.md)|[`\\[\]]/g, "");
    const rows = codes.split("\n").flatMap((line) => {
      const [, code = "", cause = "", remedy = ""] = /^\| `(\w+)` \| (.+) \| (.+) \|$/.exec(line) ?? [];
      return code === "" ? [] : [[code, bare(cause), bare(remedy)]];
    });
    const printed = Object.entries(errorCatalogue).map(([code, { cause, remedy }]) => [
      code,
      bare(cause),
      bare(remedy),
    ]);
    expect(printed).toEqual(rows);
  });

  it("lists every outcome of a request, and no other", () => {
    const declared = /export type OutcomeClass =([^;]+);/.exec(read("src/types.ts"))?.[1] ?? "";
    const classes = [...declared.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "");
    expect(classes.length).toBeGreaterThan(10);
    expect(firstColumn(outcomes).sort()).toEqual(classes.sort());
  });

  it("names no code elsewhere in the documents that does not exist", () => {
    const known = new Set(firstColumn(codes));
    const documents = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)];
    const named = documents.flatMap((path) => read(path).match(/ERR_UNDERPASS_[A-Z\d_]*[A-Z\d]\b(?!_)/g) ?? []);
    expect(named.filter((code) => !known.has(code))).toEqual([]);
  });
});
