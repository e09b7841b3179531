/** What operators deploy beside a tunnel: written from the metrics that there are. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { TunnelMetrics } from "../../src/health/tunnel-metrics.ts";

const root = resolve(import.meta.dirname, "../..");
const names = new Set(new TunnelMetrics("0").families.map(({ name }) => name));

function metricsIn(expression: string): string[] {
  const found = expression.match(/\b(?:cloudflared|flow_client|underpass|process|nodejs|quic)_[a-z_]+/g) ?? [];
  return found.map((name) => name.replace(/_bucket$/, ""));
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
}

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
}

describe("deploy/", () => {
  it.skipIf(!existsSync(join(root, "dist/health/tunnel-metrics.js")))("is what scripts/deploy.mjs writes", () => {
    const { status, stderr } = spawnSync(process.execPath, ["scripts/deploy.mjs", "--check"], { cwd: root });
    expect(stderr.toString()).toBe("");
    expect(status).toBe(0);
  });

  it("asks for metrics that there are, in every panel and every rule", () => {
    const dashboard = JSON.parse(readFileSync(join(root, "deploy/grafana/underpass.json"), "utf8")) as Dashboard;
    const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(queries.length).toBeGreaterThan(20);
    const rules = parse(readFileSync(join(root, "deploy/prometheus/underpass.rules.yml"), "utf8")) as Rules;
    const alerts = rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr));
    expect(alerts.length).toBeGreaterThan(5);
    for (const expression of [...queries, ...alerts]) {
      const asked = metricsIn(expression);
      expect(asked.length, expression).toBeGreaterThan(0);
      for (const name of asked) expect(names, expression).toContain(name);
    }
  });

  it("shows each metric of its own that means trouble", () => {
    const text = readFileSync(join(root, "deploy/prometheus/underpass.rules.yml"), "utf8");
    for (const name of names) if (/degraded|restarts/.test(name)) expect(text).toContain(name);
  });
});
