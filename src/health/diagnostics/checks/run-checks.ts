/** All checks of the network side by side; no row waits for what it does not need. */
import { assess, type CheckReport } from "./assess.ts";
import { checkDns } from "./dns-checks.ts";
import { checkEdge } from "./edge-checks.ts";
import { checkOrigins } from "./origin-checks.ts";
import type { CheckPeers, CheckPlan, CheckResult } from "./types.ts";
import { checkWeb } from "./web-checks.ts";

/** Never rejects, and is bounded by the rows' own limits: some 20 s where nothing answers. `known`: rows from elsewhere, that come first. */
export async function runChecks(
  plan: CheckPlan,
  peers: CheckPeers,
  known: readonly CheckResult[] = [],
): Promise<CheckReport> {
  const edge = async (): Promise<readonly CheckResult[]> => {
    const { rows, targets } = await checkDns(plan, peers);
    return [...rows, ...(await checkEdge(plan, targets, peers))];
  };
  const [reached, web, origins] = await Promise.all([edge(), checkWeb(plan, peers), checkOrigins(plan, peers)]);
  return assess(plan, [...known, ...web.slice(0, 1), ...reached, ...web.slice(1), ...origins]);
}
