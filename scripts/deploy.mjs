// Writes deploy/grafana/underpass.json and deploy/prometheus/underpass.rules.yml from the metrics that a tunnel has, after `npm run build`.
// With --check it writes nothing, and fails where they are not what it would write. A metric that is not there is an error.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { TunnelMetrics } = await import(new URL("../dist/health/tunnel-metrics.js", import.meta.url).href);
const families = new Map(new TunnelMetrics("0").families.map((family) => [family.name, family]));

/**
 * The selector of one metric; of a counter, its rate; of a histogram, the quantile of its observations. `rare` is 0 as long as
 * nothing has happened: a metric with labels has no series before.
 */
function series(name, { by, filter = "", rare = false, quantile } = {}) {
  const family = families.get(name);
  if (family === undefined) throw new Error(`there is no metric ${name}`);
  const suffix = family.type === "histogram" ? "_bucket" : "";
  const selected = `${name}${suffix}{job=~"$job",instance=~"$instance"${filter === "" ? "" : `,${filter}`}}`;
  const value = family.type === "gauge" ? selected : `rate(${selected}[$__rate_interval])`;
  if (quantile !== undefined) {
    const labels = ["le", ...(by === undefined ? [] : [by])].join(", ");
    return {
      expr: `histogram_quantile(${quantile}, sum by (${labels}) (${value}))`,
      legend: by === undefined ? `${quantile * 100} %` : `${quantile * 100} %, {{${by}}}`,
    };
  }
  const sum = by === undefined ? `sum(${value})` : `sum by (${by}) (${value})`;
  return {
    expr: rare ? `${sum} or vector(0)` : sum,
    legend: by === undefined ? family.help.replace(/\.$/, "") : `{{${by}}}`,
  };
}

const ROWS = [
  {
    title: "Connections",
    panels: [
      { title: "State", unit: "short", series: [series("underpass_state", { by: "state" })] },
      {
        title: "Connections",
        unit: "short",
        series: [
          series("underpass_ready_connections"),
          series("underpass_wanted_connections"),
          series("cloudflared_tunnel_ha_connections"),
        ],
      },
      {
        title: "Round trip to the edge",
        unit: "s",
        series: [
          {
            expr: series("underpass_connection_round_trip_seconds", { by: "conn_index" }).expr.replace(/^sum/, "max"),
            legend: "{{conn_index}}",
          },
        ],
      },
      {
        title: "Where they lead",
        unit: "short",
        series: [series("cloudflared_tunnel_server_locations", { by: "edge_location" })],
      },
      {
        title: "Registrations",
        unit: "ops",
        series: [
          series("cloudflared_tunnel_tunnel_register_success"),
          series("cloudflared_tunnel_tunnel_register_fail", { by: "error" }),
          series("underpass_connection_reconnects_total"),
        ],
      },
      {
        title: "Health checks",
        unit: "ops",
        series: [
          series("underpass_health_check_failures_total"),
          series("underpass_restarts_total"),
          series("underpass_degraded"),
        ],
      },
      {
        title: "Calls to the edge",
        unit: "ops",
        series: [
          series("cloudflared_rpc_client_operations"),
          series("cloudflared_rpc_client_failures", { rare: true }),
        ],
      },
      {
        title: "Time of calls to the edge",
        unit: "s",
        series: [series("cloudflared_rpc_client_latency_secs", { quantile: 0.95, by: "method" })],
      },
    ],
  },
  {
    title: "Requests",
    panels: [
      { title: "Requests", unit: "reqps", series: [series("cloudflared_tunnel_total_requests", { by: "instance" })] },
      {
        title: "Under way",
        unit: "short",
        series: [series("cloudflared_tunnel_concurrent_requests_per_tunnel", { by: "instance" })],
      },
      {
        title: "Answers by status",
        unit: "reqps",
        series: [series("cloudflared_tunnel_response_by_code", { by: "status_code" })],
      },
      {
        title: "How requests ended",
        unit: "reqps",
        series: [series("underpass_request_outcomes_total", { by: "outcome" })],
      },
      {
        title: "Time of requests",
        unit: "s",
        series: [0.5, 0.95, 0.99].map((quantile) => series("underpass_request_duration_seconds", { quantile })),
      },
      {
        title: "By connection",
        unit: "reqps",
        series: [
          series("underpass_connection_requests_total", { by: "conn_index" }),
          series("underpass_connection_resets_total"),
        ],
      },
      {
        title: "Failed at the origin",
        unit: "reqps",
        series: [series("cloudflared_tunnel_request_errors", { by: "instance" })],
      },
    ],
  },
  {
    title: "QUIC",
    panels: [
      {
        title: "Smoothed round trip",
        unit: "ms",
        series: [series("quic_client_smoothed_rtt", { by: "conn_index", rare: true })],
      },
      {
        title: "Bytes",
        unit: "Bps",
        series: [series("quic_client_sent_bytes", { rare: true }), series("quic_client_receive_bytes", { rare: true })],
      },
      {
        title: "Lost packets",
        unit: "pps",
        series: [series("quic_client_lost_packets", { by: "reason", rare: true })],
      },
    ],
  },
  {
    title: "Private network",
    panels: [
      { title: "TCP streams", unit: "short", series: [series("cloudflared_tcp_active_sessions")] },
      {
        title: "UDP sessions",
        unit: "short",
        series: [
          series("cloudflared_udp_active_sessions"),
          series("cloudflared_udp_active_flows", { rare: true }),
          series("flow_client_registrations_rate_limited_total", { by: "flow_type" }),
        ],
      },
      {
        title: "Datagrams dropped",
        unit: "pps",
        series: [series("cloudflared_udp_dropped_datagrams", { by: "reason", rare: true })],
      },
      {
        title: "ICMP",
        unit: "pps",
        series: [
          series("cloudflared_icmp_total_requests"),
          series("cloudflared_icmp_total_replies"),
          series("cloudflared_icmp_dropped_packets", { by: "reason", rare: true }),
        ],
      },
    ],
  },
  {
    title: "Process",
    panels: [
      { title: "CPU", unit: "percentunit", series: [series("process_cpu_seconds_total", { by: "instance" })] },
      {
        title: "Resident memory",
        unit: "bytes",
        series: [series("process_resident_memory_bytes", { by: "instance" })],
      },
      {
        title: "Held by streams",
        unit: "bytes",
        series: [series("underpass_memory_held_bytes"), series("underpass_memory_limit_bytes")],
      },
      {
        title: "Delay of the event loop",
        unit: "s",
        series: [
          {
            expr: series("underpass_event_loop_delay_seconds", { by: "percentile" }).expr.replace(/^sum/, "max"),
            legend: "{{percentile}} %",
          },
        ],
      },
      { title: "Open descriptors", unit: "short", series: [series("process_open_fds", { by: "instance" })] },
      {
        title: "Configuration from Cloudflare",
        unit: "none",
        series: [series("cloudflared_orchestration_config_version", { by: "instance" })],
      },
    ],
  },
];

