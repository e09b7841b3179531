/** `underpass check`: whether a tunnel can work from here, what keeps it from that, and what to do. */
import { readVersion } from "../config/version.ts";
import { trustAnchors } from "../edge/roots.ts";
import type { CheckReport } from "../health/diagnostics/checks/assess.ts";
import { networkPeers } from "../health/diagnostics/checks/network.ts";
import { runChecks } from "../health/diagnostics/checks/run-checks.ts";
import type { CheckPeers, CheckResult, CheckStatus } from "../health/diagnostics/checks/types.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import { type CheckInput, readCheckInput } from "./check-plan.ts";
import type { CommandLine } from "./flags.ts";
import type { CliIo } from "./io.ts";

export interface CheckRequest {
  readonly line: CommandLine;
  readonly io: CliIo;
  readonly scrubber: Scrubber;
  /** Stand in for the network in tests. */
  readonly peers?: CheckPeers;
}

/** Prints a table, or JSON. 0 where nothing has failed; warnings are no failures. */
export async function check(request: CheckRequest): Promise<number> {
  const { io, line, scrubber } = request;
  const report = await checkAll(request);
  const asJson = line.switches.has("json");
  io.stdout.write(
    scrubber.scrub(
      asJson
        ? `${JSON.stringify({ ...report, suggestedProtocol: report.suggestedProtocol ?? null }, null, 2)}\n`
        : renderReport(report),
    ),
  );
  return report.ok ? 0 : 1;
}

/** Never rejects for what is configured wrongly or can't be reached. */
export async function checkAll({ io, line, peers, scrubber }: CheckRequest): Promise<CheckReport> {
  const input = await readCheckInput(line, io, scrubber);
  return runChecks(input.plan, peers ?? realPeers(input, io), input.rows);
}

function realPeers({ dial, plan }: CheckInput, io: CliIo): CheckPeers {
  return networkPeers({
    ...dial,
    userAgent: `underpass/${readVersion()}`,
    environment: plan.environment,
    originRoots: () => trustAnchors({ ...io.env }),
  });
}

const WORDS: Readonly<Record<CheckStatus, string>> = {
  ok: "ok",
  warning: "WARNING",
  failed: "FAILED",
  skipped: "-",
};
const HEADINGS = ["CHECK", "TARGET", "RESULT", "DETAILS"] as const;
/** One long value must not push the results off the screen. */
const MAX_WIDTH = 50;

export function renderReport({ checks, summary }: CheckReport): string {
  const rows = checks.map((row): readonly string[] => [row.component, row.target, WORDS[row.status], row.details]);
  const widths = [0, 1, 2].map((column) =>
    Math.min(MAX_WIDTH, Math.max(...[HEADINGS, ...rows].map((row) => row[column]?.length ?? 0))),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.replaceAll(/\s+/g, " ").padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return `${[line(HEADINGS), ...rows.map((row) => line(row)), ...renderActions(checks), "", summary].join("\n")}\n`;
}

/** Each thing to do once, with what it is for. */
function renderActions(checks: readonly CheckResult[]): readonly string[] {
  const actions = new Map<string, string[]>();
  for (const { action, component, target } of checks) {
    if (action === undefined) continue;
    const name = `${component} ${target}`;
    actions.set(action, [...(actions.get(action) ?? []), name]);
  }
  if (actions.size === 0) return [];
  return ["", "What to do:", ...[...actions].map(([action, names]) => `  ${names.join(", ")}:\n    ${action}`)];
}
