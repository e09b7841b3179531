/**
 * Structured fuzzing of QUIC: frames that are right, then changed, sealed with the connection's own keys, as random bytes only ever
 * hit the AEAD. Whatever comes: nothing is thrown, a violation has a transport code of its own (never INTERNAL_ERROR, which would
 * be a fault of ours), and nothing is heard of the connection afterwards. All is the same for a seed.
 */
import { describe, expect, it } from "vitest";
import { TransportError, TransportErrorCode, transportErrorName } from "../../src/protocol/quic/errors.ts";
import { readFrames } from "../../src/protocol/quic/frame-reader.ts";
import { FrameWriter } from "../../src/protocol/quic/frame-writer.ts";
import { HeaderReader } from "../../src/protocol/quic/header.ts";
import { type PacketNumberSpace, Space } from "../../src/protocol/quic/packet-number.ts";
import { writeVarint } from "../../src/protocol/quic/varint.ts";
import { Forger } from "../protocol/quic/forger.ts";
import { FrameRecorder } from "../protocol/quic/frames.ts";
import { Pair } from "../protocol/quic/pair.ts";
import { seeded } from "./random.ts";

type Random = (below: number) => number;

/** Edges more often than what lies between. */
function number(random: Random): number {
  const edges = [0, 1, 2, 3, 4, 5, 63, 64, 99, 100, 101, 400, 16_383, 16_384, 1_048_576, 2 ** 30, 2 ** 32, 2 ** 53 - 1];
  return random(3) === 0 ? random(2 ** 31) : (edges[random(edges.length)] as number);
}

function bytes(random: Random, max: number): Buffer {
  return Buffer.from(Array.from({ length: random(max) }, () => random(256)));
}

const WRITERS: ((writer: FrameWriter, random: Random) => unknown)[] = [
  (w, r) => w.padding(r(20)),
  (w) => w.ping(),
  (w, r) => {
    const ranges: number[] = [];
    let top = r(4000);
    for (let i = 0; i < 1 + r(40) && top >= 0; i++) {
      const low = Math.max(0, top - r(5));
      ranges.push(low, top);
      top = low - 2 - r(4);
    }
    w.ack(Float64Array.from(ranges), ranges.length / 2, number(r));
  },
  (w, r) => w.resetStream(number(r), number(r), number(r)),
  (w, r) => w.stopSending(number(r), number(r)),
  (w, r) => {
    const data = bytes(r, 200);
    w.append(data, 0, Math.max(0, w.crypto(number(r), data.length)));
  },
  (w, r) => w.newToken(bytes(r, 40)),
  (w, r) => {
    const data = bytes(r, 200);
    w.append(
      data,
      0,
      Math.max(0, w.stream(r(3) === 0 ? number(r) : r(40), r(2) === 0 ? 0 : number(r), data.length, r(2) === 0)),
    );
  },
  (w, r) => w.maxData(number(r)),
  (w, r) => w.maxStreamData(number(r), number(r)),
  (w, r) => w.maxStreams(r(2) === 0, number(r)),
  (w, r) => w.dataBlocked(number(r)),
  (w, r) => w.streamDataBlocked(number(r), number(r)),
  (w, r) => w.streamsBlocked(r(2) === 0, number(r)),
  (w, r) => {
    const sequence = r(20);
    w.newConnectionId(
      sequence,
      r(sequence + 1),
      bytes(r, 19),
      bytes(r, 1).length === 0 ? Buffer.alloc(16, sequence) : Buffer.alloc(16),
    );
  },
  (w, r) => w.retireConnectionId(r(8)),
  (w, r) => w.pathChallenge(Buffer.alloc(8, r(256))),
  (w, r) => w.pathResponse(Buffer.alloc(8, r(256))),
  (w, r) => w.datagram(bytes(r, 300)),
  (w, r) => (r(20) === 0 ? w.connectionClose(number(r), r(2) === 0 ? undefined : number(r), bytes(r, 40)) : w.ping()),
  (w, r) => (r(4) === 0 ? w.handshakeDone() : w.ping()),
];

/** Frames, some of them changed. */
function payload(random: Random): Buffer {
  const writer = new FrameWriter(Buffer.alloc(1300));
  writer.begin(0, 1300);
  for (let n = 1 + random(8); n > 0; n--) WRITERS[random(WRITERS.length)]?.(writer, random);
  let made = Buffer.from(writer.buffer.subarray(0, writer.at));
  for (let n = random(3); n > 0 && made.length > 0; n--) {
    const at = random(made.length);
    switch (random(5)) {
      case 0:
        made[at] = random(256);
        break;
      case 1:
        made[at] = (made[at] as number) ^ (1 << random(8));
        break;
      case 2:
        made = made.subarray(0, at);
        break;
      case 3: {
        const inserted = Buffer.alloc(8);
        const end = writeVarint(inserted, 0, number(random));
        made = Buffer.concat([made.subarray(0, at), inserted.subarray(0, end), made.subarray(at)]);
        break;
      }
      default:
        made = Buffer.concat([made.subarray(0, at), made.subarray(Math.min(made.length, at + 1 + random(9)))]);
    }
  }
  return made;
}