const COLUMNS = 24;
const WIDTH = 8;
const HEIGHT = 7;

function dashboard() {
  const panels = [];
  let y = 0;
  for (const row of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      panels: [],
    });
    y += 1;
    row.panels.forEach((panel, index) => {
      panels.push({
        id: panels.length + 1,
        type: "timeseries",
        title: panel.title,
        datasource: { type: "prometheus", uid: "${datasource}" },
        gridPos: {
          x: (index * WIDTH) % COLUMNS,
          y: y + Math.floor((index * WIDTH) / COLUMNS) * HEIGHT,
          w: WIDTH,
          h: HEIGHT,
        },
        fieldConfig: { defaults: { unit: panel.unit, min: 0 }, overrides: [] },
        targets: panel.series.map(({ expr, legend }, target) => ({
          refId: String.fromCharCode(65 + target),
          expr,
          legendFormat: legend,
        })),
      });
    });
    y += Math.ceil((row.panels.length * WIDTH) / COLUMNS) * HEIGHT;
  }
  const choice = (name) => ({
    name,
    type: "query",
    datasource: { type: "prometheus", uid: "${datasource}" },
    query: { query: `label_values(cloudflared_tunnel_ha_connections, ${name})`, refId: name },
    refresh: 2,
    multi: true,
    includeAll: true,
    allValue: ".*",
    current: { text: "All", value: "$__all" },
  });
  return {
    uid: "underpass",
    title: "Underpass",
    tags: ["underpass", "cloudflared"],
    schemaVersion: 39,
    timezone: "browser",
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: {
      list: [{ name: "datasource", type: "datasource", query: "prometheus" }, choice("job"), choice("instance")],
    },
    panels,
  };
}

function metric(name) {
  if (!families.has(name)) throw new Error(`there is no metric ${name}`);
  return name;
}

