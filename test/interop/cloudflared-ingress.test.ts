/**
 * A real cloudflared's `ingress validate` and `ingress rule`, where CLOUDFLARED_BIN names one: it must answer every row as recorded
 * in test/fixtures/oracle/ingress.json. UPDATE_ORACLE=1 (scripts/record-oracle.mjs) records it anew instead.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type IngressOracle, ingressOraclePath, readIngressOracle } from "../conformance/ingress-oracle.ts";
import { type IngressAnswer, type IngressRow, ingressRows } from "../conformance/ingress-rows.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";
const recording = process.env.UPDATE_ORACLE === "1";
const folder = mkdtempSync(join(tmpdir(), "underpass-ingress-"));
const observed = new Map<string, IngressAnswer>();

function ask(file: string, ...command: readonly string[]): { readonly status: number | null; readonly text: string } {
  const path = join(folder, "config.yml");
  writeFileSync(path, file);
  const { status, stdout, stderr } = spawnSync(binary, ["tunnel", "--config", path, "ingress", ...command], {
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status, text: `${stdout}${stderr}` };
}

function answer({ file, url }: IngressRow): IngressAnswer {
  const { status, text } = ask(file, "validate");
  if (status !== 0) return { valid: false };
  const unknownKeys = text.includes("unused keys");
  if (url === undefined) return { valid: true, unknownKeys };
  const rule = /rule #(\d+)/.exec(ask(file, "rule", url).text)?.[1];
  return { valid: true, unknownKeys, rule: Number(rule) };
}

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  if (!recording || observed.size < ingressRows.length) return;
  const version = /version (\S+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown";
  const oracle: IngressOracle = {
    version,
    recorded: new Date().toISOString().slice(0, 10),
    rows: Object.fromEntries(observed),
  };
  writeFileSync(ingressOraclePath, `${JSON.stringify(oracle, undefined, 2)}\n`);
});

describe.skipIf(binary === "")("cloudflared, about a rule file", () => {
  it.each(ingressRows)("$title", (row) => {
    const result = answer(row);
    observed.set(row.title, result);
    if (!recording) expect(result).toEqual(readIngressOracle().rows[row.title]);
  });
});
