/** What the rows mean together: a tunnel needs one transport, one region, one family; what is beyond that is a warning. */
import type { CheckPlan, CheckResult, CheckStatus } from "./types.ts";

export interface CheckReport {
  /** No row has failed, and the edge is reached. */
  readonly ok: boolean;
  readonly summary: string;
  /** What connections would take; undefined where nothing reaches the edge. */
  readonly suggestedProtocol: "quic" | "http2" | undefined;
  readonly checks: readonly CheckResult[];
}

export function assess(
  plan: Pick<CheckPlan, "protocol" | "needsQuickService">,
  rows: readonly CheckResult[],
): CheckReport {
  const works = (component: CheckResult["component"]): boolean =>
    rows.some((row) => row.component === component && row.status === "ok");
  const [udp, tcp] = [works("UDP"), works("TCP")];
  const checks = rows.map((row) =>
    row.status === "failed" && isSpare(row, udp || tcp, plan) ? demote(row, udp) : row,
  );
  const suggestedProtocol = udp ? "quic" : tcp ? "http2" : undefined;
  const count = (status: CheckStatus): number => checks.filter((row) => row.status === status).length;
  const [failed, warnings] = [count("failed"), count("warning")];
  return {
    ok: failed === 0 && suggestedProtocol !== undefined,
    summary: summarize(plan.protocol, suggestedProtocol, failed, warnings),
    suggestedProtocol,
    checks,
  };
}

/** Whether a tunnel works without what this row looked at. */
function isSpare(
  row: CheckResult,
  edgeIsReached: boolean,
  { needsQuickService }: Pick<CheckPlan, "needsQuickService">,
): boolean {
  switch (row.component) {
    case "DNS":
    case "UDP":
    case "TCP":
      return edgeIsReached;
    case "API":
      return true;
    case "Proxy":
    case "Quick tunnels":
      return !needsQuickService;
    default:
      return false;
  }
}

function demote(row: CheckResult, udpWorks: boolean): CheckResult {
  const consequence = consequenceOf(row, udpWorks);
  return { ...row, status: "warning", details: consequence === "" ? row.details : `${row.details} (${consequence})` };
}

function consequenceOf({ component }: CheckResult, udpWorks: boolean): string {
  if (component === "UDP")
    return udpWorks ? "the edge is reached otherwise" : "HTTP/2 is used; no UDP or ICMP of the private network";
  if (component === "TCP" || component === "DNS") return "the edge is reached otherwise";
  return component === "API" ? "only commands that manage tunnels need it" : "a named tunnel does not need it";
}

function summarize(
  wanted: CheckPlan["protocol"],
  suggested: CheckReport["suggestedProtocol"],
  failed: number,
  warnings: number,
): string {
  if (suggested === undefined) return "No connection to Cloudflare's edge is possible from here.";
  const names = { quic: "QUIC", http2: "HTTP/2" };
  const way = suggested === "http2" && wanted === "auto" ? "HTTP/2 (QUIC does not get through)" : names[suggested];
  if (failed > 0)
    return `Cloudflare's edge is reached over ${way}, but ${failed} ${failed === 1 ? "check has" : "checks have"} failed.`;
  if (warnings > 0)
    return `A tunnel works from here over ${way}, with ${warnings} ${warnings === 1 ? "warning" : "warnings"}.`;
  return `A tunnel works from here over ${way}.`;
}