function check(pair: Pair, as: "client" | "server", seed: number): void {
  const { closed } = as === "client" ? pair.atServer : pair.atClient;
  if (closed?.end === "violation") {
    const name = transportErrorName(closed.errorCode ?? -1);
    expect(`${seed} ${name} ${String(closed.cause)}`).not.toContain("INTERNAL_ERROR");
  }
}

describe("QUIC under mutated frames", () => {
  it("in 1-RTT packets, of either end", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed);
      const as = random(2) === 0 ? "client" : "server";
      const pair = new Pair({ delay: 1 }).connect();
      pair.client.openStream(true)?.write(Buffer.alloc(100), random(2) === 0);
      pair.server.openStream(false)?.write(Buffer.alloc(100), false);
      const forger = new Forger(pair, as);
      for (let n = 0; n < 20; n++) {
        forger.send(Space.application, payload(random));
        pair.run(random(30));
        check(pair, as, seed);
      }
      pair.run(100_000);
      expect([seed, pair.client.state, pair.server.state]).toEqual([seed, "closed", "closed"]);
    }
  });

  it("in Initial and Handshake packets, in the middle of the handshake", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = seeded(seed + 1_000_000);
      const as = random(2) === 0 ? "client" : "server";
      const pair = new Pair({ delay: 1 });
      const forger = new Forger(pair, as);
      const spaces: PacketNumberSpace[] = [Space.initial, Space.handshake, Space.application];
      for (let n = 0; n < 12; n++) {
        const space = spaces[random(3)] as PacketNumberSpace;
        const ready =
          space === Space.initial || pair.secrets[as].has(space === Space.handshake ? "handshake" : "application");
        if (ready) forger.send(space, payload(random));
        pair.run(random(4));
        check(pair, as, seed);
      }
      pair.run(100_000);
      expect([seed, pair.client.state, pair.server.state]).toEqual([seed, "closed", "closed"]);
    }
  });

  it("in datagrams that are changed on the way: they are dropped, and all arrives", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed + 2_000_000);
      const pair = new Pair({
        delay: 1,
        link: (datagram) => {
          if (random(6) > 0) return datagram;
          const damaged = Buffer.from(datagram);
          const at = random(damaged.length);
          damaged[at] = (damaged[at] as number) ^ (1 << random(8));
          return random(3) === 0 ? damaged.subarray(0, at) : damaged;
        },
      });
      pair.run(20_000, () => pair.atClient.confirmed && pair.atServer.confirmed);
      expect([seed, pair.client.state, pair.server.state]).toEqual([seed, "connected", "connected"]);
      pair.client.openStream(true)?.write(Buffer.alloc(20_000, 3), true);
      pair.run(20_000, () => pair.atServer.streams[0]?.ended === true);
      expect([seed, pair.atServer.streams[0]?.bytes.length]).toEqual([seed, 20_000]);
    }
  });
});

describe("QUIC readers under noise", () => {
  it("frames throw nothing but TransportError", () => {
    const random = seeded(7);
    const handler = new FrameRecorder();
    for (let n = 0; n < 20_000; n++) {
      const noise = random(2) === 0 ? payload(random) : bytes(random, 60);
      try {
        readFrames(
          noise,
          (n % 3) as PacketNumberSpace,
          n % 2 === 0 ? "client" : "server",
          handler,
          new Float64Array(64),
        );
      } catch (error) {
        expect(error).toBeInstanceOf(TransportError);
        expect([TransportErrorCode.FRAME_ENCODING_ERROR, TransportErrorCode.PROTOCOL_VIOLATION]).toContain(
          (error as TransportError).transportCode,
        );
      }
      handler.frames.length = 0;
    }
  });

  it("headers stay within their datagram", () => {
    const random = seeded(8);
    const header = new HeaderReader();
    for (let n = 0; n < 50_000; n++) {
      const noise = bytes(random, 100);
      if (random(2) === 0 && noise.length > 5) noise.writeUInt32BE(1, 1);
      if (header.read(noise, 0, random(21))) expect(header.end).toBeLessThanOrEqual(noise.length);
    }
  });
});
