/** The search for the path's MTU (RFC 8899), over paths that carry so much and no more. */
import { describe, expect, it } from "vitest";
import { MIN_DATAGRAM_SIZE } from "../../../../src/protocol/quic/limits.ts";
import { PathMtu, type PathMtuOptions } from "../../../../src/protocol/quic/recovery/path-mtu.ts";

/** Probes until nothing is to be probed; returns the sizes tried. */
function search(mtu: PathMtu, carries: number, now = 0): number[] {
  const tried: number[] = [];
  for (let size = mtu.probeDue(now); size !== undefined; size = mtu.probeDue(now)) {
    tried.push(size);
    if (tried.length > 50) throw new Error("it never ends");
    mtu.onProbeSent(size);
    expect(mtu.probeDue(now)).toBeUndefined();
    if (size <= carries) mtu.onProbeAcked(size);
    else mtu.onProbeLost(size);
  }
  return tried;
}

function found(carries: number, options?: PathMtuOptions): PathMtu {
  const mtu = new PathMtu(options);
  search(mtu, carries);
  return mtu;
}

describe("the search", () => {
  it("takes the maximum at once where it passes", () => {
    const mtu = new PathMtu();
    expect(mtu.current).toBe(MIN_DATAGRAM_SIZE);
    expect(search(mtu, 1500)).toEqual([1452]);
    expect(mtu.current).toBe(1452);
  });

  it("finds what passes, within 20 bytes, for each size of path", () => {
    for (let carries = 1200; carries <= 1460; carries++) {
      const { current } = found(carries);
      expect(current).toBeLessThanOrEqual(carries);
      expect(current).toBeGreaterThan(Math.min(carries, 1452) - 20);
    }
  });

  it("gives a size three probes, and keeps to what may be tried", () => {
    const mtu = new PathMtu();
    const tried = search(mtu, 1200);
    expect(tried.slice(0, 3)).toEqual([1452, 1452, 1452]);
    expect(tried.length).toBeLessThanOrEqual(3 * 6);
    const lossy = new PathMtu();
    lossy.onProbeSent(1452);
    lossy.onProbeLost(1452);
    lossy.onProbeSent(1452);
    lossy.onProbeAcked(1452);
    expect(lossy.current).toBe(1452);
  });

  it("heeds the peer's limit, and options", () => {
    const mtu = new PathMtu({ initial: 1252, maximum: 1452 });
    expect(mtu.current).toBe(1252);
    mtu.setPeerLimit(1350);
    expect(search(mtu, 1500)).toEqual([1350]);
    const small = new PathMtu({ initial: 1400 });
    small.setPeerLimit(1000);
    expect(small.current).toBe(MIN_DATAGRAM_SIZE);
    expect(small.probeDue(0)).toBeUndefined();
    expect(new PathMtu({ initial: 100 }).current).toBe(MIN_DATAGRAM_SIZE);
  });

  it("tries more after ten minutes", () => {
    const mtu = found(1300);
    expect(mtu.probeDue(599_999)).toBeUndefined();
    expect(search(mtu, 1500, 600_000)).toEqual([1452]);
    expect(mtu.current).toBe(1452);
  });
});

describe("a black hole", () => {
  it("is found by losses of large packets alone; then the search begins anew once something arrives", () => {
    const mtu = found(1500);
    for (const now of [10, 10, 10, 20]) mtu.onPacketLost(1452, now);
    mtu.onPacketAcked(300);
    expect(mtu.current).toBe(1452);
    mtu.onPacketLost(1452, 30);
    expect(mtu.current).toBe(MIN_DATAGRAM_SIZE);
    expect(mtu.probeDue(40)).toBeUndefined();
    mtu.onPacketAcked(1200);
    search(mtu, 1320, 40);
    expect(mtu.current).toBeGreaterThan(1300);
    expect(mtu.current).toBeLessThanOrEqual(1320);
  });

  it("is none where large packets arrive, or small ones are lost", () => {
    const mtu = found(1500);
    for (let now = 0; now < 100; now++) {
      mtu.onPacketLost(1452, now);
      if (now % 2 === 1) mtu.onPacketAcked(1452);
      mtu.onPacketLost(600, now);
    }
    expect(mtu.current).toBe(1452);
  });

  it("is found by probe timeouts in a row: then nothing at all arrives, and nothing is known to be lost", () => {
    const mtu = found(1500);
    mtu.onProbeTimeout(1);
    mtu.onProbeTimeout(2);
    expect(mtu.current).toBe(1452);
    mtu.onProbeTimeout(3);
    expect(mtu.current).toBe(MIN_DATAGRAM_SIZE);
    // What was sent before tells nothing of the new size.
    for (let now = 0; now < 10; now++) mtu.onPacketLost(1452, now);
    mtu.onPacketAcked(1200);
    expect(mtu.probeDue(100)).toBe(1452);
  });
});

describe("a path of which the system learns that it carries less", () => {
  it("is not probed above the limit again: what is larger would arrive in fragments", () => {
    const mtu = new PathMtu();
    mtu.onProbeSent(1452);
    mtu.onTooBig(1252);
    mtu.onProbeLost(1452);
    mtu.onPacketAcked(1100);
    expect(search(mtu, 1500)).toEqual([1252]);
    expect([mtu.current, mtu.searching]).toEqual([1252, false]);
  });

  it("gets the size that every path carries, where more had passed before", () => {
    const mtu = found(1500);
    mtu.onTooBig(1200);
    expect(mtu.current).toBe(MIN_DATAGRAM_SIZE);
    mtu.onPacketAcked(1100);
    expect(search(mtu, 1500)).toEqual([]);
    mtu.onProbeAcked(1452);
    expect(mtu.current).toBe(MIN_DATAGRAM_SIZE);
  });
});
