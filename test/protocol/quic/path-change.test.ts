/** A client's address changes, as behind a NAT: the new path is validated whatever it allows at first (RFC 9000 §§ 8, 9.3). */
import { describe, expect, it } from "vitest";
import { Pair } from "./pair.ts";

/** The shortest that a client sends: an ACK. */
const SMALL = 23;

describe("a path that has changed", () => {
  it("is challenged within three times of an ACK, with a packet that is not filled up", () => {
    const pair = new Pair().connect();
    pair.server.onPeerAddressChanged(SMALL, pair.now);
    expect(pair.server.addressValidated).toBe(false);
    const datagrams = pair.server.send(pair.now);
    expect(datagrams).toHaveLength(1);
    expect(datagrams[0]?.length).toBeLessThanOrEqual(3 * SMALL);
    for (const datagram of datagrams) pair.client.receive(Buffer.from(datagram), pair.now);
    pair.run(1_000, () => pair.server.addressValidated);
    expect(pair.server.addressValidated).toBe(true);
  });

  it("is challenged with 1200 bytes where so many are allowed", () => {
    const pair = new Pair().connect();
    pair.server.onPeerAddressChanged(400, pair.now);
    expect(pair.server.send(pair.now)[0]?.length).toBe(1200);
  });

  it("is challenged although the congestion window is full of what went the old way; nobody spins", () => {
    let isCut = false;
    const pair = new Pair({ link: (datagram, fromClient) => (isCut && !fromClient ? undefined : datagram) }).connect();
    const stream = pair.server.openStream(true);
    isCut = true;
    stream?.write(Buffer.alloc(1_000_000), true);
    pair.run(20);
    const { bytesInFlight, congestionWindow } = pair.server.stats;
    expect(congestionWindow - bytesInFlight).toBeLessThan(1200);
    pair.server.onPeerAddressChanged(SMALL, pair.now);
    expect(pair.server.send(pair.now)).toHaveLength(1);
    expect(pair.server.deadline()).toBeGreaterThan(pair.now);
  });
});
