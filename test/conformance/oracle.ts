/** What a real cloudflared answered to each row, and where underpass means to differ (test/fixtures/oracle/). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { EdgeProtocol } from "../../src/types.ts";
import type { Json } from "./rows/row.ts";

const folder = join(import.meta.dirname, "../fixtures/oracle");

export function oraclePath(protocol: EdgeProtocol): string {
  return join(folder, `${protocol}.json`);
}

export interface Oracle {
  readonly version: string;
  /** ISO date. */
  readonly recorded: string;
  readonly rows: Readonly<Record<string, { readonly title: string; readonly observed: Json }>>;
}

/** An answer of underpass that is not cloudflared's, and why. */
export interface Difference {
  readonly reason: string;
  /** Of the library alone: the command answers as cloudflared does. */
  readonly library?: true;
  readonly observed: Json;
}

export function readOracle(protocol: EdgeProtocol): Oracle {
  return JSON.parse(readFileSync(oraclePath(protocol), "utf8")) as Oracle;
}

export function readDifferences(protocol: EdgeProtocol): Readonly<Record<string, Difference>> {
  return JSON.parse(readFileSync(join(folder, `${protocol}-differences.json`), "utf8")) as Record<string, Difference>;
}
