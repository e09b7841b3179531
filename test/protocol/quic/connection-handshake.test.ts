/** Handshakes of a client and a server of ours: what is agreed, and each datagram lost in turn. */
import { describe, expect, it } from "vitest";
import { TransportErrorCode } from "../../../src/protocol/quic/errors.ts";
import { seeded } from "../../fuzz/random.ts";
import { Pair, type PairOptions, Sink } from "./pair.ts";

describe("handshake", () => {
  it("completes, is confirmed, and streams flow both ways", () => {
    const pair = new Pair().connect();
    expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
    expect([pair.atClient.confirmed, pair.atServer.confirmed]).toEqual([true, true]);
    pair.atServer.onNewStream = (sink) => {
      sink.stream.write(Buffer.from("hello, client"), true);
    };
    const stream = pair.client.openStream(true);
    if (stream === undefined) throw new Error("no stream");
    const sink = new Sink(stream);
    stream.write(Buffer.from("hello, server"), true);
    pair.run(200);
    expect(pair.atServer.streams[0]?.bytes.toString()).toBe("hello, server");
    expect(pair.atServer.streams[0]?.ended).toBe(true);
    expect(sink.bytes.toString()).toBe("hello, client");
  });

  it.each([
    ["as it is", {}],
    ["with a long chain of certificates", { tls: { filling: 12_000 } }],
    ["with a hello of two datagrams", { tls: { helloFilling: 1_300 } }],
    ["with a ticket afterwards", { tls: { ticket: true } }],
    ["over a path of 400 ms", { delay: 200 }],
  ] satisfies [string, PairOptions][])(
    "completes although any one datagram of it is lost, either way: %s",
    (_what, options) => {
      const whole = new Pair(options).connect();
      const count = whole.sent;
      expect(count).toBeGreaterThan(5);
      for (let lost = 0; lost < count; lost++) {
        let n = 0;
        const pair = new Pair({ ...options, link: (datagram) => (n++ === lost ? undefined : datagram) }).connect();
        expect([lost, pair.client.state, pair.server.state]).toEqual([lost, "connected", "connected"]);
        expect([lost, pair.atClient.confirmed, pair.atServer.confirmed]).toEqual([lost, true, true]);
      }
    },
  );

  it("completes although every datagram comes twice, or in the wrong order", () => {
    const twice = new Pair({
      link: (datagram) => [datagram, Buffer.from(datagram)],
      tls: { filling: 6_000 },
    }).connect();
    expect([twice.client.state, twice.server.state]).toEqual(["connected", "connected"]);
    const late: Buffer[] = [];
    let n = 0;
    const disorder = new Pair({
      tls: { filling: 6_000 },
      link: (datagram) => {
        if (n++ % 3 !== 1) return late.length > 0 ? [datagram, ...late.splice(0)] : datagram;
        late.push(datagram);
        return [];
      },
    }).connect();
    expect([disorder.client.state, disorder.server.state]).toEqual(["connected", "connected"]);
  });

  it("under loss of 30 %, in time", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed);
      const options = { handshakeTimeout: 60_000, handshakeIdleTimeout: 30_000 };
      const pair = new Pair({
        client: options,
        server: options,
        link: (datagram) => (random(10) < 3 ? undefined : datagram),
      });
      pair.run(60_000, () => pair.atClient.confirmed && pair.atServer.confirmed);
      expect([seed, pair.atClient.confirmed, pair.atServer.confirmed]).toEqual([seed, true, true]);
    }
  });

  it.each<[string, PairOptions]>([
    ["the server's source id", { serverParameters: { initialSourceConnectionId: Buffer.alloc(8) } }],
    ["the original destination id", { serverParameters: { originalDestinationConnectionId: Buffer.alloc(8) } }],
    ["no original destination id", { serverParameters: { originalDestinationConnectionId: undefined } }],
    ["a Retry that never was", { serverParameters: { retrySourceConnectionId: Buffer.alloc(8) } }],
    ["the client's source id", { clientParameters: { initialSourceConnectionId: Buffer.alloc(8) } }],
    ["no client's source id", { clientParameters: { initialSourceConnectionId: undefined } }],
    ["a parameter out of range", { serverParameters: { ackDelayExponent: 21 } }],
    ["a client's reset token", { clientParameters: { statelessResetToken: Buffer.alloc(16) } }],
  ])("is refused where the parameters have another word of %s: TRANSPORT_PARAMETER_ERROR", (_what, options) => {
    const pair = new Pair(options);
    pair.run(1_000);
    const ends = [pair.atClient.closed, pair.atServer.closed].map((error) => error?.errorCode);
    expect(ends).toEqual([TransportErrorCode.TRANSPORT_PARAMETER_ERROR, TransportErrorCode.TRANSPORT_PARAMETER_ERROR]);
  });
});
