/** What QUIC connections to the edge count, under cloudflared's names (operations § 9.1). Read when somebody asks. */
import type { EdgeConnection, QuicStats } from "../types.ts";
import type { Metric, Registry } from "./metrics.ts";

/** As quic-go calls them, by frame type; STREAM has eight types. */
const FRAME_NAMES: ReadonlyMap<number, string> = new Map([
  [0x01, "Ping"],
  [0x02, "Ack"],
  [0x03, "Ack"],
  [0x04, "ResetStream"],
  [0x05, "StopSending"],
  [0x06, "Crypto"],
  [0x07, "NewToken"],
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((bits): [number, string] => [0x08 + bits, "Stream"]),
  [0x10, "MaxData"],
  [0x11, "MaxStreamData"],
  [0x12, "MaxStreams"],
  [0x13, "MaxStreams"],
  [0x14, "DataBlocked"],
  [0x15, "StreamDataBlocked"],
  [0x16, "StreamsBlocked"],
  [0x17, "StreamsBlocked"],
  [0x18, "NewConnectionID"],
  [0x19, "RetireConnectionID"],
  [0x1a, "PathChallenge"],
  [0x1b, "PathResponse"],
  [0x1c, "ConnectionClose"],
  [0x1d, "ConnectionClose"],
  [0x1e, "HandshakeDone"],
  [0x30, "Datagram"],
  [0x31, "Datagram"],
]);
/** By packet type, where packets may come before their keys. */
const PACKET_NAMES: ReadonlyMap<number, string> = new Map([
  [2, "handshake"],
  [4, "1RTT"],
]);
const STATES: Readonly<Record<QuicStats["congestionState"], number>> = {
  "slow-start": 0,
  "congestion-avoidance": 1,
  "application-limited": 2,
  recovery: 3,
};

const LOSS_REASONS = ["reordering_threshold", "time_threshold"] as const;
const BY_INDEX = ["conn_index"];

export class QuicMetrics {
  readonly #opened: Metric;
  readonly #closed: Metric;
  readonly #gauges: readonly (readonly [Metric, (stats: QuicStats) => number])[];
  readonly #sentFrames: Metric;
  readonly #receivedFrames: Metric;
  readonly #sentBytes: Metric;
  readonly #receivedBytes: Metric;
  readonly #buffered: Metric;
  readonly #dropped: Metric;
  readonly #lost: Metric;
  /** To what each connection's counters have been added already, by metric and label. */
  readonly #connections = new Map<EdgeConnection, Map<string, number>>();

  constructor(r: Registry) {
    this.#opened = r.counter("quic_client_total_connections", "QUIC connections that were opened.");
    this.#closed = r.counter("quic_client_closed_connections", "Of those, the ones that have ended.");
    const gauge = (name: string, help: string, read: (stats: QuicStats) => number) =>
      [r.gauge(`quic_client_${name}`, help, BY_INDEX), read] as const;
    this.#gauges = [
      gauge("max_udp_payload", "Largest UDP payload that the edge takes.", (stats) => stats.maxUdpPayload),
      gauge("min_rtt", "Smallest round trip, in milliseconds.", (stats) => stats.minRtt),
      gauge("latest_rtt", "Latest round trip, in milliseconds.", (stats) => stats.latestRtt),
      gauge("smoothed_rtt", "Smoothed round trip, in milliseconds.", (stats) => stats.rtt),
      gauge("mtu", "Largest datagram that the path is known to carry.", (stats) => stats.mtu),
      gauge("congestion_window", "Bytes that may be in flight.", (stats) => stats.congestionWindow),
      gauge(
        "congestion_state",
        "0 slow start, 1 congestion avoidance, 2 application limited, 3 recovery.",
        (stats) => STATES[stats.congestionState],
      ),
    ];
    const frame = ["conn_index", "frame_type"];
    this.#sentFrames = r.counter("quic_client_sent_frames", "Frames that were sent.", frame);
    this.#receivedFrames = r.counter("quic_client_received_frames", "Frames that were received.", frame);
    this.#sentBytes = r.counter("quic_client_sent_bytes", "Bytes that were sent.", BY_INDEX);
    this.#receivedBytes = r.counter("quic_client_receive_bytes", "Bytes that were received.", BY_INDEX);
    this.#buffered = r.counter("quic_client_buffered_packets", "Packets that came before their keys.", [
      "conn_index",
      "packet_type",
    ]);
    this.#dropped = r.counter("quic_client_dropped_packets", "Bytes of packets that were dropped.", [
      "conn_index",
      "packet_type",
      "reason",
    ]);
    this.#lost = r.counter("quic_client_lost_packets", "Packets that were lost.", ["conn_index", "reason"]);
    r.onCollect(() => this.#collect());
  }

  /** Connections that are not QUIC's are passed over. */
  opened(edge: EdgeConnection): void {
    if (edge.quicStats === undefined) return;
    const counted = new Map<string, number>();
    this.#connections.set(edge, counted);
    this.#opened.add();
    // 0 until the first is lost: an increase from nothing is none to Prometheus.
    for (const reason of LOSS_REASONS) this.#lost.add(0, { conn_index: `${edge.connIndex}`, reason });
    void edge.closed.then(() => {
      this.#connections.delete(edge);
      this.#closed.add();
      if (edge.quicStats !== undefined) this.#count(edge.connIndex, edge.quicStats, counted);
    });
  }

  #collect(): void {
    for (const [gauge] of this.#gauges) gauge.clear();
    for (const [edge, counted] of this.#connections) {
      const { connIndex, quicStats } = edge;
      if (quicStats === undefined) continue;
      for (const [gauge, read] of this.#gauges) gauge.set(read(quicStats), { conn_index: `${connIndex}` });
      this.#count(connIndex, quicStats, counted);
    }
  }

  /** Adds what has come since the last time: the next connection of that index goes on from there. */
  #count(connIndex: number, stats: QuicStats, counted: Map<string, number>): void {
    const add = (metric: Metric, total: number, labels: Readonly<Record<string, string>> = {}): void => {
      const key = [metric.name, ...Object.values(labels)].join(" ");
      const before = counted.get(key) ?? 0;
      if (total === before) return;
      counted.set(key, total);
      metric.add(total - before, { conn_index: `${connIndex}`, ...labels });
    };
    for (const [frame_type, total] of byName(stats.framesSent, FRAME_NAMES))
      add(this.#sentFrames, total, { frame_type });
    for (const [frame_type, total] of byName(stats.framesReceived, FRAME_NAMES)) {
      add(this.#receivedFrames, total, { frame_type });
    }
    add(this.#sentBytes, stats.bytesSent);
    add(this.#receivedBytes, stats.bytesReceived);
    for (const [packet_type, total] of byName(stats.packetsBuffered, PACKET_NAMES)) {
      add(this.#buffered, total, { packet_type });
    }
    for (const { bytes, packetType, reason } of stats.bytesDropped) {
      add(this.#dropped, bytes, { packet_type: packetType, reason });
    }
    const { reordering, time } = stats.packetsLost;
    const [byReordering, byTime] = LOSS_REASONS;
    add(this.#lost, reordering, { reason: byReordering });
    add(this.#lost, time, { reason: byTime });
  }
}

function byName(counts: Float64Array, names: ReadonlyMap<number, string>): ReadonlyMap<string, number> {
  const totals = new Map<string, number>();
  for (const [type, name] of names) {
    const count = counts[type] ?? 0;
    if (count > 0) totals.set(name, (totals.get(name) ?? 0) + count);
  }
  return totals;
}
