/**
 * Underpass against what a real cloudflared answered (test/fixtures/oracle/): over each transport, row by row the same, but for the
 * differences that are meant, which are recorded with their reason and held to as well.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { readDifferences, readOracle } from "./oracle.ts";
import { RowRunner, rowsOver } from "./rows/index.ts";
import type { Row } from "./rows/row.ts";
import { librarySubject, processSubject } from "./subjects.ts";

const command = join(import.meta.dirname, "../../dist/cli/main.js");

/** Rows that are about a process: its command line, its signals, its exit status. */
const OF_THE_PROCESS = /^(?:REG-0[12]|REG-06a|REG-11|REG-16a|SUP-01|SHUT-)/;

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  const oracle = readOracle(protocol);
  const differences = readDifferences(protocol);
  const rows = rowsOver(protocol);
  const library = new RowRunner(librarySubject, protocol);
  const commandLine = new RowRunner(processSubject("underpass tunnel", process.execPath, [command]), protocol);

  afterAll(async () => {
    await library.close();
    await commandLine.close();
  });

  async function check(row: Row, runner = library): Promise<void> {
    const difference = differences[row.id];
    const meant = difference?.library === true && runner === commandLine ? undefined : difference;
    const expected = meant ?? oracle.rows[row.id];
    expect(await runner.run(row)).toEqual(expected?.observed);
  }

  describe("underpass answers as cloudflared does, or as it means to", () => {
    it.concurrent.each(rows.filter(({ own }) => own !== undefined))("$id: $title", (row) => check(row), 60_000);
    // These look at one origin: one after another.
    it.each(rows.filter(({ own }) => own === undefined))("$id: $title", (row) => check(row), 60_000);
  });

  describe.skipIf(!existsSync(command))("the command in cloudflared's place does too", () => {
    it.concurrent.each(rows.filter(({ id }) => OF_THE_PROCESS.test(id)))(
      "$id: $title",
      (row) => check(row, commandLine),
      60_000,
    );
  });

  describe("the record", () => {
    it("has every row, once", () => {
      const ids = rows.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(Object.keys(oracle.rows)).toEqual(ids);
    });

    it("is what docs/interop.md says of it", () => {
      const page = readFileSync(join(import.meta.dirname, "../../docs/interop.md"), "utf8");
      const meant = Object.keys(differences).length;
      const name = { http2: "HTTP/2", quic: "QUIC" }[protocol];
      expect(page).toContain(`| cloudflared | ${oracle.version},`);
      expect(page).toContain(
        `| over ${name} | recorded ${oracle.recorded}: ${rows.length} cases, ${rows.length - meant} answered alike, ${meant} differ and are meant to |`,
      );
    });

    it.skipIf(Object.keys(differences).length === 0).each(Object.entries(differences))(
      "means its difference %s",
      (id, { reason, observed }) => {
        expect(reason.length).toBeGreaterThan(20);
        expect(oracle.rows).toHaveProperty([id]);
        expect(isDeepStrictEqual(oracle.rows[id]?.observed, observed)).toBe(false);
      },
    );
  });
});
