/** The numbers of one tunnel, under cloudflared's names where it has the same ones (operations § 9.1). */
import type { DatagramObserver, OutcomeClass, RequestObserver, RequestOutcome } from "../types.ts";
import { ConnectionMetrics, type ConnectionsReading } from "./connection-metrics.ts";
import { DatagramMetrics } from "./datagram-metrics.ts";
import { HealthMetrics } from "./health-metrics.ts";
import { type Distribution, type Histogram, type Metric, type MetricFamily, Registry } from "./metrics.ts";
import { addProcessMetrics } from "./process-metrics.ts";
import { QuicMetrics } from "./quic-metrics.ts";
import { RpcMetrics } from "./rpc-metrics.ts";
import type { TunnelState } from "./state.ts";

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

/** 0 until they happen: an increase from nothing is none to Prometheus. */
const OUTCOMES: readonly OutcomeClass[] = [
  "ok",
  "client-abort",
  ...ORIGIN_ERRORS,
  "no-origin",
  "access-denied",
  "bad-request",
  "edge-lost",
  "memory-limit",
  "shutdown",
];

/** Milliseconds. */
const CONNECT_BOUNDS = [1, 10, 25, 50, 100, 500, 1000, 5000];
/** Seconds. */
const DURATION_BOUNDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** What is looked up at each rendering. */
export interface TunnelReading extends ConnectionsReading {
  readonly state: TunnelState;
  /** Bytes that streams hold, and may hold. */
  readonly memory: { readonly held: number; readonly limit: number } | undefined;
}

export class TunnelMetrics implements RequestObserver {
  readonly datagrams: DatagramObserver;
  readonly connections: ConnectionMetrics;
  readonly health: HealthMetrics;
  readonly quic: QuicMetrics;
  readonly rpc: RpcMetrics;
  readonly #registry = new Registry();
  readonly #requests: Metric;
  readonly #concurrent: Metric;
  readonly #responses: Metric;
  readonly #errors: Metric;
  readonly #outcomes: Metric;
  readonly #durations: Histogram;
  readonly #hostnames: Metric;
  readonly #tcpActive: Metric;
  readonly #tcpTotal: Metric;
  readonly #connectLatency: Histogram;
  readonly #connectErrors: Metric;
  readonly #dns: Metric;
  readonly #flowsRefused: Metric;
  readonly #configVersion: Metric;
  readonly #reloads: Metric;
  readonly #memoryHeld: Metric;
  readonly #memoryLimit: Metric;
  // Counted for each request, so as plain numbers; they become metrics when somebody asks.
  #started = 0;
  #ended = 0;
  #failed = 0;
  readonly #statusCounts = new Map<number, number>();
  readonly #outcomeCounts = new Map<OutcomeClass, number>(OUTCOMES.map((outcome) => [outcome, 0]));
  /** By the rule's index. */
  readonly #durationsOf: (Distribution | undefined)[] = [];
  #read: (() => TunnelReading) | undefined;

