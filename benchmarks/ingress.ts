/** What finding a request's rule costs: many rules may not cost more than few. */
import { RE2JS } from "re2js";
import { defaultOriginRequest } from "../src/proxy/ingress/defaults.ts";
import { createRouter } from "../src/proxy/ingress/router.ts";
import type { IngressRule } from "../src/types.ts";
import { measure } from "./measure.ts";

export interface IngressRow {
  readonly name: string;
  readonly index_us: number;
  /** The same rules, tried from the first to the last, by the same library. */
  readonly walk_us: number;
}

const HOST = "app.example.com";
const MANY = 200;
/** More than elsewhere: one takes a tenth of a microsecond. */
const OPERATIONS = 50_000;

type Matcher = (host: string, path: string) => number;

function rule(hostname: string, path?: string): IngressRule {
  return { hostname, path, service: { kind: "status", status: 404 }, originRequest: defaultOriginRequest };
}

function pathRules(count: number): IngressRule[] {
  return Array.from({ length: count }, (_, i) => rule(HOST, `^/service-${i}/v[0-9]+(/|$)`));
}

function walk(rules: readonly IngressRule[]): Matcher {
  const list = rules.map(({ hostname, path }) => ({
    hostname,
    regexp: path === undefined ? undefined : RE2JS.compile(path),
  }));
  return (host, path) =>
    list.findIndex(({ hostname, regexp }) => (hostname === "" || hostname === host) && (regexp?.test(path) ?? true));
}

/** Paths of one service that differ in their ends. */
function paths(service: string): readonly string[] {
  return Array.from({ length: 64 }, (_, i) => `/${service}/v1/items/${i * 7919}?page=${i}`);
}

export function benchmarkIngress(): IngressRow[] {
  const catchAll = rule("");
  const one = [...pathRules(1), catchAll];
  const many = [...pathRules(MANY), catchAll];
  const hosts = [...Array.from({ length: MANY }, (_, i) => rule(`host-${i}.example.com`)), catchAll];
  const cases = [
    ["one rule for everything", [catchAll], HOST, paths("service-0")],
    ["one path rule, match", one, HOST, paths("service-0")],
    ["one path rule, miss", one, HOST, paths("nothing")],
    [`${MANY} path rules on one hostname, match of the last`, many, HOST, paths(`service-${MANY - 1}`)],
    [`${MANY} path rules on one hostname, miss of all`, many, HOST, paths("nothing")],
    [`${MANY} hostnames, match of the last`, hosts, `host-${MANY - 1}.example.com`, paths("x")],
  ] as const;
  return cases.map(([name, rules, host, targets]) => {
    const router = createRouter(rules);
    const walker = walk(rules);
    const on = (match: Matcher) => measure((i) => match(host, targets[i % targets.length] ?? ""), OPERATIONS);
    return { name, index_us: on((h, p) => router.match(h, p)), walk_us: on(walker) };
  });
}
