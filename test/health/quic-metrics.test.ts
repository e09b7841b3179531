/** QUIC's numbers go on from one connection of an index to the next, while its gauges are those of the present one. */
import { expect, it } from "vitest";
import { Registry } from "../../src/health/metrics.ts";
import { QuicMetrics } from "../../src/health/quic-metrics.ts";
import type { CloseReason, EdgeConnection, QuicStats } from "../../src/types.ts";
import { parseExposition } from "./exposition.ts";

function stats(change: Partial<QuicStats> = {}): QuicStats {
  return {
    rtt: 10,
    minRtt: 8,
    latestRtt: 12,
    congestionState: "congestion-avoidance",
    congestionWindow: 14_720,
    bytesInFlight: 0,
    mtu: 1_452,
    packetsSent: 0,
    packetsReceived: 0,
    packetsLost: { reordering: 0, time: 0 },
    packetsDropped: 0,
    bytesDropped: [],
    packetsBuffered: new Float64Array(7),
    framesSent: new Float64Array(64),
    framesReceived: new Float64Array(64),
    maxUdpPayload: 1_500,
    bytesSent: 0,
    bytesReceived: 0,
    datagramsDropped: 0,
    keyUpdates: 0,
    ...change,
  };
}

/** Only what is read of it. */
function connection(connIndex: number, first: QuicStats | undefined) {
  const { promise, resolve } = withResolvers();
  const edge = { connIndex, quicStats: first, closed: promise };
  return { edge, close: () => resolve({ kind: "edge-closed" }) };
}

function withResolvers() {
  let resolve!: (reason: CloseReason) => void;
  const promise = new Promise<CloseReason>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

const at = (registry: Registry, name: string, key = '{conn_index="0"}') =>
  parseExposition(registry.render()).get(`quic_client_${name}`)?.samples.get(key);

it("adds up over the connections of an index", async () => {
  const registry = new Registry();
  const metrics = new QuicMetrics(registry);
  const frames = new Float64Array(64);
  // STREAM has eight types, ACK two.
  frames.set([0, 0, 3, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2]);
  const first = connection(0, stats({ bytesSent: 100, framesReceived: frames }));
  metrics.opened(first.edge as unknown as EdgeConnection);
  expect(at(registry, "sent_bytes")).toBe(100);
  first.edge.quicStats = stats({
    bytesSent: 250,
    framesReceived: frames,
    packetsLost: { reordering: 2, time: 1 },
    bytesDropped: [{ packetType: "1RTT", reason: "duplicate", bytes: 40 }],
  });
  expect([at(registry, "sent_bytes"), at(registry, "sent_bytes")]).toEqual([250, 250]);
  expect(at(registry, "received_frames", '{conn_index="0",frame_type="Stream"}')).toBe(7);
  expect(at(registry, "received_frames", '{conn_index="0",frame_type="Ack"}')).toBe(4);
  expect(at(registry, "lost_packets", '{conn_index="0",reason="reordering_threshold"}')).toBe(2);
  expect(at(registry, "lost_packets", '{conn_index="0",reason="time_threshold"}')).toBe(1);
  expect(at(registry, "dropped_packets", '{conn_index="0",packet_type="1RTT",reason="duplicate"}')).toBe(40);
  expect(at(registry, "smoothed_rtt")).toBe(10);
  expect(at(registry, "congestion_state")).toBe(1);

  // What comes between the last look and the end counts too.
  first.edge.quicStats = stats({ bytesSent: 300 });
  first.close();
  await first.edge.closed;
  await Promise.resolve();
  expect([at(registry, "sent_bytes"), at(registry, "smoothed_rtt")]).toEqual([300, undefined]);
  const second = connection(0, stats({ bytesSent: 11 }));
  metrics.opened(second.edge as unknown as EdgeConnection);
  expect(at(registry, "sent_bytes")).toBe(311);
  expect([at(registry, "total_connections", ""), at(registry, "closed_connections", "")]).toEqual([2, 1]);
});

it("passes over connections that are not QUIC's", () => {
  const registry = new Registry();
  const metrics = new QuicMetrics(registry);
  metrics.opened(connection(0, undefined).edge as unknown as EdgeConnection);
  expect([at(registry, "total_connections", ""), at(registry, "sent_bytes")]).toEqual([0, undefined]);
});