  constructor(version: string) {
    const r = this.#registry;
    const build = r.gauge("build_info", "Always 1; the labels tell what is running.", [
      "goversion",
      "revision",
      "type",
      "version",
    ]);
    build.set(1, { goversion: "", revision: "", type: `node ${process.version}`, version });
    this.#requests = r.counter("cloudflared_tunnel_total_requests", "Requests that came through the tunnel.");
    this.#concurrent = r.gauge("cloudflared_tunnel_concurrent_requests_per_tunnel", "Requests under way.");
    this.#responses = r.counter("cloudflared_tunnel_response_by_code", "Answers by HTTP status.", ["status_code"]);
    this.#errors = r.counter("cloudflared_tunnel_request_errors", "Requests that failed at the origin.");
    this.#outcomes = r.counter("underpass_request_outcomes_total", "Ended requests by outcome.", ["outcome"]);
    this.#durations = r.histogram(
      "underpass_request_duration_seconds",
      "Time from a request's head to its end, by the rule's index.",
      DURATION_BOUNDS,
      ["rule"],
    );
    this.connections = new ConnectionMetrics(r);
    this.rpc = new RpcMetrics(r);
    this.#hostnames = r.counter("cloudflared_tunnel_user_hostnames_counts", "Public hostnames of quick tunnels.", [
      "userHostname",
    ]);
    this.#tcpActive = r.gauge("cloudflared_tcp_active_sessions", "TCP streams under way.");
    this.#tcpTotal = r.counter("cloudflared_tcp_total_sessions", "TCP streams that were opened.");
    this.#connectLatency = r.histogram(
      "cloudflared_proxy_connect_latency",
      "Time to connect to the origin of a TCP stream, in milliseconds.",
      CONNECT_BOUNDS,
    );
    this.#connectErrors = r.counter("cloudflared_proxy_connect_streams_errors", "TCP streams that did not come about.");
    this.#dns = r.counter(
      "cloudflared_virtual_origins_dns_requests_total",
      "Streams and sessions to the DNS address.",
      ["protocol"],
    );
    this.#flowsRefused = r.counter(
      "flow_client_registrations_rate_limited_total",
      "Flows of the private network that were refused, as too many are open.",
      ["flow_type"],
    );
    for (const flow_type of ["tcp", "udp"]) this.#flowsRefused.add(0, { flow_type });
    this.datagrams = new DatagramMetrics(r, {
      dnsSession: () => this.#dns.add(1, { protocol: "udp" }),
      flowRefused: () => this.#flowsRefused.add(1, { flow_type: "udp" }),
    });
    this.quic = new QuicMetrics(r);
    this.health = new HealthMetrics(r);
    this.#configVersion = r.gauge(
      "cloudflared_orchestration_config_version",
      "Configuration from Cloudflare in effect.",
    );
    this.#reloads = r.counter("underpass_config_reloads_total", "Local rules given to the running tunnel.", ["result"]);
    this.#memoryHeld = r.gauge("underpass_memory_held_bytes", "Bytes that streams hold for their consumers.");
    this.#memoryLimit = r.gauge("underpass_memory_limit_bytes", "Bytes that streams may hold together.");
    addProcessMetrics(r);
    r.onCollect(() => this.#collect());
  }

  /** `read` is asked at each rendering. */
  watch(read: () => TunnelReading): void {
    this.#read = read;
  }

  get families(): readonly MetricFamily[] {
    return this.#registry.families;
  }

  render(): string {
    return this.#registry.render();
  }

  #collect(): void {
    this.#requests.set(this.#started);
    this.#concurrent.set(this.#started - this.#ended);
    this.#errors.set(this.#failed);
    for (const [status, count] of this.#statusCounts) this.#responses.set(count, { status_code: `${status}` });
    for (const [outcome, count] of this.#outcomeCounts) this.#outcomes.set(count, { outcome });
    const reading = this.#read?.();
    if (reading === undefined) return;
    this.connections.collect(reading);
    this.health.collect(reading.state);
    if (reading.memory === undefined) return;
    this.#memoryHeld.set(reading.memory.held);
    this.#memoryLimit.set(reading.memory.limit);
  }

  started(): void {
    this.#started++;
  }

  finished(outcome: RequestOutcome): void {
    this.#ended++;
    increment(this.#outcomeCounts, outcome.class);
    if (outcome.status > 0) increment(this.#statusCounts, outcome.status);
    if (ORIGIN_ERRORS.has(outcome.class)) this.#failed++;
    if (outcome.kind === "http") this.#time(outcome);
    else if (outcome.kind === "tcp") this.#tcpFinished(outcome);
  }

  #time({ ingressRule, milliseconds }: RequestOutcome): void {
    if (ingressRule === undefined) return;
    this.#durationsOf[ingressRule] ??= this.#durations.of({ rule: `${ingressRule}` });
    this.#durationsOf[ingressRule]?.observe(milliseconds / 1000);
  }

  #tcpFinished(outcome: RequestOutcome): void {
    this.#tcpActive.add(-1);
    if (outcome.class === "flow-limit") this.#flowsRefused.add(1, { flow_type: "tcp" });
    if (outcome.class !== "ok" && outcome.phase !== "splice") this.#connectErrors.add();
  }

  connected(milliseconds: number): void {
    this.#connectLatency.observe(milliseconds);
  }

  /** A request has turned out to be a TCP stream; `finished` follows. */
  tcpStarted(isVirtualDns: boolean): void {
    this.#tcpActive.add();
    this.#tcpTotal.add();
    if (isVirtualDns) this.#dns.add(1, { protocol: "tcp" });
  }

  hostname(userHostname: string): void {
    this.#hostnames.add(1, { userHostname });
  }

  /** A configuration from Cloudflare is in effect. */
  configured(version: number): void {
    this.#configVersion.set(version);
  }

  reloaded(result: "applied" | "refused" | "failed"): void {
    this.#reloads.add(1, { result });
  }
}

function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
