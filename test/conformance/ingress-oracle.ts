/** What a real cloudflared said to each rule file and request (test/fixtures/oracle/ingress.json). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { IngressAnswer } from "./ingress-rows.ts";

export const ingressOraclePath = join(import.meta.dirname, "../fixtures/oracle/ingress.json");

export interface IngressOracle {
  readonly version: string;
  /** ISO date. */
  readonly recorded: string;
  /** By the row's title. */
  readonly rows: Readonly<Record<string, IngressAnswer>>;
}

export function readIngressOracle(): IngressOracle {
  return JSON.parse(readFileSync(ingressOraclePath, "utf8")) as IngressOracle;
}
