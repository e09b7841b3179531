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
  /** What its other pages answer, ids left out. */
  readonly pages: Readonly<Record<string, OraclePage>>;
}

export interface OraclePage {
  readonly status: number;
  readonly type: string | null;
  readonly body: string;
}

/** Those that are alike; docs/differences.md has the rest. */
const PAGES = ["/ready", "/healthcheck", "/quicktunnel", "/nothing", "/ready/"];

export async function readPages(url: string): Promise<Record<string, OraclePage>> {
  const pages = PAGES.map(async (path): Promise<[string, OraclePage]> => {
    const response = await fetch(`${url}${path}`);
    const body = (await response.text()).replaceAll(/[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/g, "<uuid>");
    return [path, { status: response.status, type: response.headers.get("content-type"), body }];
  });
  return Object.fromEntries(await Promise.all(pages));
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
