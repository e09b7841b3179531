import { describe, expect, it } from "vitest";
import { Registry } from "../../src/health/metrics.ts";
import { TunnelMetrics } from "../../src/health/tunnel-metrics.ts";
import { labelsOf, parseExposition } from "./exposition.ts";
import type { RequestOutcome } from "../../src/types.ts";

describe("the registry", () => {
  it("writes what Prometheus reads", () => {
    const registry = new Registry();
    const counter = registry.counter("a_total", "A.");
    const gauge = registry.gauge("b", "B.", ["one", "two"]);
    registry.counter("empty_total", "Never counted.", ["x"]);
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

  it("counts observations in buckets, each with those below it", () => {
    const registry = new Registry();
    const plain = registry.histogram("h", "H.", [1, 5]);
    const labelled = registry.histogram("l", "L.", [0.5], ["x"]);
    for (const value of [0.5, 1, 3, 100]) plain.observe(value);
    labelled.observe(2, { x: "a" });
    expect(registry.render()).toBe(
      [
        "# HELP h H.",
        "# TYPE h histogram",
        'h_bucket{le="1"} 2',
        'h_bucket{le="5"} 3',
        'h_bucket{le="+Inf"} 4',
        "h_sum 104.5",
        "h_count 4",
        "# HELP l L.",
        "# TYPE l histogram",
        'l_bucket{x="a",le="0.5"} 0',
        'l_bucket{x="a",le="+Inf"} 1',
        'l_sum{x="a"} 2',
        'l_count{x="a"} 1',
        "",
      ].join("\n"),
    );
    const families = parseExposition(registry.render());
    expect(families.get("h")?.samples.get("_count")).toBe(4);
    expect([...families.values()].map(labelsOf)).toEqual([[], ["x"]]);
  });

  it("keeps no more series than it can hold, whatever the edge says", () => {
    const registry = new Registry();
    const counter = registry.counter("c", "C.", ["x"]);
    const histogram = registry.histogram("h", "H.", [1], ["x"]);
    for (let n = 0; n < 11_000; n++) {
      counter.add(1, { x: `${n}` });
      histogram.observe(1, { x: `${n}` });
    }
    counter.add(1, { x: "0" });
    const families = parseExposition(registry.render());
    expect(families.get("c")?.samples.size).toBe(10_000);
    expect(families.get("c")?.samples.get('{x="0"}')).toBe(2);
    expect(families.get("h")?.samples.size).toBe(40_000);
  });

  it("forgets what is told at each rendering", () => {
    const registry = new Registry();
    const gauge = registry.gauge("g", "G.", ["x"]);
    gauge.set(1, { x: "a" });
    gauge.clear();
    expect(registry.render()).toBe("");
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

  it("have cloudflared's names and types", async () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.connections.registered(0, "lhr01");
    metrics.connections.registerFailed(true);
    metrics.hostname("https://a.example.com");
    await metrics.rpc.called(
      "register_connection",
      () => Promise.resolve(1),
      () => false,
    );
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
    metrics.tcpStarted(false);
    metrics.tcpStarted(false);
    metrics.started();
    metrics.finished(outcome({ kind: "tcp" }));
    expect(sample(metrics, "cloudflared_tcp_active_sessions")).toBe(1);
    expect(sample(metrics, "cloudflared_tcp_total_sessions")).toBe(2);
  });

  it("tell the current location of each connection from the former ones", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.connections.registered(0, "lhr01");
    metrics.connections.registered(1, "lhr01");
    metrics.connections.registered(0, "ams02");
    metrics.connections.registered(0, "ams02");
    const locations = parseExposition(metrics.render()).get("cloudflared_tunnel_server_locations")?.samples;
    expect(Object.fromEntries(locations ?? [])).toEqual({
      '{connection_id="0",edge_location="lhr01"}': 0,
      '{connection_id="1",edge_location="lhr01"}': 1,
      '{connection_id="0",edge_location="ams02"}': 1,
    });
  });

  it("survive a location with quotes and line ends", () => {
    const metrics = new TunnelMetrics("1.2.3");
    metrics.connections.registered(0, 'x"\n# TYPE evil gauge\nevil 1');
    expect(parseExposition(metrics.render()).has("evil")).toBe(false);
  });
});
