/** The numbers of one tunnel, under cloudflared's names where it has the same ones (operations § 9.1). */
import type { DatagramObserver, OutcomeClass, RequestObserver, RequestOutcome } from "../types.ts";
import { DatagramMetrics } from "./datagram-metrics.ts";
import { type Metric, type MetricFamily, Registry } from "./metrics.ts";
import { addProcessMetrics } from "./process-metrics.ts";

/** Outcomes that cloudflared counts as errors of proxying to the origin. */
const ORIGIN_ERRORS: ReadonlySet<OutcomeClass> = new Set<OutcomeClass>([
  "origin-refused",
  "origin-timeout",
  "origin-reset",
  "origin-tls",
  "origin-dns",
  "origin-protocol",
  "handler-error",
  "flow-limit",
]);

export type RpcMethod = "register_connection" | "unregister_connection" | "update_local_configuration";

export class TunnelMetrics implements RequestObserver {
  readonly datagrams: DatagramObserver;
  readonly #registry = new Registry();
  readonly #requests: Metric;
  readonly #concurrent: Metric;
  readonly #responses: Metric;
  readonly #errors: Metric;
  readonly #outcomes: Metric;
  readonly #haConnections: Metric;
  readonly #registeredNow: Metric;
  readonly #locations: Metric;
  readonly #registered: Metric;
  readonly #registerFailed: Metric;
  readonly #hostnames: Metric;
  readonly #configPushes: Metric;
  readonly #configPushErrors: Metric;
  readonly #tcpActive: Metric;
  readonly #tcpTotal: Metric;
  readonly #rpcCalls: Metric;
  readonly #rpcFailures: Metric;
  readonly #checkFailures: Metric;
  readonly #restarts: Metric;
  readonly #configVersion: Metric;
  readonly #reloads: Metric;
  readonly #connectErrors: Metric;
  readonly #degraded: Metric;
  /** Counted per request, so without rendering labels. */
  readonly #statusCounts = new Map<number, number>();
  readonly #outcomeCounts = new Map<OutcomeClass, number>();
  readonly #locationOf = new Map<number, string>();

