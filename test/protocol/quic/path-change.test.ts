/** A client's packets come from another address, as behind a NAT, from another network, or because someone made it seem so (RFC 9000 §§ 8, 9). */
import { describe, expect, it } from "vitest";
import { Space } from "../../../src/protocol/quic/packet-number.ts";
import { Forger } from "./forger.ts";
import { CLIENT_ADDRESS, Pair } from "./pair.ts";

const OTHER_PORT = "192.0.2.1:2000";
const ELSEWHERE = "198.51.100.7:1000";

/** The shortest packet that a client sends is about this long. */
const SMALL = 23;

/** Three times the PTO before any sample, and a little. */
const VALIDATION_TIME = 3_100;

const CHALLENGE = Buffer.from("whoisit?");

/** The client says something, which the server hears from `from`; its answers stay with the test. */
function sayFrom(pair: Pair, from: string, say = (): void => pair.client.ping()): void {
  say();
  for (const datagram of pair.client.send(pair.now)) pair.server.receive(Buffer.from(datagram), pair.now, from);
}

/** All that the server wants to send now: its length, by the address that it goes to. */
function sentTo(pair: Pair): Map<string, number> {
  const sent = new Map<string, number>();
  for (let turn = 0; turn < 20; turn++) {
    for (const datagram of pair.server.send(pair.now)) {
      const { sendAddress } = pair.server;
      sent.set(sendAddress, (sent.get(sendAddress) ?? 0) + datagram.length);
    }
  }
  return sent;
}

/** Where the server sends what it has to say. */
function followed(pair: Pair): string {
  pair.server.sendDatagram(Buffer.from("where are you?"));
  sentTo(pair);
  return pair.server.sendAddress;
}

/** A pair whose server has learned what its path carries. */
function warm(link?: ConstructorParameters<typeof Pair>[0]): Pair {
  const pair = new Pair({ delay: 20, ...link }).connect();
  pair.server.openStream(true)?.write(Buffer.alloc(1_000_000), false);
  pair.run(3_000);
  expect(pair.server.stats.congestionWindow).toBeGreaterThan(50_000);
  expect(pair.server.stats.mtu).toBeGreaterThan(1400);
  expect(pair.server.stats.rtt).toBeLessThan(60);
  return pair;
}

describe("§ 9.3: what moves a path", () => {
  it("is a packet that does not only probe", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE);
    expect(followed(pair)).toBe(ELSEWHERE);
    expect(pair.server.addressValidated).toBe(false);
  });

  it("is not one that only probes (§ 9.1): it is answered to where it came from, filled up to 1200 bytes (§ 8.2.2)", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    const probe = forger.datagram(Space.application, (writer) => {
      writer.pathChallenge(CHALLENGE);
      writer.padding(1_000);
    });
    pair.server.receive(probe, pair.now, ELSEWHERE);
    expect(sentTo(pair).get(ELSEWHERE)).toBe(1200);
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
    expect(pair.server.stats.framesSent[0x1b]).toBe(1);
    // Nobody is asked, and nobody waited for.
    expect(pair.server.stats.framesSent[0x1a]).toBe(0);
  });

  it("may not be sent more than three times of what came from there (§ 8), and keeps no one busy", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    let received = 0;
    let sent = 0;
    for (let n = 0; n < 20; n++) {
      const probe = forger.datagram(Space.application, (writer) => void writer.pathChallenge(CHALLENGE));
      received += probe.length;
      pair.server.receive(probe, pair.now, ELSEWHERE);
      sent += sentTo(pair).get(ELSEWHERE) ?? 0;
      expect(sent).toBeLessThanOrEqual(3 * received);
    }
    expect(sent).toBeGreaterThan(0);
    expect(pair.server.deadline()).toBeGreaterThan(pair.now);
  });

  it("is only the newest: an older packet was just longer on its way", () => {
    const pair = new Pair().connect();
    pair.client.ping();
    const [late] = pair.client.send(pair.now).map((datagram) => Buffer.from(datagram));
    sayFrom(pair, CLIENT_ADDRESS);
    pair.server.receive(late as Buffer, pair.now, ELSEWHERE);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });

  it("is the newest of those that do not only probe: a probe that overtook it changes nothing", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    forger.send(Space.application, (writer) => void writer.pathChallenge(CHALLENGE), 2_000, ELSEWHERE);
    forger.send(Space.application, (writer) => void writer.ping(), 1_999, ELSEWHERE);
    expect(followed(pair)).toBe(ELSEWHERE);
  });

  it("is nothing that does not open, or opened before", () => {
    const pair = new Pair().connect();
    pair.client.ping();
    const [datagram] = pair.client.send(pair.now).map((one) => Buffer.from(one));
    pair.server.receive(Buffer.from(datagram as Buffer), pair.now, CLIENT_ADDRESS);
    pair.server.receive(Buffer.from(datagram as Buffer), pair.now, ELSEWHERE);
    pair.server.receive(Buffer.alloc(100, 0x41), pair.now, ELSEWHERE);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });

  it("remembers few of the addresses that someone makes up", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    for (let n = 0; n < 50; n++) {
      forger.send(Space.application, (writer) => void writer.pathChallenge(CHALLENGE), undefined, `203.0.113.${n}:1`);
    }
    expect(sentTo(pair).size).toBeLessThanOrEqual(5);
    for (let n = 0; n < 50; n++) {
      forger.send(Space.application, (writer) => void writer.ping(), undefined, `203.0.113.${n}:1`);
    }
    expect(sentTo(pair).size).toBeLessThanOrEqual(5);
  });
});

