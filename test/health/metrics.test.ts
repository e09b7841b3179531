import { describe, expect, it } from "vitest";
import { Registry } from "../../src/health/metrics.ts";
import { TunnelMetrics } from "../../src/health/tunnel-metrics.ts";
import type { RequestOutcome } from "../../src/types.ts";

/** Reads the exposition format, strictly: what a scraper would refuse throws. */
export function parseExposition(text: string): Map<string, { type: string; samples: Map<string, number> }> {
  const families = new Map<string, { type: string; samples: Map<string, number> }>();
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line does not end");
  for (const line of text.split("\n").slice(0, -1)) {
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/.exec(line);
    if (type?.[1] !== undefined && type[2] !== undefined) {
      if (families.has(type[1])) throw new Error(`${type[1]} is declared twice`);
      families.set(type[1], { type: type[2], samples: new Map() });
      continue;
    }
    if (/^# HELP [a-zA-Z_:][\w:]* \S/.test(line)) continue;
    const sample = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[\d.e+-]+|NaN)$/.exec(
      line,
    );
    const family = families.get(sample?.[1] ?? "");
    if (sample === null || family === undefined) throw new Error(`not a sample: ${line}`);
    const key = sample[2] ?? "";
    if (family.samples.has(key)) throw new Error(`${line} stands twice`);
    family.samples.set(key, Number(sample[3]));
  }
  return families;
}

describe("the registry", () => {
  it("writes what Prometheus reads", () => {
    const registry = new Registry();
    const counter = registry.counter("a_total", "A.");
    const gauge = registry.gauge("b", "B.", true);
    registry.counter("empty_total", "Never counted.", true);
    counter.add();
    counter.add(2);
    gauge.set(-1.5, { one: 'quote " backslash \\ line\nend', two: "plain" });
    gauge.set(7, { one: "", two: "plain" });
    expect(registry.render()).toBe(
      [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        "a_total 3",
        "# HELP b B.",
        "# TYPE b gauge",
        'b{one="quote \\" backslash \\\\ line\\nend",two="plain"} -1.5',
        'b{one="",two="plain"} 7',
        "",
      ].join("\n"),
    );
    expect(parseExposition(registry.render()).get("b")?.samples.size).toBe(2);
  });

  it("asks its collectors at each rendering", () => {
    const registry = new Registry();
    const gauge = registry.gauge("g", "G.");
    let value = 0;
    registry.onCollect(() => gauge.set(++value));
    registry.render();
    expect(registry.render()).toContain("g 2\n");
  });
});

function outcome(fields: Partial<RequestOutcome>): RequestOutcome {
  return {
    class: "ok",
    kind: "http",
    connIndex: 0,
    method: "GET",
    host: "example.com",
    path: "/",
    status: 200,
    phase: undefined,
    milliseconds: 1,
    error: undefined,
    ray: undefined,
    ingressRule: 0,
    ...fields,
  };
}

describe("a tunnel's metrics", () => {
  const sample = (metrics: TunnelMetrics, name: string, labels = ""): number | undefined =>
    parseExposition(metrics.render()).get(name)?.samples.get(labels);

  it("have cloudflared's names and types", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.registered(0, "lhr01");
    metrics.registerFailed(true);
    metrics.hostname("https://a.example.com");
    metrics.rpc("register_connection", false);
    metrics.started();
    metrics.finished(outcome({}));
    const families = parseExposition(metrics.render());
    const types = Object.fromEntries([...families].map(([name, { type }]) => [name, type]));
    expect(types).toMatchObject({
      build_info: "gauge",
      cloudflared_tunnel_total_requests: "counter",
      cloudflared_tunnel_concurrent_requests_per_tunnel: "gauge",
      cloudflared_tunnel_response_by_code: "counter",
      cloudflared_tunnel_request_errors: "counter",
      cloudflared_tunnel_ha_connections: "gauge",
      cloudflared_tunnel_server_locations: "gauge",
      cloudflared_tunnel_tunnel_register_success: "counter",
      cloudflared_tunnel_tunnel_register_fail: "counter",
      cloudflared_tunnel_user_hostnames_counts: "counter",
      cloudflared_config_local_config_pushes: "counter",
      cloudflared_config_local_config_pushes_errors: "counter",
      cloudflared_tcp_active_sessions: "gauge",
      cloudflared_tcp_total_sessions: "counter",
      cloudflared_rpc_client_operations: "counter",
      cloudflared_rpc_client_failures: "counter",
      process_cpu_seconds_total: "counter",
      process_resident_memory_bytes: "gauge",
      process_start_time_seconds: "gauge",
    });
  });

  it("count requests, those under way, statuses and the origin's errors", () => {
    const metrics = new TunnelMetrics("1.2.3");
    for (let i = 0; i < 4; i++) metrics.started();
    metrics.finished(outcome({}));
    metrics.finished(outcome({ class: "origin-refused", status: 502 }));
    metrics.finished(outcome({ class: "client-abort", status: 0 }));
    expect(sample(metrics, "cloudflared_tunnel_total_requests")).toBe(4);
    expect(sample(metrics, "cloudflared_tunnel_concurrent_requests_per_tunnel")).toBe(1);
    expect(sample(metrics, "cloudflared_tunnel_response_by_code", '{status_code="200"}')).toBe(1);
    expect(sample(metrics, "cloudflared_tunnel_response_by_code", '{status_code="502"}')).toBe(1);
    expect(sample(metrics, "cloudflared_tunnel_response_by_code", '{status_code="0"}')).toBeUndefined();
    expect(sample(metrics, "cloudflared_tunnel_request_errors")).toBe(1);
    expect(sample(metrics, "underpass_request_outcomes_total", '{outcome="client-abort"}')).toBe(1);
  });

  it("follow TCP streams", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.tcpStarted();
    metrics.tcpStarted();
    metrics.started();
    metrics.finished(outcome({ kind: "tcp" }));
    expect(sample(metrics, "cloudflared_tcp_active_sessions")).toBe(1);
    expect(sample(metrics, "cloudflared_tcp_total_sessions")).toBe(2);
  });

  it("tell the current location of each connection from the former ones", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.registered(0, "lhr01");
    metrics.registered(1, "lhr01");
    metrics.registered(0, "ams02");
    metrics.registered(0, "ams02");
    const locations = parseExposition(metrics.render()).get("cloudflared_tunnel_server_locations")?.samples;
    expect(Object.fromEntries(locations ?? [])).toEqual({
      '{connection_id="0",edge_location="lhr01"}': 0,
      '{connection_id="1",edge_location="lhr01"}': 1,
      '{connection_id="0",edge_location="ams02"}': 1,
    });
  });

  it("survive a location with quotes and line ends", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.registered(0, 'x"\n# TYPE evil gauge\nevil 1');
    expect(parseExposition(metrics.render()).has("evil")).toBe(false);
  });
});