  constructor(version: string) {
    const r = this.#registry;
    this.datagrams = new DatagramMetrics(r);
    const build = r.gauge("build_info", "Always 1; the labels tell what is running.", true);
    build.set(1, { goversion: "", revision: "", type: `node ${process.version}`, version });
    this.#requests = r.counter("cloudflared_tunnel_total_requests", "Requests that came through the tunnel.");
    this.#concurrent = r.gauge("cloudflared_tunnel_concurrent_requests_per_tunnel", "Requests under way.");
    this.#responses = r.counter("cloudflared_tunnel_response_by_code", "Answers by HTTP status.", true);
    this.#errors = r.counter("cloudflared_tunnel_request_errors", "Requests that failed at the origin.");
    this.#outcomes = r.counter("underpass_request_outcomes_total", "Ended requests by outcome.", true);
    this.#haConnections = r.gauge("cloudflared_tunnel_ha_connections", "Connections being opened or serving.");
    this.#registeredNow = r.gauge("underpass_registered_connections", "Connections that are registered.");
    this.#locations = r.gauge("cloudflared_tunnel_server_locations", "1 for the edge's location now, 0 before.", true);
    this.#registered = r.counter("cloudflared_tunnel_tunnel_register_success", "Registered connections.", true);
    this.#registerFailed = r.counter("cloudflared_tunnel_tunnel_register_fail", "Failed registrations.", true);
    this.#hostnames = r.counter("cloudflared_tunnel_user_hostnames_counts", "Public hostnames of quick tunnels.", true);
    this.#configPushes = r.counter("cloudflared_config_local_config_pushes", "Configurations told to the edge.");
    this.#configPushErrors = r.counter("cloudflared_config_local_config_pushes_errors", "Those that failed.");
    this.#tcpActive = r.gauge("cloudflared_tcp_active_sessions", "TCP streams under way.");
    this.#tcpTotal = r.counter("cloudflared_tcp_total_sessions", "TCP streams that were opened.");
    this.#rpcCalls = r.counter("cloudflared_rpc_client_operations", "Calls to the edge.", true);
    this.#rpcFailures = r.counter("cloudflared_rpc_client_failures", "Calls to the edge that failed.", true);
    this.#checkFailures = r.counter("underpass_health_check_failures_total", "Health checks that failed.");
    this.#restarts = r.counter("underpass_restarts_total", "Restarts of the tunnel by its health check.");
    this.#degraded = r.gauge("underpass_degraded", "1 while the public hostname answers, but not with 2xx.");
    this.#configVersion = r.gauge(
      "cloudflared_orchestration_config_version",
      "Configuration from Cloudflare in effect.",
    );
    this.#reloads = r.counter("underpass_config_reloads_total", "Local rules given to the running tunnel.", true);
    this.#connectErrors = r.counter("cloudflared_proxy_connect_streams_errors", "TCP streams that did not come about.");
    addProcessMetrics(r);
    r.onCollect(() => {
      for (const [status_code, count] of this.#statusCounts)
        this.#responses.set(count, { status_code: `${status_code}` });
      for (const [outcome, count] of this.#outcomeCounts) this.#outcomes.set(count, { outcome });
    });
  }

  /** `count` is asked at each rendering. */
  countConnections(count: () => { readonly active: number; readonly registered: number }): void {
    this.#registry.onCollect(() => {
      const { active, registered } = count();
      this.#haConnections.set(active);
      this.#registeredNow.set(registered);
    });
  }

  get families(): readonly MetricFamily[] {
    return this.#registry.families;
  }

  render(): string {
    return this.#registry.render();
  }

  started(): void {
    this.#requests.add();
    this.#concurrent.add();
  }

  finished(outcome: RequestOutcome): void {
    this.#concurrent.add(-1);
    increment(this.#outcomeCounts, outcome.class);
    if (outcome.status > 0) increment(this.#statusCounts, outcome.status);
    if (ORIGIN_ERRORS.has(outcome.class)) this.#errors.add();
    if (outcome.kind !== "tcp") return;
    this.#tcpActive.add(-1);
    if (outcome.class !== "ok" && outcome.phase !== "splice") this.#connectErrors.add();
  }

  /** A request has turned out to be a TCP stream; `finished` follows. */
  tcpStarted(): void {
    this.#tcpActive.add();
    this.#tcpTotal.add();
  }

  registered(connIndex: number, location: string): void {
    this.#registered.add(1, { rpcName: "registerConnection" });
    const connection_id = String(connIndex);
    const before = this.#locationOf.get(connIndex);
    if (before !== undefined) this.#locations.set(0, { connection_id, edge_location: before });
    this.#locationOf.set(connIndex, location);
    this.#locations.set(1, { connection_id, edge_location: location });
  }

  /** The edge, or the way to it, failed a registration. */
  registerFailed(duplicate: boolean): void {
    this.#registerFailed.add(1, { error: duplicate ? "dup_edge_conn" : "server_error", rpcName: "registerConnection" });
  }

  hostname(userHostname: string): void {
    this.#hostnames.add(1, { userHostname });
  }

  rpc(method: RpcMethod, ok: boolean): void {
    const labels = { handler: "registration", method };
    this.#rpcCalls.add(1, labels);
    if (!ok) this.#rpcFailures.add(1, labels);
    if (method !== "update_local_configuration") return;
    this.#configPushes.add();
    if (!ok) this.#configPushErrors.add();
  }

  /** A configuration from Cloudflare is in effect. */
  configured(version: number): void {
    this.#configVersion.set(version);
  }

  reloaded(result: "applied" | "refused" | "failed"): void {
    this.#reloads.add(1, { result });
  }

  healthCheck(verdict: "healthy" | "degraded" | "failed"): void {
    this.#degraded.set(verdict === "degraded" ? 1 : 0);
    if (verdict === "failed") this.#checkFailures.add();
  }

  restarted(): void {
    this.#restarts.add();
  }
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
