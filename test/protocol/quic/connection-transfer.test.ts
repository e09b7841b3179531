/** Data through a connection: streams both ways under loss, reordering and duplication; datagrams; what is bounded. */
import { describe, expect, it } from "vitest";
import { MAX_QUEUED_DATAGRAMS } from "../../../src/protocol/quic/limits.ts";
import { seeded } from "../../fuzz/random.ts";
import { Pair, Sink } from "./pair.ts";

function pattern(length: number, key: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + key * 31 + (i >>> 8)) & 0xff;
  return bytes;
}

/** Opens a stream and writes all of `bytes` as fast as it may. */
function sendAll(end: Pair["client"], bytes: Buffer): Sink {
  const stream = end.openStream(true);
  if (stream === undefined) throw new Error("no stream");
  const sink = new Sink(stream);
  let at = 0;
  const go = (): void => {
    while (at < bytes.length) {
      const chunk = bytes.subarray(at, at + 30_000);
      at += chunk.length;
      if (!stream.write(chunk, at === bytes.length)) return;
    }
  };
  sink.onWritable = go;
  go();
  return sink;
}

describe("streams", () => {
  it("carry bytes both ways, whatever the link does to datagrams", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seeded(seed);
      const loss = random(20);
      const held: Buffer[] = [];
      const pair = new Pair({
        delay: 1 + random(40),
        link: (datagram) => {
          if (random(100) < loss) return undefined;
          if (random(20) === 0) return [datagram, Buffer.from(datagram)];
          if (random(20) === 0) {
            held.push(datagram);
            return [];
          }
          return held.length > 0 && random(3) === 0 ? [datagram, ...held.splice(0)] : datagram;
        },
        client: { congestion: seed % 2 === 0 ? "cubic" : "new-reno" },
        server: { congestion: seed % 2 === 0 ? "new-reno" : "cubic" },
      });
      pair.run(20_000, () => pair.atClient.confirmed && pair.atServer.confirmed);
      expect([seed, pair.client.state, pair.server.state]).toEqual([seed, "connected", "connected"]);
      const up = pattern(150_000 + random(100_000), seed);
      const down = pattern(150_000 + random(100_000), seed + 100);
      sendAll(pair.client, up);
      sendAll(pair.server, down);
      const whole = (sinks: Sink[]): boolean => sinks.length > 0 && sinks.every((sink) => sink.ended);
      pair.run(600_000, () => whole(pair.atServer.streams) && whole(pair.atClient.streams));
      expect(pair.atServer.streams[0]?.bytes.equals(up), `up, seed ${seed}`).toBe(true);
      expect(pair.atClient.streams[0]?.bytes.equals(down), `down, seed ${seed}`).toBe(true);
    }
  });

  it("by the thousand, opened by both sides", () => {
    const pair = new Pair({ client: { maxStreamsBidi: 100 }, server: { maxStreamsBidi: 100 } }).connect();
    const total = 1000;
    for (const [from, to] of [
      [pair.client, pair.atServer],
      [pair.server, pair.atClient],
    ] as const) {
      to.onNewStream = (sink) => {
        sink.onEnd = () => {
          sink.ended = true;
          sink.stream.write(sink.bytes, true);
        };
      };
      let opened = 0;
      const finished = new Set<number>();
      for (let n = 0; n < 100_000 && finished.size < total; n++) {
        while (opened < total) {
          const stream = from.openStream(true);
          if (stream === undefined) break;
          const sink = new Sink(stream);
          const id = opened++;
          sink.onEnd = () => {
            expect(sink.bytes.toString()).toBe(`request ${id}`);
            finished.add(id);
          };
          stream.write(Buffer.from(`request ${id}`), true);
        }
        if (!pair.step(pair.now + 10_000)) break;
      }
      expect(finished.size).toBe(total);
    }
    pair.run(1_000);
    expect([pair.client.openPeerStreams, pair.server.openPeerStreams]).toEqual([0, 0]);
  });

  it("of a paused consumer hold their window and no more", () => {
    const pair = new Pair().connect();
    pair.atServer.onNewStream = (sink) => {
      sink.paused = true;
    };
    const before = pair.client.stats.bytesSent;
    sendAll(pair.client, Buffer.alloc(4 << 20));
    pair.run(20_000);
    expect(pair.atServer.streams[0]?.bytes.length).toBe(64 * 1024);
    expect(pair.client.stats.bytesSent - before).toBeLessThan(80 * 1024);
    expect(pair.client.state).toBe("connected");
  });
});