function rules() {
  const alert = (name, expr, wait, severity, summary, description) => ({
    alert: name,
    expr,
    for: wait,
    labels: { severity },
    annotations: { summary, description },
  });
  const requests = `rate(${metric("cloudflared_tunnel_total_requests")}[5m])`;
  const errors = `rate(${metric("cloudflared_tunnel_request_errors")}[5m])`;
  return {
    groups: [
      {
        name: "underpass",
        rules: [
          alert(
            "UnderpassDown",
            `${metric("underpass_ready_connections")} == 0`,
            "2m",
            "critical",
            "{{ $labels.instance }} has no connection to Cloudflare",
            "No visitor reaches its origins. `underpass check` on that machine tells what keeps it.",
          ),
          alert(
            "UnderpassGone",
            `up == 0 and on (job, instance) last_over_time(${metric("underpass_ready_connections")}[1d])`,
            "2m",
            "critical",
            "{{ $labels.instance }} no longer answers",
            "Its process has ended or hangs, or its machine is gone: the service manager and its log tell.",
          ),
          alert(
            "UnderpassFewConnections",
            `${metric("underpass_ready_connections")} > 0 and ${metric("underpass_ready_connections")} < ${metric("underpass_wanted_connections")}`,
            "10m",
            "warning",
            "{{ $labels.instance }} has {{ $value }} registered connections, fewer than it wants",
            "It serves, with less to fall back on. Its log tells why the others don't register.",
          ),
          alert(
            "UnderpassDegraded",
            `${metric("underpass_degraded")} == 1`,
            "5m",
            "warning",
            "{{ $labels.instance }} serves, but not as it should",
            "Connections are missing, its public hostname does not answer with 2xx, or an origin is down: underpass_probe_up and `underpass healthcheck` tell which.",
          ),
          alert(
            "UnderpassRestarts",
            `increase(${metric("underpass_restarts_total")}[30m]) > 2`,
            "0m",
            "warning",
            "{{ $labels.instance }} restarts again and again",
            "Its health check does not get through the public hostname.",
          ),
          alert(
            "UnderpassOriginErrors",
            `${errors} / ${requests} > 0.05 and ${requests} > 0.1`,
            "5m",
            "warning",
            "More than 5 % of the requests of {{ $labels.instance }} fail at the origin",
            "underpass_request_outcomes_total tells how they end.",
          ),
          alert(
            "UnderpassRefused",
            `increase(${metric("cloudflared_tunnel_tunnel_register_fail")}[15m]) > 10`,
            "0m",
            "warning",
            "Cloudflare refuses to register connections of {{ $labels.instance }}",
            "The log has its reason.",
          ),
          alert(
            "UnderpassOriginDown",
            `${metric("underpass_probe_up")}{probe="origin"} == 0`,
            "2m",
            "critical",
            "{{ $labels.instance }} can't reach its origin {{ $labels.target }}",
            "Whoever is led there gets an error.",
          ),
          alert(
            "UnderpassMemory",
            `${metric("underpass_memory_held_bytes")} > 0.5 * ${metric("underpass_memory_limit_bytes")}`,
            "5m",
            "warning",
            "The streams of {{ $labels.instance }} hold {{ $value | humanize1024 }}B that nobody takes",
            "Origins or visitors are slow; from half of the limit on, streams get less room, and at the limit some are broken off.",
          ),
          alert(
            "UnderpassDescriptors",
            `${metric("process_open_fds")} > 0.8 * ${metric("process_max_fds")}`,
            "10m",
            "warning",
            "{{ $labels.instance }} has {{ $value }} descriptors open, near its limit",
            "Visitors hold streams open, or an origin does not close connections.",
          ),
        ],
      },
    ],
  };
}

const files = {
  "deploy/grafana/underpass.json": `${JSON.stringify(dashboard(), undefined, 2)}\n`,
  "deploy/prometheus/underpass.rules.yml": `# Written by scripts/deploy.mjs.\n${stringify(rules(), { lineWidth: 0 })}`,
};
const isCheck = process.argv.includes("--check");
for (const [name, text] of Object.entries(files)) {
  const path = join(root, name);
  if (!isCheck) writeFileSync(path, text);
  else if (readFileSync(path, "utf8") !== text) {
    console.error(`${name} is out of date: node scripts/deploy.mjs writes it anew`);
    process.exitCode = 1;
  }
}
