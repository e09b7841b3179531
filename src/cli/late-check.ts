/** A tunnel that does not come up tells why: the checks of the network, once, beside its own attempts. */
import { randomUUID } from "node:crypto";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { readVersion } from "../config/version.ts";
import type { CheckReport } from "../health/diagnostics/checks/assess.ts";
import type { Logger } from "../types.ts";
import type { CliIo } from "./io.ts";

/** Registering takes a second or two; what has failed for so long is no passing weakness. */
const SILENCE_MS = 15_000;

export interface SilenceOptions {
  /** Settles with the first registration, or with the tunnel's end. */
  readonly registered: Promise<void>;
  readonly look: () => Promise<CheckReport>;
  /** Cloudflare has asked for quiet. */
  readonly isUnwanted: () => boolean;
  readonly logger: Logger;
}

/** Logs under cloudflared's names for its pre-checks. Returns how to stop waiting. */
export function explainSilence({ isUnwanted, logger, look, registered }: SilenceOptions): () => void {
  let isOver = false;
  const stop = (): void => {
    isOver = true;
    clearTimeout(timer);
  };
  const timer = setTimeout(() => {
    if (isUnwanted()) return;
    void look().then(
      (report) => {
        if (!isOver) logReport(report, logger);
      },
      (error: unknown) => logger.debug("precheck failed", { error }),
    );
  }, SILENCE_MS);
  timer.unref();
  registered.then(stop, stop);
  return stop;
}

function logReport({ checks, ok, suggestedProtocol, summary }: CheckReport, logger: Logger): void {
  const run = randomUUID();
  for (const { action, code, component, details, status, target } of checks) {
    const level = status === "failed" || status === "warning" ? "warn" : "debug";
    logger[level]("precheck", { run_id: run, component, target, status, details, action, code });
  }
  const level = ok ? "info" : "warn";
  logger[level]("precheck complete", { run_id: run, hard_fail: !ok, suggested_protocol: suggestedProtocol, summary });
}

/** The network alone: the rest has been read already. */
export async function checkNetwork(config: TunnelConfig, io: CliIo): Promise<CheckReport> {
  const [{ checkPlanOf }, { networkPeers }, { runChecks }, { trustAnchors }] = await Promise.all([
    import("./check-plan.ts"),
    import("../health/diagnostics/checks/network.ts"),
    import("../health/diagnostics/checks/run-checks.ts"),
    import("../edge/roots.ts"),
  ]);
  const peers = networkPeers({
    ...config,
    userAgent: `underpass/${readVersion()}`,
    environment: io.env,
    originRoots: () => trustAnchors({ ...io.env }),
  });
  const report = await runChecks({ ...checkPlanOf(config, io.env), origins: [] }, peers);
  return { ...report, checks: report.checks.filter(({ component }) => component !== "Origin") };
}
