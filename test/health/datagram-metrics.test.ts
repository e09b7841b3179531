/** UDP sessions and ICMP under cloudflared's names. */
import { expect, it } from "vitest";
import { DatagramMetrics } from "../../src/health/datagram-metrics.ts";
import { Registry } from "../../src/health/metrics.ts";

it("counts what it is told", () => {
  const registry = new Registry();
  const also: string[] = [];
  const metrics = new DatagramMetrics(registry, {
    dnsSession: () => also.push("dns"),
    flowRefused: () => also.push("refused"),
  });
  metrics.sessionOpened(2, 0);
  metrics.sessionOpened(2, 1);
  metrics.sessionClosed(2, 1);
  metrics.sessionOpened(3, 0);
  metrics.sessionOpened(3, 0);
  metrics.sessionMigrated(0, 2);
  metrics.sessionClosed(3, 2);
  metrics.sessionFailed(3, 1);
  metrics.registrationRepeated(0);
  metrics.unsupportedCall(3, "register_udp_session");
  metrics.udpDropped(2, 0, "read_too_large");
  metrics.udpDropped(3, 0, "read_too_large");
  metrics.udpDropped(3, 1, "write_full");
  metrics.icmpDropped(1, "write_failed");
  metrics.icmpRequest();
  metrics.icmpReply();
  metrics.dnsSession();
  metrics.flowRefused();
  expect(also).toEqual(["dns", "refused"]);
  const numbers = registry
    .render()
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  expect(numbers).toEqual([
    "cloudflared_udp_active_sessions 1",
    "cloudflared_udp_total_sessions 2",
    'cloudflared_udp_active_flows{conn_index="0"} 1',
    'cloudflared_udp_active_flows{conn_index="2"} 0',
    'cloudflared_udp_total_flows{conn_index="0"} 2',
    'cloudflared_udp_failed_flows{conn_index="1"} 1',
    'cloudflared_udp_retry_flow_responses{conn_index="0"} 1',
    'cloudflared_udp_migrated_flows{conn_index="2"} 1',
    'cloudflared_udp_unsupported_remote_command_total{command="register_udp_session",conn_index="3"} 1',
    'cloudflared_udp_dropped_datagrams{conn_index="0",reason="read_too_large"} 2',
    'cloudflared_udp_dropped_datagrams{conn_index="1",reason="write_full"} 1',
    "quic_client_packet_too_big_dropped 1",
    'cloudflared_icmp_dropped_packets{conn_index="1",reason="write_failed"} 1',
    "cloudflared_icmp_total_requests 1",
    "cloudflared_icmp_total_replies 1",
  ]);
});
