/** Underpass reads rule files, and finds a request's rule, as a real cloudflared did (test/fixtures/oracle/ingress.json), or as it means to. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { type IngressSource, parseIngress } from "../../src/proxy/ingress/parse.ts";
import { createRouter } from "../../src/proxy/ingress/router.ts";
import { readIngressOracle } from "./ingress-oracle.ts";
import { type IngressAnswer, type IngressRow, ingressRows } from "./ingress-rows.ts";

const oracle = readIngressOracle();

function answer({ file, url }: IngressRow): IngressAnswer {
  const { ingress, warnings } = parseIngress(parseYaml(file) as IngressSource, {
    readFile(path) {
      throw new Error(`there is no file ${path}`);
    },
  });
  if (ingress === undefined) return { valid: false };
  const unknownKeys = warnings.some(({ text }) => text.includes("unknown key"));
  if (url === undefined) return { valid: true, unknownKeys };
  const [, authority = "", path = ""] = /^https:\/\/([^/]*)(.*)$/.exec(url) ?? [];
  return { valid: true, unknownKeys, rule: createRouter(ingress.rules).match(authority, path) };
}

describe("a rule file", () => {
  it.each(ingressRows)("$title", (row) => {
    expect(answer(row)).toEqual(row.meant?.answer ?? oracle.rows[row.title]);
  });
});

describe("the record", () => {
  it("has every row, once", () => {
    const titles = ingressRows.map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
    expect(Object.keys(oracle.rows)).toEqual(titles);
  });

  it("is what docs/interop.md says of it", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/interop.md"), "utf8").replaceAll("\n", " ");
    const meant = ingressRows.filter((row) => row.meant !== undefined).length;
    expect(page).toContain(`${ingressRows.length} files and requests`);
    expect(page).toContain(`${ingressRows.length - meant} are answered alike; ${meant} differ, each with its reason`);
  });

  it.each(ingressRows.filter(({ meant }) => meant !== undefined))(
    "differs, as is meant: $title",
    ({ title, meant }) => {
      expect(isDeepStrictEqual(oracle.rows[title], meant?.answer)).toBe(false);
    },
  );
});
