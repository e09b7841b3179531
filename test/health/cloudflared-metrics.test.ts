/** Every metric of cloudflared is there, with its type and its labels: those that one showed, and those of its documentation. */
import { describe, expect, it } from "vitest";
import { TunnelMetrics } from "../../src/health/tunnel-metrics.ts";
import { readMetricsOracle } from "../interop/metrics-oracle.ts";

/** operations § 9.1: those that have no value before something happens. */
const FROZEN: Readonly<Record<string, { type: string; labels: string[] }>> = {
  cloudflared_tunnel_tunnel_register_fail: { type: "counter", labels: ["error", "rpcName"] },
  // Of older versions, and of dashboards.
  cloudflared_tunnel_timer_retries: { type: "gauge", labels: [] },
  cloudflared_tunnel_user_hostnames_counts: { type: "counter", labels: ["userHostname"] },
  cloudflared_udp_active_flows: { type: "gauge", labels: ["conn_index"] },
  cloudflared_udp_total_flows: { type: "counter", labels: ["conn_index"] },
  cloudflared_udp_failed_flows: { type: "counter", labels: ["conn_index"] },
  cloudflared_udp_retry_flow_responses: { type: "counter", labels: ["conn_index"] },
  cloudflared_udp_migrated_flows: { type: "counter", labels: ["conn_index"] },
  cloudflared_udp_unsupported_remote_command_total: { type: "counter", labels: ["command", "conn_index"] },
  cloudflared_udp_dropped_datagrams: { type: "counter", labels: ["conn_index", "reason"] },
  cloudflared_icmp_dropped_packets: { type: "counter", labels: ["conn_index", "reason"] },
  cloudflared_virtual_origins_dns_requests_total: { type: "counter", labels: ["protocol"] },
  flow_client_registrations_rate_limited_total: { type: "counter", labels: ["flow_type"] },
  cloudflared_rpc_client_failures: { type: "counter", labels: ["handler", "method"] },
  cloudflared_rpc_server_operations: { type: "counter", labels: ["handler", "method"] },
  cloudflared_rpc_server_failures: { type: "counter", labels: ["handler", "method"] },
  cloudflared_rpc_server_latency_secs: { type: "histogram", labels: ["handler", "method"] },
  quic_client_mtu: { type: "gauge", labels: ["conn_index"] },
  quic_client_buffered_packets: { type: "counter", labels: ["conn_index", "packet_type"] },
  quic_client_dropped_packets: { type: "counter", labels: ["conn_index", "packet_type", "reason"] },
  quic_client_lost_packets: { type: "counter", labels: ["conn_index", "reason"] },
};

/** docs/monitoring.md says why. */
const LEFT_OUT = /^promhttp_metric_handler_requests_/;

describe("cloudflared's metrics", () => {
  const ours = new Map(
    new TunnelMetrics("0").families.map(({ labels, name, type }) => [name, { type, labels: labels.toSorted() }]),
  );
  const theirs = { ...readMetricsOracle().families, ...FROZEN };

  it.each(Object.entries(theirs).filter(([name]) => !LEFT_OUT.test(name)))("%s", (name, { labels, type }) => {
    expect(ours.get(name)).toEqual({ type, labels });
  });

  it("have no other beside them that is not said to be ours", () => {
    for (const name of ours.keys()) {
      if (name in theirs) continue;
      expect(name).toMatch(/^(?:underpass|nodejs)_/);
    }
  });
});
