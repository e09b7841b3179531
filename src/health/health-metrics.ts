/** The tunnel's state, and what its health check comes to. */
import type { Metric, Registry } from "./metrics.ts";
import type { ProbeResult } from "./monitor.ts";
import { TUNNEL_STATES, type TunnelState } from "./state.ts";

export class HealthMetrics {
  readonly #state: Metric;
  readonly #changes: Metric;
  readonly #degraded: Metric;
  readonly #checks: Metric;
  readonly #failures: Metric;
  readonly #probes: Metric;
  readonly #probeSeconds: Metric;
  readonly #restarts: Metric;

  constructor(r: Registry) {
    this.#state = r.gauge("underpass_state", "1 for the state that the tunnel is in, 0 for the others.", ["state"]);
    this.#changes = r.counter("underpass_state_changes_total", "Changes of the state, by the new one.", ["state"]);
    this.#degraded = r.gauge("underpass_degraded", "1 while the tunnel serves, but not as it should.");
    this.#checks = r.counter("underpass_health_checks_total", "Health checks by their result.", ["result"]);
    for (const result of ["healthy", "degraded", "failed"]) this.#checks.add(0, { result });
    for (const state of TUNNEL_STATES) this.#changes.add(0, { state });
    this.#failures = r.counter("underpass_health_check_failures_total", "Health checks that failed.");
    this.#probes = r.gauge("underpass_probe_up", "1 where the last probe found it well, else 0.", ["probe", "target"]);
    this.#probeSeconds = r.gauge("underpass_probe_duration_seconds", "Time that the last probe took.", [
      "probe",
      "target",
    ]);
    this.#restarts = r.counter("underpass_restarts_total", "Restarts of the tunnel by its health check.");
  }

  /** At each rendering. */
  collect(state: TunnelState): void {
    for (const each of TUNNEL_STATES) this.#state.set(each === state ? 1 : 0, { state: each });
    this.#degraded.set(state === "degraded" ? 1 : 0);
  }

  changed(state: TunnelState): void {
    this.#changes.add(1, { state });
  }

  checked(result: "healthy" | "degraded" | "failed", probes: readonly ProbeResult[]): void {
    this.#checks.add(1, { result });
    if (result === "failed") this.#failures.add();
    // Other rules have other origins.
    this.#probes.clear();
    this.#probeSeconds.clear();
    for (const { milliseconds, ok, probe, target } of probes) {
      this.#probes.set(ok ? 1 : 0, { probe, target });
      if (milliseconds !== undefined) this.#probeSeconds.set(milliseconds / 1000, { probe, target });
    }
  }

  restarted(): void {
    this.#restarts.add();
  }
}
