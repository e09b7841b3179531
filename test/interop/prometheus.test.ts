/** A real Prometheus server scrapes a tunnel: PROMETHEUS_BIN names it, promtool stands beside it. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Rig, startRig } from "../end-to-end/start.ts";
import { findPeer, required, skipWithout } from "../peers.ts";
import { freePort } from "../ports.ts";

const root = resolve(import.meta.dirname, "../..");
const rulesPath = join(root, "deploy/prometheus/underpass.rules.yml");
const prometheus = findPeer("PROMETHEUS_BIN", "/usr/bin/prometheus");

interface Ended {
  readonly status: number;
  readonly output: string;
}

function promtool(args: readonly string[], stdin = ""): Promise<Ended> {
  const path = join(dirname(required(prometheus, "PROMETHEUS_BIN")), "promtool");
  return new Promise((done) => {
    const child = execFile(path, args, { cwd: root }, (error, stdout, stderr) => {
      const status = error === null ? 0 : Number(error.code ?? 1);
      done({ status, output: `${stdout}${stderr}` });
    });
    child.stdin?.end(stdin);
  });
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
}

/** What the panels of the dashboard ask for, with its variables filled in. */
function queriesOfDashboard(): readonly { readonly title: string; readonly query: string }[] {
  const { panels } = JSON.parse(readFileSync(join(root, "deploy/grafana/underpass.json"), "utf8")) as Dashboard;
  return panels.flatMap(({ targets = [], title }) =>
    targets.map(({ expr }) => ({
      title,
      query: expr.replaceAll("$job", ".*").replaceAll("$instance", ".*").replaceAll("$__rate_interval", "10s"),
    })),
  );
}

/** What the dashboard 24874 of grafana.com reads, but for Go's own numbers (docs/monitoring.md). */
const SEEN_BY_24874: Readonly<Record<"gauges" | "counters" | "histograms", readonly string[]>> = {
  gauges: [
    "build_info",
    "cloudflared_orchestration_config_version",
    "cloudflared_tcp_active_sessions",
    "cloudflared_tunnel_concurrent_requests_per_tunnel",
    "cloudflared_tunnel_ha_connections",
    "cloudflared_tunnel_server_locations",
    "cloudflared_tunnel_timer_retries",
    "cloudflared_udp_active_sessions",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "quic_client_congestion_state",
    "quic_client_congestion_window",
    "quic_client_latest_rtt",
    "quic_client_max_udp_payload",
    "quic_client_min_rtt",
    "quic_client_mtu",
    "quic_client_smoothed_rtt",
  ],
  counters: [
    "cloudflared_icmp_total_replies",
    "cloudflared_icmp_total_requests",
    "cloudflared_proxy_connect_streams_errors",
    "cloudflared_rpc_client_operations",
    "cloudflared_rpc_server_operations",
    "cloudflared_tcp_total_sessions",
    "cloudflared_tunnel_request_errors",
    "cloudflared_tunnel_response_by_code",
    "cloudflared_tunnel_total_requests",
    "cloudflared_tunnel_tunnel_register_success",
    "cloudflared_udp_total_sessions",
    "process_cpu_seconds_total",
    "process_network_receive_bytes_total",
    "process_network_transmit_bytes_total",
    "quic_client_closed_connections",
    "quic_client_lost_packets",
    "quic_client_packet_too_big_dropped",
    "quic_client_receive_bytes",
    "quic_client_received_frames",
    "quic_client_sent_bytes",
    "quic_client_sent_frames",
    "quic_client_total_connections",
  ],
  histograms: [
    "cloudflared_proxy_connect_latency",
    "cloudflared_rpc_client_latency_secs",
    "cloudflared_rpc_server_latency_secs",
  ],
};

