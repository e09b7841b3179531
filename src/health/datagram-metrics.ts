/** The numbers of UDP sessions and ICMP, under cloudflared's names (operations § 9.1). */
import type { DatagramDropReason, DatagramObserver } from "../types.ts";
import type { Metric, Registry } from "./metrics.ts";

/** What is counted together with TCP streams. */
export interface DatagramSink {
  dnsSession(): void;
  flowRefused(): void;
}

const BY_INDEX = ["conn_index"];

export class DatagramMetrics implements DatagramObserver {
  readonly #activeSessions: Metric;
  readonly #totalSessions: Metric;
  readonly #activeFlows: Metric;
  readonly #totalFlows: Metric;
  readonly #failedFlows: Metric;
  readonly #repeatedFlows: Metric;
  readonly #migratedFlows: Metric;
  readonly #unsupported: Metric;
  readonly #dropped: Metric;
  readonly #tooBig: Metric;
  readonly #icmpDropped: Metric;
  readonly #icmpRequests: Metric;
  readonly #icmpReplies: Metric;
  readonly #also: DatagramSink;

  constructor(r: Registry, also: DatagramSink) {
    this.#also = also;
    this.#activeSessions = r.gauge("cloudflared_udp_active_sessions", "UDP sessions, datagrams version 2.");
    this.#totalSessions = r.counter("cloudflared_udp_total_sessions", "UDP sessions that were opened, version 2.");
    this.#activeFlows = r.gauge("cloudflared_udp_active_flows", "UDP sessions, datagrams version 3.", BY_INDEX);
    this.#totalFlows = r.counter("cloudflared_udp_total_flows", "UDP sessions that were opened, version 3.", BY_INDEX);
    this.#failedFlows = r.counter("cloudflared_udp_failed_flows", "UDP sessions that failed.", BY_INDEX);
    this.#repeatedFlows = r.counter("cloudflared_udp_retry_flow_responses", "Registrations answered again.", BY_INDEX);
    this.#migratedFlows = r.counter(
      "cloudflared_udp_migrated_flows",
      "Sessions that changed the connection.",
      BY_INDEX,
    );
    this.#unsupported = r.counter(
      "cloudflared_udp_unsupported_remote_command_total",
      "Calls of the edge that version 3 does not know.",
      ["command", "conn_index"],
    );
    this.#dropped = r.counter("cloudflared_udp_dropped_datagrams", "UDP payloads that were dropped, by reason.", [
      "conn_index",
      "reason",
    ]);
    this.#tooBig = r.counter("quic_client_packet_too_big_dropped", "UDP payloads of origins that are too large.");
    this.#icmpDropped = r.counter("cloudflared_icmp_dropped_packets", "ICMP packets dropped, by reason.", [
      "conn_index",
      "reason",
    ]);
    this.#icmpRequests = r.counter("cloudflared_icmp_total_requests", "ICMP echo requests that were passed on.");
    this.#icmpReplies = r.counter("cloudflared_icmp_total_replies", "ICMP echo replies.");
  }

  sessionOpened(version: 2 | 3, connIndex: number): void {
    if (version === 2) {
      this.#activeSessions.add();
      this.#totalSessions.add();
    } else {
      this.#activeFlows.add(1, labels(connIndex));
      this.#totalFlows.add(1, labels(connIndex));
    }
  }

  sessionClosed(version: 2 | 3, connIndex: number): void {
    if (version === 2) this.#activeSessions.add(-1);
    else this.#activeFlows.add(-1, labels(connIndex));
  }

  sessionFailed(_version: 2 | 3, connIndex: number): void {
    this.#failedFlows.add(1, labels(connIndex));
  }

  registrationRepeated(connIndex: number): void {
    this.#repeatedFlows.add(1, labels(connIndex));
  }

  sessionMigrated(from: number, to: number): void {
    this.#activeFlows.add(-1, labels(from));
    this.#activeFlows.add(1, labels(to));
    this.#migratedFlows.add(1, labels(to));
  }

  unsupportedCall(connIndex: number, command: string): void {
    this.#unsupported.add(1, { ...labels(connIndex), command });
  }

  udpDropped(version: 2 | 3, connIndex: number, reason: DatagramDropReason): void {
    this.#dropped.add(1, { ...labels(connIndex), reason });
    if (version === 2 && reason === "read_too_large") this.#tooBig.add();
  }

  icmpDropped(connIndex: number, reason: DatagramDropReason): void {
    this.#icmpDropped.add(1, { ...labels(connIndex), reason });
  }

  icmpRequest(): void {
    this.#icmpRequests.add();
  }

  icmpReply(): void {
    this.#icmpReplies.add();
  }

  flowRefused(): void {
    this.#also.flowRefused();
  }

  dnsSession(): void {
    this.#also.dnsSession();
  }
}

function labels(connIndex: number): { readonly conn_index: string } {
  return { conn_index: String(connIndex) };
}
