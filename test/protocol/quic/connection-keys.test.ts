/** Suites, and key updates by either side, while data flows and is lost. */
import { describe, expect, it } from "vitest";
import { TransportErrorCode } from "../../../src/protocol/quic/errors.ts";
import { Space } from "../../../src/protocol/quic/packet-number.ts";
import { Forger } from "./forger.ts";
import { Pair } from "./pair.ts";
import { seeded } from "../../fuzz/random.ts";

/** Datagrams each way, once every 10 ms of virtual time. */
function chat(pair: Pair, rounds: number, each: (round: number) => void = () => {}): void {
  for (let round = 0; round < rounds; round++) {
    each(round);
    pair.client.sendDatagram(Buffer.from(`to the server ${round}`));
    pair.server.sendDatagram(Buffer.from(`to the client ${round}`));
    pair.run(10);
  }
}

describe("suites", () => {
  it.each(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] as const)(
    "%s",
    (suite) => {
      const pair = new Pair({ tls: { suite } }).connect();
      chat(pair, 20, (round) => {
        if (round === 10) expect(pair.client.keyUpdate()).toBe(true);
      });
      pair.run(100);
      expect([pair.atServer.datagrams.length, pair.atClient.datagrams.length]).toEqual([20, 20]);
      expect([pair.client.stats.keyUpdates, pair.server.stats.keyUpdates]).toEqual([1, 1]);
      expect(pair.client.stats.packetsDropped).toBe(0);
    },
  );
});

describe("key updates", () => {
  it("by both sides in turn, again and again", () => {
    const pair = new Pair().connect();
    let updates = 0;
    chat(pair, 400, (round) => {
      if (round % 40 !== 20) return;
      const end = round % 80 === 20 ? pair.client : pair.server;
      if (end.keyUpdate()) updates++;
    });
    pair.run(100);
    expect(updates).toBeGreaterThan(5);
    expect([pair.client.stats.keyUpdates, pair.server.stats.keyUpdates]).toEqual([updates, updates]);
    expect([pair.atServer.datagrams.length, pair.atClient.datagrams.length]).toEqual([400, 400]);
  });

  it("by both at the same time", () => {
    const pair = new Pair().connect();
    chat(pair, 60, (round) => {
      if (round === 30) expect([pair.client.keyUpdate(), pair.server.keyUpdate()]).toEqual([true, true]);
    });
    pair.run(100);
    expect([pair.client.stats.keyUpdates, pair.server.stats.keyUpdates]).toEqual([1, 1]);
    expect([pair.atServer.datagrams.length, pair.atClient.datagrams.length]).toEqual([60, 60]);
  });

  it("wait for the handshake to be confirmed, and for the last one", () => {
    const pair = new Pair();
    pair.run(5_000, () => pair.client.state === "connected");
    expect(pair.client.keyUpdate()).toBe(false);
    pair.connect();
    chat(pair, 2);
    expect(pair.client.keyUpdate()).toBe(true);
    expect(pair.client.keyUpdate()).toBe(false);
  });

  it("happen by themselves after so many packets, under loss and reordering as well", () => {
    const random = seeded(3);
    const held: Buffer[] = [];
    const pair = new Pair({
      client: { keyUpdateInterval: 30 },
      server: { keyUpdateInterval: 50 },
      link: (datagram) => {
        if (random(10) === 0) return undefined;
        if (random(6) === 0) {
          held.push(datagram);
          return [];
        }
        return held.length > 0 && random(2) === 0 ? [datagram, ...held.splice(0)] : datagram;
      },
    }).connect();
    chat(pair, 600);
    expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
    expect(pair.client.stats.keyUpdates).toBeGreaterThan(3);
    expect(Math.abs(pair.client.stats.keyUpdates - pair.server.stats.keyUpdates)).toBeLessThanOrEqual(1);
    expect(pair.atServer.datagrams.length).toBeGreaterThan(400);
  });

  it("twice without waiting for us: KEY_UPDATE_ERROR", () => {
    const pair = new Pair().connect();
    chat(pair, 2);
    const forger = new Forger(pair, "client");
    forger.send(Space.application, (writer) => writer.ping());
    forger.advance();
    forger.send(Space.application, (writer) => writer.ping());
    expect(pair.server.stats.keyUpdates).toBe(1);
    forger.advance();
    forger.send(Space.application, (writer) => writer.ping());
    expect(pair.atServer.closed).toMatchObject({ end: "violation", errorCode: TransportErrorCode.KEY_UPDATE_ERROR });
  });
});

describe("headers", () => {
  it("with reserved bits set: PROTOCOL_VIOLATION, once they are known to be the peer's", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    pair.server.receive(
      forger.datagram(Space.application, (writer) => writer.ping(), 2_000, 0x18),
      pair.now,
    );
    expect(pair.atServer.closed).toMatchObject({ end: "violation", errorCode: TransportErrorCode.PROTOCOL_VIOLATION });
  });

  it("of packets that came before are dropped", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    const datagram = forger.datagram(Space.application, (writer) => writer.datagram(Buffer.from("once")));
    for (let n = 0; n < 5; n++) pair.server.receive(Buffer.from(datagram), pair.now);
    expect(pair.atServer.datagrams).toHaveLength(1);
  });
});