describe("§ 8.2: a new path", () => {
  it("is challenged within three times of an ACK, with a packet that is not filled up", () => {
    const pair = new Pair().connect();
    let length = 0;
    pair.client.ping();
    for (const datagram of pair.client.send(pair.now)) {
      length += datagram.length;
      pair.server.receive(Buffer.from(datagram), pair.now, ELSEWHERE);
    }
    expect(length).toBeLessThan(2 * SMALL);
    const sent = sentTo(pair).get(ELSEWHERE) ?? 0;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThanOrEqual(3 * length);
  });

  it("is challenged with 1200 bytes where so many are allowed", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE, () => void pair.client.sendDatagram(Buffer.alloc(400)));
    expect(sentTo(pair).get(ELSEWHERE)).toBe(1200);
  });

  it("is validated by the answer, and then followed without bounds", () => {
    const pair = new Pair().connect();
    pair.clientAddress = ELSEWHERE;
    pair.client.ping();
    pair.run(200);
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(ELSEWHERE);
    pair.server.openStream(true)?.write(Buffer.alloc(100_000), true);
    pair.run(1_000);
    expect(pair.atClient.streams[0]?.bytes.length).toBe(100_000);
  });

  it("is validated by an answer that comes over another path (§ 8.2.3)", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE, () => void pair.client.sendDatagram(Buffer.alloc(400)));
    for (let turn = 0; turn < 4; turn++) {
      for (const datagram of pair.server.send(pair.now)) {
        if (pair.server.sendAddress === ELSEWHERE) pair.client.receive(Buffer.from(datagram), pair.now);
      }
    }
    sayFrom(pair, CLIENT_ADDRESS);
    // The answer came from there, and led back there; but it told of the other one.
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
    sayFrom(pair, ELSEWHERE);
    expect(followed(pair)).toBe(ELSEWHERE);
    expect(pair.server.addressValidated).toBe(true);
  });

  it("is challenged although the congestion window is full of what went the old way; nobody spins", () => {
    for (const to of [OTHER_PORT, ELSEWHERE]) {
      let isCut = false;
      const pair = new Pair({
        link: (datagram, fromClient) => (isCut && !fromClient ? undefined : datagram),
      }).connect();
      const stream = pair.server.openStream(true);
      isCut = true;
      stream?.write(Buffer.alloc(1_000_000), true);
      pair.run(20);
      const { bytesInFlight, congestionWindow } = pair.server.stats;
      expect(congestionWindow - bytesInFlight).toBeLessThan(1200);
      sayFrom(pair, to);
      expect(sentTo(pair).get(to)).toBeGreaterThan(0);
      expect(pair.server.deadline()).toBeGreaterThan(pair.now);
    }
  });
});

describe("§ 9.3.2: a path that is not validated in time", () => {
  it("is left for the last one that was, with all that was known of it; nothing is lost", () => {
    const pair = warm({
      link: (datagram, fromClient, _, address) => (fromClient || address === CLIENT_ADDRESS ? datagram : undefined),
    });
    const { congestionWindow, mtu } = pair.server.stats;
    const answer = pair.server.openStream(true);
    sayFrom(pair, ELSEWHERE);
    expect(pair.server.stats.congestionWindow).toBeLessThan(congestionWindow);
    answer?.write(Buffer.alloc(50_000, 7), true);
    // Nobody is at the other address, and the client, which has nothing to say, can't be heard from its own.
    const start = pair.now;
    let sent = 0;
    while (pair.now < start + 1_000) {
      pair.now = Math.max(pair.now, Math.min(pair.server.deadline() ?? start + 1_000, start + 1_000));
      pair.server.onTimeout(pair.now);
      sent += sentTo(pair).get(ELSEWHERE) ?? 0;
    }
    expect(sent).toBeLessThanOrEqual(3 * 1200);
    expect(pair.server.addressValidated).toBe(false);
    pair.run(VALIDATION_TIME, () => pair.server.addressValidated);
    expect(pair.server.addressValidated).toBe(true);
    expect(pair.server.stats).toMatchObject({ mtu });
    expect(pair.server.stats.congestionWindow).toBeGreaterThan(congestionWindow / 2);
    pair.run(3_000);
    expect(pair.atClient.streams.at(-1)?.bytes.length).toBe(50_000);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });

  it("is left as soon as a newer packet comes over the old one, which needs no validation again", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE);
    sayFrom(pair, CLIENT_ADDRESS);
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
    pair.run(2 * VALIDATION_TIME);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
    expect(pair.server.state).toBe("connected");
  });

  it("is left for the last one that was, however many others came in between", () => {
    const pair = new Pair().connect();
    for (let n = 0; n < 10; n++) sayFrom(pair, `203.0.113.${n}:1`);
    for (let n = 0; n < 100; n++) {
      pair.now += 100;
      pair.server.onTimeout(pair.now);
      sentTo(pair);
    }
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });

  it("lets the one that was validated be returned to at once, however many others came in between", () => {
    const pair = new Pair().connect();
    for (let n = 0; n < 10; n++) sayFrom(pair, `203.0.113.${n}:1`);
    sayFrom(pair, CLIENT_ADDRESS);
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });
});

