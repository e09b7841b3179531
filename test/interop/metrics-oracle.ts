/** What a real cloudflared's metrics are called: test/fixtures/oracle/metrics.json, recorded from one against the mock edge. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Family, labelsOf } from "../health/exposition.ts";

export interface OracleFamily {
  readonly type: string;
  readonly labels: readonly string[];
}

export interface MetricsOracle {
  readonly version: string;
  readonly recorded: string;
  /** Those that a run over either transport had; go_* is left out. */
  readonly families: Readonly<Record<string, OracleFamily>>;
}

export const metricsOraclePath = join(import.meta.dirname, "../fixtures/oracle/metrics.json");

export function readMetricsOracle(): MetricsOracle {
  return JSON.parse(readFileSync(metricsOraclePath, "utf8")) as MetricsOracle;
}

export function describeFamilies(families: ReadonlyMap<string, Family>): Record<string, OracleFamily> {
  const described = [...families].map(([name, family]): [string, OracleFamily] => [
    name,
    { type: family.type, labels: labelsOf(family) },
  ]);
  return Object.fromEntries(described.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
