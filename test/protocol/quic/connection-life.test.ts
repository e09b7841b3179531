/** The life of a connection (RFC 9000 §§ 8 to 10): how it ends, what is said then, what keeps it alive. */
import { describe, expect, it } from "vitest";
import { TransportErrorCode } from "../../../src/protocol/quic/errors.ts";
import { HeaderReader, PacketType } from "../../../src/protocol/quic/header.ts";
import { Space } from "../../../src/protocol/quic/packet-number.ts";
import { Forger } from "./forger.ts";
import { Pair, type PairOptions, Sink } from "./pair.ts";

/** Of the packets of a datagram. */
function typesOf(datagram: Buffer): number[] {
  const header = new HeaderReader();
  const types: number[] = [];
  for (let at = 0; at < datagram.length && header.read(datagram, at, 0); at = header.end) types.push(header.type);
  return types;
}

const connected = (options?: PairOptions): Pair => new Pair(options).connect();

describe("close", () => {
  it("by the application: the peer hears its code and its words", () => {
    const pair = connected();
    pair.client.close(77, "that is all", pair.now);
    expect(pair.atClient.closed).toMatchObject({ end: "closed", code: "ERR_UNDERPASS_QUIC_CLOSED", errorCode: 77 });
    expect(pair.client.state).toBe("closing");
    pair.run(50);
    expect(pair.server.state).toBe("draining");
    expect(pair.atServer.closed).toMatchObject({ end: "peer-application", errorCode: 77, reason: "that is all" });
    pair.run(10_000);
    expect([pair.client.state, pair.server.state]).toEqual(["closed", "closed"]);
    expect([pair.client.deadline(), pair.server.deadline()]).toEqual([undefined, undefined]);
  });

  it("before the handshake is complete: as APPLICATION_ERROR, without the application's words", () => {
    const pair = new Pair();
    pair.run(7);
    pair.client.close(77, "a secret", pair.now);
    pair.run(100);
    expect(pair.atServer.closed).toMatchObject({
      end: "peer-transport",
      errorCode: TransportErrorCode.APPLICATION_ERROR,
      reason: "",
    });
  });

  it("is said again when packets still come, ever more rarely", () => {
    const pair = connected();
    pair.server.close(1, "", pair.now);
    const forger = new Forger(pair, "client");
    let said = 0;
    for (let n = 0; n < 1000; n++) {
      said += pair.server.send(pair.now).length;
      forger.send(Space.application, (writer) => writer.ping());
    }
    // Once at first, then after 1, 2, 4, … 512 packets.
    expect(said).toBe(11);
  });

  it("is told once, whatever follows", () => {
    const pair = connected();
    pair.client.close(1, "", pair.now);
    const first = pair.atClient.closed;
    pair.client.close(2, "", pair.now);
    pair.server.close(3, "", pair.now);
    pair.run(10_000);
    expect(pair.atClient.closed).toBe(first);
    expect(pair.atServer.closed).toMatchObject({ end: "closed", errorCode: 3 });
  });

  it("ends the streams", () => {
    const pair = connected();
    pair.client.openStream(true)?.write(Buffer.from("x"), false);
    pair.run(50);
    pair.client.close(0, "", pair.now);
    pair.run(50);
    expect(pair.atServer.streams[0]?.closed).toBe(true);
    expect(pair.client.openStream(true)).toBeUndefined();
    expect(pair.client.sendDatagram(Buffer.alloc(1))).toBe(false);
  });

  it("the peer's words are cut, and made printable", () => {
    const pair = connected();
    new Forger(pair, "server").send(Space.application, (writer) =>
      writer.connectionClose(0x10a, 6, Buffer.from(`bad\u0000\u001b[31m${"x".repeat(1000)}`)),
    );
    expect(pair.atClient.closed?.end).toBe("peer-transport");
    expect(pair.atClient.closed?.reason).toMatch(/^bad\?\?\[31mx+$/);
    expect(pair.atClient.closed?.reason.length).toBe(512);
  });
});

describe("silence", () => {
  it("ends a connection after the smaller idle timeout of both", () => {
    const pair = connected({ client: { maxIdleTimeout: 8_000 }, server: { maxIdleTimeout: 3_000 } });
    pair.run(2_500);
    expect(pair.client.state).toBe("connected");
    pair.run(1_000);
    expect([pair.client.state, pair.server.state]).toEqual(["closed", "closed"]);
    expect(pair.atClient.closed?.code).toBe("ERR_UNDERPASS_QUIC_IDLE_TIMEOUT");
  });

  it("does not, where PINGs keep it alive", () => {
    const pair = connected({ client: { maxIdleTimeout: 3_000, keepAlive: 1_000 } });
    pair.run(60_000);
    expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
  });

  it.each([100, 250, 500, 750])(
    "of four seconds ends no connection with a limit of five (from %i ms after a PING on)",
    (since) => {
      let cut = false;
      const pair = connected({
        client: { maxIdleTimeout: 5_000, keepAlive: 1_000 },
        link: (datagram) => (cut ? undefined : datagram),
      });
      pair.run(3_000 + since);
      cut = true;
      pair.run(4_000);
      cut = false;
      pair.run(10_000);
      expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
    },
  );

  it.each([5, 250, 500, 1_000, 1_500])(
    "on a way of %i ms is never longer than its owner may take it to be",
    (delay) => {
      const pair = connected({ delay, client: { maxIdleTimeout: 5_000, keepAlive: 1_000 } });
      let heardAt = pair.now;
      let seen = pair.client.largestReceived;
      let longest = 0;
      for (let i = 0; i < 6_000; i++) {
        pair.run(10);
        if (pair.client.largestReceived > seen) {
          seen = pair.client.largestReceived;
          heardAt = pair.now;
        }
        longest = Math.max(longest, (pair.now - heardAt) / Math.max(3_000, 3 * pair.client.probeTimeout));
      }
      expect(pair.client.state).toBe("connected");
      expect(longest).toBeGreaterThan(0.2);
      expect(longest).toBeLessThan(0.95);
    },
  );

  it("is noticed by the side that sends into it", () => {
    let cut = false;
    const pair = connected({
      client: { maxIdleTimeout: 5_000, keepAlive: 1_000 },
      link: (datagram) => (cut ? undefined : datagram),
    });
    cut = true;
    pair.client.openStream(true)?.write(Buffer.alloc(10), true);
    pair.run(20_000);
    expect([pair.client.state, pair.atClient.closed?.end]).toEqual(["closed", "idle-timeout"]);
  });

  it("never ends one without an idle timeout", () => {
    const pair = connected({ client: { maxIdleTimeout: 0 }, server: { maxIdleTimeout: 0 } });
    pair.run(10_000_000);
    expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
  });

  it("ends a handshake that nobody answers", () => {
    const pair = new Pair({ link: () => undefined });
    pair.run(60_000);
    expect([pair.client.state, pair.atClient.closed?.code]).toEqual(["closed", "ERR_UNDERPASS_QUIC_HANDSHAKE_TIMEOUT"]);
  });
});

describe("amplification (RFC 9000 § 8.1)", () => {
  it("a server sends at most three times of what came, until its client has shown its address", () => {
    let received = 0;
    let sent = 0;
    let validated = false;
    let most = 0;
    const pair = new Pair({
      tls: { filling: 12_000 },
      link: (datagram, fromClient) => {
        if (fromClient) {
          received += datagram.length;
          // Once a Handshake packet comes, the client has our Initial.
          validated ||= typesOf(datagram).includes(PacketType.handshake);
        } else if (!validated) {
          sent += datagram.length;
          most = Math.max(most, sent / received);
        }
        return datagram;
      },
    }).connect();
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
    expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
  });

  it("is not lifted by a client that sends one Initial and then nothing", () => {
    let first = true;
    let sent = 0;
    const pair = new Pair({
      tls: { filling: 12_000 },
      link: (datagram, fromClient) => {
        if (!fromClient) {
          sent += datagram.length;
          return undefined;
        }
        const only = first;
        first = false;
        return only ? datagram : undefined;
      },
    });
    pair.run(60_000);
    expect(sent).toBeGreaterThan(1200);
    expect(sent).toBeLessThanOrEqual(3600);
  });

  it("each datagram of a client with an Initial has 1200 bytes or more, and each of a server that wants it acknowledged", () => {
    const sizes: number[] = [];
    new Pair({
      tls: { helloFilling: 1_000 },
      link: (datagram) => {
        if (((datagram[0] as number) & 0xf0) === 0xc0) sizes.push(datagram.length);
        return datagram;
      },
    }).connect();
    expect(sizes.length).toBeGreaterThan(2);
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(1200);
  });
});

describe("a handler that throws", () => {
  it("ends the connection by INTERNAL_ERROR, and nothing else", () => {
    const pair = connected();
    pair.atServer.onNewStream = () => {
      throw new Error("a fault of the application");
    };
    pair.client.openStream(true)?.write(Buffer.from("x"), true);
    pair.run(100);
    expect(pair.atServer.closed).toMatchObject({ end: "violation", errorCode: TransportErrorCode.INTERNAL_ERROR });
    expect(String(pair.atClient.closed?.message)).not.toContain("a fault of the application");
    expect(pair.atClient.closed?.errorCode).toBe(TransportErrorCode.INTERNAL_ERROR);
  });
});

describe("a handler that closes the connection", () => {
  it("hears nothing more, not even the rest of the packet", () => {
    const pair = connected();
    pair.atServer.onNewStream = () => pair.server.close(9, "", pair.now);
    new Forger(pair, "client").send(Space.application, (writer) => {
      for (const id of [0, 4, 8]) writer.stream(id, 0, 0, false);
      writer.append(Buffer.from([0x40, 0x41]), 0, 2);
    });
    expect(pair.atServer.streams).toHaveLength(1);
    expect(pair.atServer.streams[0]?.closed).toBe(true);
    expect(pair.atServer.closed).toMatchObject({ end: "closed", errorCode: 9 });
    pair.run(50);
    expect(pair.atClient.closed).toMatchObject({ end: "peer-application", errorCode: 9 });
  });

  it("may do so while it writes", () => {
    const pair = connected();
    const stream = pair.client.openStream(true);
    if (stream === undefined) throw new Error("no stream");
    const sink = new Sink(stream);
    sink.onWritable = () => pair.client.close(8, "", pair.now);
    while (stream.write(Buffer.alloc(50_000), false));
    pair.run(500);
    expect(pair.atServer.closed).toMatchObject({ end: "peer-application", errorCode: 8 });
  });
});

describe("what each state does with each event", () => {
  it("is the table in connection.ts", () => {
    const states: Record<string, () => Pair> = {
      handshaking: () => {
        const pair = new Pair();
        pair.flush();
        return pair;
      },
      connected,
      closing: () => {
        const pair = connected();
        pair.client.close(0, "", pair.now);
        return pair;
      },
      draining: () => {
        const pair = connected();
        pair.server.close(0, "", pair.now);
        pair.run(50);
        return pair;
      },
      closed: () => {
        const pair = connected();
        pair.client.close(0, "", pair.now);
        pair.run(10_000);
        return pair;
      },
    };
    const events: Record<string, (pair: Pair) => void> = {
      "close()": (pair) => pair.client.close(0, "", pair.now),
      "long silence": (pair) => {
        const deadline = pair.now + 1_000_000;
        for (let at = pair.client.deadline(); at !== undefined && at < deadline; at = pair.client.deadline()) {
          pair.now = Math.max(pair.now, at);
          pair.client.onTimeout(pair.now);
          pair.client.send(pair.now);
        }
      },
      violation: (pair) => {
        const forger = new Forger(pair, "server");
        const space = pair.secrets.client.has("application") ? Space.application : Space.initial;
        forger.send(space, Buffer.of(0x40, 0x41));
      },
      CONNECTION_CLOSE: (pair) => {
        const forger = new Forger(pair, "server");
        const space = pair.secrets.client.has("application") ? Space.application : Space.initial;
        forger.send(space, (writer) => writer.connectionClose(0, 0, Buffer.alloc(0)));
      },
      noise: (pair) => pair.client.receive(Buffer.alloc(1200, 0x41), pair.now),
    };
    const lines: string[] = [];
    for (const [state, make] of Object.entries(states)) {
      for (const [event, run] of Object.entries(events)) {
        const pair = make();
        expect(pair.client.state).toBe(state);
        run(pair);
        lines.push(`${state} + ${event} -> ${pair.client.state} (${pair.atClient.closed?.end ?? "open"})`);
      }
    }
    expect(lines.join("\n")).toMatchInlineSnapshot(`
      "handshaking + close() -> closing (closed)
      handshaking + long silence -> closed (handshake-timeout)
      handshaking + violation -> closing (violation)
      handshaking + CONNECTION_CLOSE -> draining (peer-transport)
      handshaking + noise -> handshaking (open)
      connected + close() -> closing (closed)
      connected + long silence -> closed (idle-timeout)
      connected + violation -> closing (violation)
      connected + CONNECTION_CLOSE -> draining (peer-transport)
      connected + noise -> connected (open)
      closing + close() -> closing (closed)
      closing + long silence -> closed (closed)
      closing + violation -> closing (closed)
      closing + CONNECTION_CLOSE -> closing (closed)
      closing + noise -> closing (closed)
      draining + close() -> draining (peer-application)
      draining + long silence -> closed (peer-application)
      draining + violation -> draining (peer-application)
      draining + CONNECTION_CLOSE -> draining (peer-application)
      draining + noise -> draining (peer-application)
      closed + close() -> closed (closed)
      closed + long silence -> closed (closed)
      closed + violation -> closed (closed)
      closed + CONNECTION_CLOSE -> closed (closed)
      closed + noise -> closed (closed)"
    `);
  });
});
