/** What a connection counts for those who watch it. */
import { describe, expect, it } from "vitest";
import { FrameType } from "../../../src/protocol/quic/frames.ts";
import { PacketType } from "../../../src/protocol/quic/header.ts";
import { Pair, Sink } from "./pair.ts";

function connected(options: ConstructorParameters<typeof Pair>[0] = {}): Pair {
  const pair = new Pair({ delay: 20, ...options });
  pair.run(20_000, () => pair.atClient.confirmed && pair.atServer.confirmed);
  return pair;
}

function send(pair: Pair, length: number): void {
  const stream = pair.client.openStream(true);
  if (stream === undefined) throw new Error("no stream");
  const sink = new Sink(stream);
  expect(sink.stream).toBe(stream);
  stream.write(Buffer.alloc(length), true);
}

/** STREAM has eight types. */
function streamFrames(counts: Float64Array): number {
  return counts.subarray(FrameType.STREAM, FrameType.MAX_DATA).reduce((sum, count) => sum + count, 0);
}

describe("a connection's counters", () => {
  it("count on one side what the other sent, where nothing is lost", () => {
    const pair = connected();
    send(pair, 20_000);
    pair.run(60_000, () => pair.atServer.streams[0]?.ended === true);
    pair.run(1_000);
    const { stats: client } = pair.client;
    const { stats: server } = pair.server;
    expect(streamFrames(client.framesSent)).toBeGreaterThan(10);
    expect(streamFrames(server.framesReceived)).toBe(streamFrames(client.framesSent));
    for (const type of [FrameType.CRYPTO, FrameType.ACK, FrameType.PING, FrameType.NEW_CONNECTION_ID]) {
      expect([type, server.framesReceived[type]]).toEqual([type, client.framesSent[type]]);
    }
    expect(client.framesReceived[FrameType.HANDSHAKE_DONE]).toBe(1);
    expect([client.bytesReceived, server.bytesReceived]).toEqual([server.bytesSent, client.bytesSent]);
    expect([client.packetsLost, client.packetsDropped, client.bytesDropped]).toEqual([
      { reordering: 0, time: 0 },
      0,
      [],
    ]);
    expect([client.minRtt, client.latestRtt >= 40, client.congestionState]).toEqual([40, true, "application-limited"]);
    expect(client.maxUdpPayload).toBeGreaterThanOrEqual(1200);
  });

  it("tell what was lost by what came after it, and what is in recovery for it", () => {
    let drops = 0;
    const pair = connected({
      // The loss of a datagram that tries a larger size would say nothing.
      client: { initialMtu: 1200, maxMtu: 1200 },
      link: (datagram, fromClient) => {
        if (drops === 0 || !fromClient || datagram.length < 1000) return datagram;
        drops--;
        return undefined;
      },
    });
    drops = 1;
    send(pair, 60_000);
    pair.run(60_000, () => pair.client.stats.packetsLost.reordering > 0);
    expect(pair.client.stats.congestionState).toBe("recovery");
    pair.run(60_000, () => pair.atServer.streams[0]?.ended === true);
    pair.run(1_000);
    expect(pair.client.stats.packetsLost).toEqual({ reordering: 1, time: 0 });
    expect(pair.client.stats.congestionState).not.toBe("recovery");
  });

  it("tell dropped packets by type and reason", () => {
    let copies = 0;
    const pair = connected({
      link: (datagram, fromClient) => {
        if (copies === 0 || !fromClient) return datagram;
        copies--;
        const broken = Buffer.from(datagram);
        broken[broken.length - 1] = (broken[broken.length - 1] ?? 0) ^ 1;
        return [datagram, Buffer.from(datagram), broken];
      },
    });
    copies = 1;
    send(pair, 100);
    pair.run(5_000, () => pair.atServer.streams[0]?.ended === true);
    pair.run(1_000);
    const { bytesDropped, packetsDropped } = pair.server.stats;
    expect(packetsDropped).toBe(2);
    expect(bytesDropped.map(({ packetType, reason }) => `${packetType} ${reason}`).toSorted()).toEqual([
      "1RTT duplicate",
      "1RTT payload_decrypt_error",
    ]);
    for (const { bytes } of bytesDropped) expect(bytes).toBeGreaterThan(100);
  });

  it("count packets that came before their keys", () => {
    const held: Buffer[] = [];
    let sent = 0;
    const pair = connected({
      link: (datagram, fromClient) => {
        // The server's Handshake overtakes its Initial.
        if (fromClient || sent > 0) return [datagram, ...held.splice(0)];
        sent++;
        held.push(datagram);
        return [];
      },
    });
    const { packetsBuffered } = pair.client.stats;
    expect(
      packetsBuffered.every(
        (count, type) => count === 0 || type === PacketType.handshake || type === PacketType.oneRtt,
      ),
    ).toBe(true);
    expect(packetsBuffered.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  });
});