describe("the path's MTU", () => {
  it("is found, and datagrams grow", () => {
    const pair = new Pair({ link: (datagram) => (datagram.length > 1400 ? undefined : datagram) }).connect();
    sendAll(pair.client, Buffer.alloc(300_000));
    pair.run(5_000);
    expect(pair.client.stats.mtu).toBeGreaterThan(1350);
    expect(pair.client.stats.mtu).toBeLessThanOrEqual(1400);
    expect(pair.atServer.streams[0]?.bytes.length).toBe(300_000);
  });

  it("shrinks again when large datagrams vanish, and all arrives", () => {
    let limit = 1452;
    const pair = new Pair({ link: (datagram) => (datagram.length > limit ? undefined : datagram) }).connect();
    sendAll(pair.client, Buffer.alloc(100_000));
    pair.run(3_000);
    expect(pair.client.stats.mtu).toBe(1452);
    limit = 1250;
    sendAll(pair.client, Buffer.alloc(300_000));
    pair.run(60_000, () => pair.atServer.streams[1]?.ended === true);
    expect(pair.atServer.streams[1]?.bytes.length).toBe(300_000);
    expect(pair.client.stats.mtu).toBeLessThanOrEqual(1250);
  });

  it("is lowered by a system that refuses a datagram", () => {
    const pair = new Pair().connect();
    pair.run(1_000);
    expect(pair.client.stats.mtu).toBe(1452);
    pair.client.onTooBig(1200);
    expect(pair.client.stats.mtu).toBe(1200);
  });
});

describe("datagrams", () => {
  it("of up to the size that is told, and none larger", () => {
    const pair = new Pair().connect();
    const size = pair.client.maxDatagramSize;
    expect(size).toBeGreaterThan(1150);
    expect(pair.client.sendDatagram(Buffer.alloc(size, 1))).toBe(true);
    expect(pair.client.sendDatagram(Buffer.alloc(size + 1))).toBe(false);
    pair.run(100);
    expect(pair.atServer.datagrams.map((one) => one.length)).toEqual([size]);
  });

  it("are refused where the peer takes none, or smaller ones", () => {
    const none = new Pair({ server: { maxDatagramFrameSize: 0 } }).connect();
    expect([none.client.maxDatagramSize, none.client.sendDatagram(Buffer.alloc(1))]).toEqual([0, false]);
    const small = new Pair({ server: { maxDatagramFrameSize: 100 } }).connect();
    expect(small.client.sendDatagram(Buffer.alloc(small.client.maxDatagramSize))).toBe(true);
    expect(small.client.sendDatagram(Buffer.alloc(98))).toBe(false);
    small.run(50);
    expect(small.atServer.datagrams).toHaveLength(1);
    expect(small.client.state).toBe("connected");
  });

  it("that wait are bounded: the oldest are dropped", () => {
    const pair = new Pair().connect();
    for (let n = 0; n < 3 * MAX_QUEUED_DATAGRAMS; n++) pair.client.sendDatagram(Buffer.from(`datagram ${n}`));
    expect(pair.client.stats.datagramsDropped).toBe(2 * MAX_QUEUED_DATAGRAMS);
    pair.run(1_000);
    expect(pair.atServer.datagrams).toHaveLength(MAX_QUEUED_DATAGRAMS);
    expect(pair.atServer.datagrams[0]?.toString()).toBe(`datagram ${2 * MAX_QUEUED_DATAGRAMS}`);
  });

  it("are copied: what the caller does to them later does not matter", () => {
    const pair = new Pair().connect();
    const bytes = Buffer.from("as it was");
    pair.client.sendDatagram(bytes);
    bytes.fill(0);
    pair.run(50);
    expect(pair.atServer.datagrams.map(String)).toEqual(["as it was"]);
  });

  it("are not sent twice: what is lost is lost", () => {
    let lose = false;
    const pair = new Pair({ link: (datagram) => (lose ? undefined : datagram) }).connect();
    lose = true;
    pair.client.sendDatagram(Buffer.from("lost"));
    pair.flush();
    lose = false;
    pair.run(5_000);
    pair.client.sendDatagram(Buffer.from("arrives"));
    pair.run(5_000);
    expect(pair.atServer.datagrams.map(String)).toEqual(["arrives"]);
  });
});
