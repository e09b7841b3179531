/** The pages below `/diag/` (operations § 9); `process` is ours. */
import { renderProcessState } from "./process-state.ts";
import { renderSystemInformation } from "./system-information.ts";
import { type DiagnosticState, renderTunnelState, type TunnelSummary } from "./tunnel-state.ts";

/** Undefined where there is no such page. */
export async function renderDiagnostics(
  path: string,
  state: DiagnosticState,
  connectorId: string,
  summary: () => TunnelSummary,
): Promise<string | undefined> {
  switch (path) {
    case "/diag/configuration":
      // The user's id tells cloudflared's `tunnel diag` where the log is.
      return JSON.stringify({ ...state.settings, uid: String(process.getuid?.() ?? -1) });
    case "/diag/tunnel":
      return renderTunnelState(state, connectorId, summary());
    case "/diag/system":
      return renderSystemInformation(state.version);
    case "/diag/process":
      return renderProcessState();
    default:
      return undefined;
  }
}