describe.skipIf(skipWithout(prometheus))("Prometheus", () => {
  let rig: Rig;
  let directory: string;
  let url: string;
  let stop = async (): Promise<void> => {};

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "underpass-prometheus-"));
    rig = await startRig({
      haConnections: 2,
      metrics: "127.0.0.1:0",
      origin: { fetch: (request) => new Response("x", { status: request.url.endsWith("/missing") ? 404 : 200 }) },
    });
    const target = new URL(rig.tunnel.metricsUrl ?? "").host;
    const config = {
      global: { scrape_interval: "200ms", scrape_timeout: "200ms", evaluation_interval: "200ms" },
      rule_files: [rulesPath],
      scrape_configs: [{ job_name: "underpass", static_configs: [{ targets: [target] }] }],
    };
    const path = join(directory, "prometheus.yml");
    // JSON is YAML.
    writeFileSync(path, JSON.stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    url = `http://${address}`;
    const options = [
      `--config.file=${path}`,
      `--storage.tsdb.path=${directory}/data`,
      `--web.listen-address=${address}`,
    ];
    const child = spawn(required(prometheus, "PROMETHEUS_BIN"), options, { stdio: "ignore" });
    const exit = once(child, "exit");
    stop = async () => {
      child.kill("SIGKILL");
      await exit;
    };
  }, 30_000);

  afterAll(async () => {
    await stop();
    await rig.stop();
    rmSync(directory, { recursive: true, force: true });
  }, 30_000);

  /** Asks again until the answer will do, for as long as the test may take. */
  async function eventually<T>(path: string, read: (answer: { data: never }) => T | undefined): Promise<T> {
    for (;;) {
      const answer = await fetch(`${url}${path}`).then(
        (response) => (response.ok ? (response.json() as Promise<{ data: never }>) : undefined),
        () => undefined,
      );
      const found = answer === undefined ? undefined : read(answer);
      if (found !== undefined) return found;
      await sleep(100);
    }
  }

  function seriesOf(query: string): Promise<readonly { metric: Record<string, string>; value: [number, string] }[]> {
    return eventually(`/api/v1/query?query=${encodeURIComponent(query)}`, ({ data }) => {
      const { result } = data as { result: { metric: Record<string, string>; value: [number, string] }[] };
      return result.length > 0 ? result : undefined;
    });
  }

  it("finds the tunnel up", async () => {
    const health = await eventually("/api/v1/targets", ({ data }) => {
      const [target] = (data as { activeTargets: { health: string; lastError: string }[] }).activeTargets;
      return target === undefined || target.health === "unknown" ? undefined : target;
    });
    expect(health).toMatchObject({ health: "up", lastError: "" });
  }, 20_000);

  it("reads what the tunnel counts", async () => {
    for (const path of ["/", "/", "/missing"]) await fetch(new URL(path, rig.edge.publicUrl));
    for (const [query, value] of [
      ['cloudflared_tunnel_response_by_code{status_code="200"} == 2', "2"],
      ['cloudflared_tunnel_response_by_code{status_code="404"} == 1', "1"],
      ["cloudflared_tunnel_total_requests == 3", "3"],
      ["cloudflared_tunnel_ha_connections == 2", "2"],
      ['underpass_state{state="ready"} == 1', "1"],
      ["underpass_request_duration_seconds_count == 3", "3"],
      ['cloudflared_rpc_client_operations{method="register_connection"} == 2', "2"],
      ['cloudflared_rpc_client_latency_secs_bucket{method="register_connection",le="+Inf"} == 2', "2"],
    ] as const) {
      expect((await seriesOf(query)).map((series) => series.value[1])).toEqual([value]);
    }
    const roundTrips = await seriesOf("underpass_connection_round_trip_seconds > 0");
    expect(roundTrips.map(({ metric }) => metric["conn_index"])).toEqual(expect.arrayContaining(["0", "1"]));
  }, 20_000);

  it("has a series for every query of the dashboard", async () => {
    const queries = queriesOfDashboard();
    expect(queries.length).toBeGreaterThan(40);
    await Promise.all(
      queries.map(async ({ query, title }) => expect((await seriesOf(query)).length, title).toBeGreaterThan(0)),
    );
  }, 30_000);

  it("has a series for all that the dashboard for cloudflared reads", async () => {
    // The edge calls.
    await rig.edge.pushConfiguration(1, { ingress: [{ service: "http_status:204" }] });
    const queries = [
      ...SEEN_BY_24874.gauges,
      ...SEEN_BY_24874.counters.map((name) => `rate(${name}[10s])`),
      ...SEEN_BY_24874.histograms.map((name) => `histogram_quantile(0.95, sum by (le) (rate(${name}_bucket[10s])))`),
    ];
    await Promise.all(queries.map(async (query) => expect((await seriesOf(query)).length, query).toBeGreaterThan(0)));
    expect(await seriesOf("cloudflared_orchestration_config_version == 1")).toHaveLength(1);
  }, 30_000);

  it("loads the alerts, and none goes off", async () => {
    const rules = await eventually("/api/v1/rules", ({ data }) => {
      const found = (data as { groups: { rules: { name: string; health: string; state: string }[] }[] }).groups;
      const all = found.flatMap((group) => group.rules);
      return all.length > 0 && all.every((rule) => rule.health !== "unknown") ? all : undefined;
    });
    expect(rules.length).toBeGreaterThan(7);
    for (const rule of rules) expect(rule).toMatchObject({ health: "ok", state: "inactive" });
  }, 20_000);

  it("takes the metrics for well made, but for names that are cloudflared's", async () => {
    const text = await (await fetch(`${rig.tunnel.metricsUrl}/metrics`)).text();
    const { output } = await promtool(["check", "metrics"], text);
    const problems = output.split("\n").filter((line) => line !== "");
    for (const line of problems) expect(line).toMatch(/^(?:cloudflared|quic_client|process_network)_\w+ /);
    // It does complain where something is wrong.
    const wrong = await promtool(
      ["check", "metrics"],
      "# HELP underpass_x X.\n# TYPE underpass_x counter\nunderpass_x 1\n",
    );
    expect([wrong.status, wrong.output]).toEqual([3, expect.stringContaining("underpass_x")]);
  }, 20_000);
});

describe.skipIf(skipWithout(prometheus))("promtool", () => {
  it("takes the alerts", async () => {
    expect(await promtool(["check", "rules", rulesPath])).toMatchObject({
      status: 0,
      output: expect.stringContaining("SUCCESS"),
    });
  }, 20_000);

  it("sees them go off when they should", async () => {
    const { output, status } = await promtool(["test", "rules", "test/fixtures/prometheus/underpass.rules.test.yml"]);
    expect([status, output]).toEqual([0, expect.stringContaining("SUCCESS")]);
  }, 20_000);
});