describe("§ 9.3.3: someone off the path forwards a client's packets from another address", () => {
  it("both paths are challenged", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE, () => void pair.client.sendDatagram(Buffer.alloc(400)));
    const sent = sentTo(pair);
    expect([...sent.keys()].sort()).toEqual([CLIENT_ADDRESS, ELSEWHERE]);
    expect(pair.server.stats.framesSent[0x1a]).toBe(2);
    // What goes over the other path takes no room from the followed one.
    expect(pair.server.stats.bytesInFlight).toBe(sent.get(ELSEWHERE));
  });

  it("the client's answer does not only probe, as it acknowledges the challenge, and so leads back to where it is", () => {
    const pair = new Pair().connect();
    sayFrom(pair, ELSEWHERE);
    pair.run(200);
    expect(pair.server.addressValidated).toBe(true);
    expect(followed(pair)).toBe(CLIENT_ADDRESS);
  });
});

describe("§ 9.4: what was measured of the old path", () => {
  it("does not count on the way to another host: window, round-trip time and MTU begin anew", () => {
    const pair = warm();
    const fresh = new Pair().server.stats;
    sayFrom(pair, ELSEWHERE);
    expect(pair.server.stats).toMatchObject({ mtu: 1200, rtt: 333, congestionWindow: fresh.congestionWindow });
    expect(pair.server.stats.bytesInFlight).toBe(0);
  });

  it("counts where the port alone is another, as NATs do", () => {
    const pair = warm();
    const { mtu, rtt, congestionWindow } = pair.server.stats;
    sayFrom(pair, OTHER_PORT);
    expect(pair.server.addressValidated).toBe(false);
    expect(pair.server.stats).toMatchObject({ mtu, congestionWindow });
    expect(pair.server.stats.rtt).toBeCloseTo(rtt, 0);
  });

  it.each([
    ["arrives", 0],
    ["is lost", 40],
  ])("is not taught by what went the old way, and %s", (_, lost) => {
    const pair = warm();
    pair.server.openStream(true)?.write(Buffer.alloc(2_000_000), false);
    const kept = pair.server.send(pair.now).map((datagram) => Buffer.from(datagram));
    expect(kept.length).toBeGreaterThan(45);
    sayFrom(pair, ELSEWHERE);
    const { rtt, congestionWindow, mtu, packetsLost } = pair.server.stats;
    pair.now += 1;
    for (const datagram of kept.slice(lost)) pair.client.receive(datagram, pair.now);
    pair.now += 30;
    sayFrom(pair, ELSEWHERE);
    expect(pair.server.stats).toMatchObject({ rtt, congestionWindow, mtu, bytesInFlight: 0 });
    expect(pair.server.stats.packetsLost.reordering > packetsLost.reordering).toBe(lost > 0);
  });

  it("is not taught by a probe of its MTU, which is tried again by who comes back", () => {
    let probe: Buffer | undefined;
    const pair = new Pair({
      link: (datagram, fromClient) => {
        if (fromClient || datagram.length <= 1200 || probe !== undefined) return datagram;
        probe = datagram;
        return undefined;
      },
    });
    pair.run(1_000, () => probe !== undefined && pair.atClient.confirmed);
    sayFrom(pair, ELSEWHERE);
    pair.client.receive(probe as Buffer, pair.now);
    pair.now += 30;
    sayFrom(pair, ELSEWHERE);
    expect(pair.server.stats.mtu).toBe(1200);
    sayFrom(pair, CLIENT_ADDRESS);
    pair.run(3_000);
    expect(pair.server.stats.mtu).toBeGreaterThan(1400);
  });

  it("is not what the client itself takes at most", () => {
    const pair = new Pair({ clientParameters: { maxUdpPayloadSize: 1300 } }).connect();
    pair.clientAddress = ELSEWHERE;
    pair.client.ping();
    pair.server.openStream(true)?.write(Buffer.alloc(200_000), true);
    pair.run(3_000);
    expect(followed(pair)).toBe(ELSEWHERE);
    expect(pair.server.stats.mtu).toBe(1300);
  });

  it("is found out about the new one", () => {
    const pair = warm();
    pair.clientAddress = ELSEWHERE;
    pair.client.ping();
    pair.server.openStream(true)?.write(Buffer.alloc(1_000_000), true);
    pair.run(10_000, () => pair.atClient.streams.at(-1)?.ended === true);
    expect(pair.atClient.streams.at(-1)?.bytes.length).toBe(1_000_000);
    expect(pair.server.stats.mtu).toBeGreaterThan(1400);
    expect(pair.server.stats.rtt).toBeLessThan(60);
  });
});
