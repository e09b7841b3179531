/**
 * A real cloudflared against the mock edge, where CLOUDFLARED_BIN names one: over each transport it must answer every row as
 * recorded in test/fixtures/oracle/. UPDATE_ORACLE=1 (scripts/record-oracle.mjs) records it anew instead.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { type Oracle, oraclePath, readOracle } from "../conformance/oracle.ts";
import { RowRunner, rowsOver } from "../conformance/rows/index.ts";
import type { Json, Row } from "../conformance/rows/row.ts";
import { processSubject } from "../conformance/subjects.ts";

const binary = process.env.CLOUDFLARED_BIN ?? "";
const recording = process.env.UPDATE_ORACLE === "1";

describe.skipIf(binary === "").each(["http2", "quic"] as const)("cloudflared over %s", (protocol) => {
  const rows = rowsOver(protocol);
  const runner = new RowRunner(processSubject("cloudflared", binary), protocol);
  const observed = new Map<string, Json>();

  afterAll(async () => {
    await runner.close();
    if (!recording) return;
    // A run of some rows alone (-t) leaves the others as they were.
    const before = readOracle(protocol).rows;
    const version = /version (\S+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown";
    const oracle: Oracle = {
      version,
      recorded: new Date().toISOString().slice(0, 10),
      rows: Object.fromEntries(
        rows.map(({ id, title }) => [id, { title, observed: observed.get(id) ?? before[id]?.observed ?? null }]),
      ),
    };
    writeFileSync(oraclePath(protocol), `${JSON.stringify(oracle, undefined, 2)}\n`);
  });

  const check = async (row: Row): Promise<void> => {
    const result = await runner.run(row);
    observed.set(row.id, result);
    if (recording) return;
    expect(result).toEqual(readOracle(protocol).rows[row.id]?.observed);
  };
  it.concurrent.each(rows.filter(({ own }) => own !== undefined))("$id: $title", check, 120_000);
  // These look at one origin: one after another.
  it.each(rows.filter(({ own }) => own === undefined))("$id: $title", check, 120_000);
});
