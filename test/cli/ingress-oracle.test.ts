/** `underpass tunnel ingress validate` and `rule` say what a real cloudflared said to the same command lines, or what is meant. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { readIngressOracle } from "../conformance/ingress-oracle.ts";
import { type IngressAnswer, type IngressRow, ingressRows } from "../conformance/ingress-rows.ts";
import { cli } from "./fake-io.ts";

const oracle = readIngressOracle();
const directory = mkdtempSync(join(tmpdir(), "underpass-oracle-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function ask(file: string, ...command: readonly string[]): Promise<{ status: number; text: string }> {
  const path = join(directory, "config.yml");
  writeFileSync(path, file);
  const { status, io } = await cli(["tunnel", "--config", path, "ingress", ...command]);
  return { status, text: io.stdout.text };
}

async function answer({ file, url }: IngressRow): Promise<IngressAnswer> {
  const { status, text } = await ask(file, "validate");
  if (status !== 0) return { valid: false };
  const unknownKeys = text.includes("unused keys");
  if (url === undefined) return { valid: true, unknownKeys };
  const rule = /rule #(\d+)/.exec((await ask(file, "rule", url)).text)?.[1];
  return { valid: true, unknownKeys, rule: Number(rule) };
}

describe("a rule file", () => {
  it.each(ingressRows)("$title", async (row) => {
    const found = await answer(row);
    const recorded = oracle.rows[row.title];
    // The command may be nearer to cloudflared than the parser alone: it refuses a file without rules.
    if (!isDeepStrictEqual(found, recorded)) expect(found).toEqual(row.meant?.answer ?? recorded);
  });
});
