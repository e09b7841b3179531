/** Loss detection, round-trip times, probe timeouts and persistent congestion: RFC 9002 §§ 5, 6, 7.6. */
import { describe, expect, it } from "vitest";
import { TransportError, TransportErrorCode } from "../../../../src/protocol/quic/errors.ts";
import { FIRST_SKIP_PERIOD, MAX_PROBE_TIMEOUT, MAX_REORDERING } from "../../../../src/protocol/quic/limits.ts";
import { Space } from "../../../../src/protocol/quic/packet-number.ts";
import { PathState } from "../../../../src/protocol/quic/recovery/path-state.ts";
import { Lab, MTU } from "./packets.ts";

/** A server whose handshake is confirmed: 1-RTT packets have a probe timeout. */
function confirmed(options: ConstructorParameters<typeof Lab>[0] = {}): Lab {
  const lab = new Lab(options);
  lab.recovery.onHandshakeConfirmed();
  return lab;
}

describe("round-trip time", () => {
  it("takes the first sample as it is, then smooths (§ 5.3)", () => {
    const lab = confirmed();
    const { rtt } = lab.recovery;
    expect([rtt.smoothed, rtt.variance]).toEqual([333, 166.5]);
    lab.roundTrip(100);
    expect([rtt.latest, rtt.min, rtt.smoothed, rtt.variance]).toEqual([100, 100, 100, 50]);
    lab.roundTrip(180);
    // var = 3/4 × 50 + 1/4 × |100 - 180|, smoothed = 7/8 × 100 + 1/8 × 180
    expect([rtt.latest, rtt.min, rtt.smoothed, rtt.variance]).toEqual([180, 100, 110, 57.5]);
  });

  it("takes off the peer's delay, up to what it announced, and not below the minimum", () => {
    const lab = confirmed();
    const { rtt } = lab.recovery;
    lab.recovery.setPeerAckDelay(20);
    lab.roundTrip(100);
    const first = lab.send();
    lab.now += 150;
    lab.ackIn(Space.application, 500, [first, first]);
    expect(rtt.smoothed).toBe(0.875 * 100 + 0.125 * 130);
    const before = rtt.smoothed;
    const second = lab.send();
    lab.now += 110;
    lab.ackIn(Space.application, 15, [second, second]);
    expect(rtt.smoothed).toBe(0.875 * before + 0.125 * 110);
  });

  it("takes no sample where the largest is not newly acknowledged, or nothing needed an answer (§ 5.1)", () => {
    const lab = confirmed();
    lab.roundTrip(50);
    lab.sendMany(3);
    lab.now += 50;
    lab.ack([3, 3]);
    lab.now += 500;
    lab.ack([1, 3]);
    expect(lab.recovery.rtt.latest).toBe(50);
    const padding = lab.send({ ackEliciting: false });
    lab.now += 900;
    lab.ack([padding, padding]);
    expect(lab.recovery.rtt.latest).toBe(50);
    expect(lab.recovery.bytesInFlight).toBe(0);
  });
});

describe("loss", () => {
  it("is what three later packets overtook (§ 6.1.1)", () => {
    const lab = confirmed();
    lab.sendMany(5);
    lab.now += 50;
    lab.ack([2, 2]);
    expect(lab.lost).toEqual([]);
    lab.ack([2, 3]);
    expect([lab.lost, lab.acked]).toEqual([[0], [2, 3]]);
    lab.ack([2, 4]);
    expect(lab.lost).toEqual([0, 1]);
    expect(lab.recovery.bytesInFlight).toBe(0);
  });

  it("is what was overtaken for 9/8 of the round-trip time (§ 6.1.2)", () => {
    const lab = confirmed();
    lab.roundTrip(80);
    const overtaken = lab.send();
    const sentAt = lab.now;
    const newer = lab.send();
    lab.now += 80;
    lab.ack([newer, newer]);
    expect(lab.lost).toEqual([]);
    expect(lab.recovery.deadline()).toBe(sentAt + 90);
    expect(lab.timeout()).toBeUndefined();
    expect(lab.lost).toEqual([overtaken]);
    expect(lab.recovery.deadline()).toBeUndefined();
  });

  it("waits a millisecond at least, however short the path is", () => {
    const lab = confirmed();
    lab.roundTrip(0);
    lab.sendMany(2);
    lab.ack([2, 2]);
    expect(lab.recovery.deadline()).toBe(lab.now + 1);
  });

  it("is found in each space of its own", () => {
    const lab = new Lab();
    lab.send({ space: Space.initial });
    lab.sendMany(5, { space: Space.handshake });
    lab.now += 10;
    lab.ackIn(Space.handshake, 0, [4, 4]);
    expect(lab.lost).toEqual([0, 1]);
    expect(lab.recovery.bytesInFlight).toBe(3 * MTU);
  });

  it("of a probe of the path's MTU leaves the window alone (RFC 9000 § 14.4)", () => {
    const lab = confirmed();
    lab.send({ probe: "mtu" });
    lab.sendMany(3);
    const before = lab.recovery.congestionWindow;
    lab.now += 10;
    lab.ack([1, 3]);
    expect(lab.lost).toEqual([0]);
    expect(lab.recovery.congestionWindow).toBeGreaterThanOrEqual(before);
  });

  it("that was none is tolerated from then on", () => {
    const lab = confirmed();
    lab.roundTrip(50);
    lab.sendMany(8);
    lab.now += 50;
    lab.ack([6, 6]);
    expect(lab.lost).toEqual([1, 2, 3]);
    lab.ack([1, 6]);
    lab.ack([1, 8]);
    const from = lab.recovery.nextPacketNumber(Space.application);
    lab.sendMany(8);
    lab.now += 50;
    lab.ack([from + 5, from + 5], [1, 8]);
    expect(lab.lost).toEqual([1, 2, 3]);
    lab.ack([from + 6, from + 6], [from + 5, from + 5]);
    expect(lab.lost).toEqual([1, 2, 3, from]);
  });

  it("is not put off without end by a peer that feigns lateness", () => {
    const lab = confirmed();
    lab.roundTrip(50);
    for (let round = 0; round < 20; round++) {
      const numbers = lab.sendMany(400);
      lab.now += 50;
      lab.ackEach(numbers.slice(-1));
      lab.ackEach(numbers);
    }
    const numbers = lab.sendMany(MAX_REORDERING + 5);
    lab.now += 50;
    lab.lost.length = 0;
    lab.ackEach(numbers.slice(-1));
    const newest = numbers.at(-1) as number;
    expect(lab.lost).toEqual(numbers.filter((number) => number <= newest - MAX_REORDERING));
  });
});

describe("probe timeout", () => {
  it("is smoothed + 4 × variance + the peer's delay, and doubles (§ 6.2.1)", () => {
    const lab = confirmed();
    lab.recovery.setPeerAckDelay(30);
    lab.roundTrip(100);
    lab.send();
    const sentAt = lab.now;
    expect(lab.recovery.deadline()).toBe(sentAt + 100 + 4 * 50 + 30);
    expect(lab.timeout()).toEqual({ space: Space.application, probes: 2 });
    expect(lab.lost).toEqual([]);
    expect(lab.recovery.deadline()).toBe(sentAt + 2 * 330);
    lab.send({ probe: "pto" });
    expect(lab.recovery.deadline()).toBe(lab.now + 2 * 330);
    lab.now += 50;
    lab.ack([2, 2]);
    lab.send();
    // A new sample, and no back-off any more.
    expect(lab.recovery.deadline()).toBeLessThan(lab.now + 330);
  });

  it("is never longer than a minute", () => {
    const lab = confirmed();
    lab.send();
    for (let i = 0; i < 40; i++) {
      expect(lab.timeout()?.probes).toBe(2);
      lab.send({ probe: "pto" });
      expect((lab.recovery.deadline() as number) - lab.now).toBeLessThanOrEqual(MAX_PROBE_TIMEOUT);
    }
    expect(lab.recovery.deadline()).toBe(lab.now + MAX_PROBE_TIMEOUT);
  });

  it("waits for the confirmed handshake in the application's space, and takes the earliest space", () => {
    const lab = new Lab();
    lab.send();
    expect(lab.recovery.deadline()).toBeUndefined();
    lab.send({ space: Space.handshake });
    lab.now += 5;
    lab.send({ space: Space.initial });
    expect(lab.timeout()).toEqual({ space: Space.handshake, probes: 2 });
  });

  it("comes for a client that a server can't answer (§ 6.2.2.1): in Initial, then in Handshake", () => {
    const lab = new Lab({ role: "client" });
    expect(lab.recovery.deadline()).toBeUndefined();
    lab.roundTrip(100, Space.initial);
    expect(lab.recovery.bytesInFlight).toBe(0);
    const at = lab.now;
    expect(lab.recovery.deadline()).toBe(at + 300);
    expect(lab.timeout()).toEqual({ space: Space.initial, probes: 1 });
    expect(lab.recovery.deadline()).toBe(at + 300 + 600);
    lab.recovery.discardSpace(Space.initial);
    expect(lab.timeout()).toEqual({ space: Space.handshake, probes: 1 });
    lab.roundTrip(100, Space.handshake);
    expect(lab.recovery.deadline()).toBeUndefined();
  });

  it("keeps its back-off for a client whose server may be unable to answer, whatever it acknowledges", () => {
    const lab = new Lab({ role: "client" });
    lab.send({ space: Space.initial });
    lab.timeout();
    const probe = lab.send({ space: Space.initial, probe: "pto" });
    lab.now += 50;
    lab.ackIn(Space.initial, 0, [probe, probe]);
    expect(lab.recovery.probeTimeouts).toBe(1);
    lab.send({ space: Space.handshake });
    lab.now += 50;
    lab.ackIn(Space.handshake, 0, [0, 0]);
    expect(lab.recovery.probeTimeouts).toBe(0);
  });

  it("ends with the keys of its space, and with a Retry; numbers go on (§§ 6.3, 6.4)", () => {
    const lab = new Lab({ role: "client" });
    lab.sendMany(2, { space: Space.initial });
    lab.timeout();
    lab.recovery.onRetry();
    expect([lab.recovery.bytesInFlight, lab.recovery.probeTimeouts]).toEqual([0, 0]);
    expect(lab.send({ space: Space.initial })).toBe(2);
    lab.send({ space: Space.handshake });
    expect(lab.recovery.oldestUnacked(Space.initial)?.packetNumber).toBe(2);
    lab.recovery.discardSpace(Space.initial);
    expect(lab.recovery.oldestUnacked(Space.initial)).toBeUndefined();
    expect(lab.recovery.bytesInFlight).toBe(MTU);
    expect(lab.lost).toEqual([]);
  });
});

describe("persistent congestion (§ 7.6)", () => {
  /** All packets of three probe timeouts (3 × (100 + 150 + 25)) are lost, but for those that `acked` names. */
  function lossOf(duration: number, acked: readonly (readonly [number, number])[] = []): Lab {
    const lab = confirmed();
    lab.roundTrip(100);
    lab.now++;
    for (let i = 0; i <= 10; i++) {
      lab.send();
      lab.now += duration / 10;
    }
    lab.sendMany(3);
    lab.now += 100;
    lab.ack([12, 14], ...acked);
    return lab;
  }

  it("brings the window to its minimum", () => {
    const lab = lossOf(1000);
    expect(lab.lost.length).toBe(11);
    // From there, three packets were acknowledged.
    expect(lab.recovery.congestionWindow).toBe(2 * MTU + 3 * MTU);
  });

  it("is none when the losses span less", () => {
    expect(lossOf(800).recovery.congestionWindow).toBeGreaterThan(5 * MTU);
  });

  it("is none when a packet between them arrived", () => {
    const lab = lossOf(1000, [[6, 6]]);
    expect(lab.lost.length).toBe(10);
    expect(lab.recovery.congestionWindow).toBeGreaterThan(5 * MTU);
  });

  it("is none before the first sample of the round-trip time", () => {
    const lab = confirmed();
    for (let i = 0; i < 20; i++) {
      lab.send();
      lab.now += 500;
    }
    lab.ack([19, 19]);
    expect(lab.lost.length).toBe(19);
    expect(lab.recovery.congestionWindow).toBeGreaterThan(5 * MTU);
  });

  it("forgets the minimum of the round-trip time (§ 5.2)", () => {
    const lab = confirmed();
    lab.roundTrip(10);
    lab.now++;
    for (let i = 0; i < 20; i++) {
      lab.send();
      lab.now += 200;
    }
    lab.ack([20, 20]);
    expect(lab.recovery.rtt.min).toBe(200);
  });
});

describe("hostile acknowledgements", () => {
  const violation = expect.objectContaining({ transportCode: TransportErrorCode.PROTOCOL_VIOLATION });

  it("of what was not sent are a violation, in each space", () => {
    for (const space of [Space.initial, Space.handshake, Space.application] as const) {
      const lab = new Lab();
      lab.send({ space });
      expect(() => lab.ackIn(space, 0, [1, 1])).toThrow(violation);
      expect(() => lab.ackIn(space, 0, [0, 7])).toThrow(TransportError);
      lab.ackIn(space, 0, [0, 0]);
    }
  });

  it("of a number that was skipped are a violation (RFC 9000 § 21.4)", () => {
    const lab = confirmed({ random: (length) => Buffer.alloc(length) });
    const numbers: number[] = [];
    for (let i = 0; i < 5; i++) numbers.push(lab.send());
    expect(numbers).toEqual([0, 2, 4, 6, 8]);
    expect(() => lab.ack([8, 8], [0, 2])).toThrow(violation);
    expect(() => lab.ack([9, 9])).toThrow(violation);
    lab.ack([8, 8], [6, 6], [4, 4], [2, 2], [0, 0]);
    expect(lab.recovery.bytesInFlight).toBe(0);
  });

  it("meet a number that is skipped once within the first packets, and then ever more seldom", () => {
    const lab = confirmed({ random: (length) => Buffer.alloc(length, 0x5a) });
    let skipped = 0;
    let last = -1;
    for (let i = 0; i < FIRST_SKIP_PERIOD + 1; i++) {
      const number = lab.send();
      skipped += number - last - 1;
      last = number;
    }
    expect(skipped).toBeGreaterThan(0);
    for (let i = 0; i < 100_000; i++) {
      const number = lab.send({ inFlight: false, ackEliciting: false });
      skipped += number - last - 1;
      last = number;
    }
    expect(skipped).toBeGreaterThan(3);
    expect(skipped).toBeLessThan(20);
  });

  it("do nothing when they come again", () => {
    const lab = confirmed();
    lab.sendMany(3);
    lab.now += 10;
    lab.ack([0, 2]);
    const window = lab.recovery.congestionWindow;
    lab.now += 500;
    lab.ack([0, 2]);
    expect([lab.acked, lab.recovery.congestionWindow, lab.recovery.rtt.latest]).toEqual([[2, 1, 0], window, 10]);
  });
});

it("keeps its books over a long life with losses in it", () => {
  const lab = confirmed();
  for (let round = 0; round < 500; round++) {
    const numbers = lab.sendMany(20);
    lab.now += 20;
    lab.ackEach(numbers.filter((number) => number % 7 !== 0));
    expect(lab.recovery.bytesInFlight).toBeLessThanOrEqual(3 * MTU);
  }
  const last = lab.sendMany(4);
  lab.now += 20;
  lab.ackEach(last);
  if (lab.recovery.deadline() !== undefined) lab.timeout();
  expect(lab.recovery.bytesInFlight).toBe(0);
  expect(lab.acked.length + lab.lost.length).toBe(500 * 20 + 4);
  expect(new Set([...lab.acked, ...lab.lost]).size).toBe(500 * 20 + 4);
});

it("another path's window grows by what went over it alone (RFC 9000 § 9.4), and the old one is found again as it was left", () => {
  const lab = confirmed();
  lab.roundTrip(100);
  const old = lab.recovery.path;
  const before = lab.sendMany(10);
  const { congestionWindow } = lab.recovery;
  const path = new PathState("new-reno", { initial: MTU });
  lab.recovery.changePath(path);
  expect(lab.recovery).toMatchObject({ bytesInFlight: 0, congestionWindow: 10 * MTU });
  const after = lab.sendMany(10);
  lab.now += 50;
  lab.ackEach(before);
  expect(lab.recovery).toMatchObject({ bytesInFlight: 10 * MTU, congestionWindow: 10 * MTU });
  expect(lab.recovery.rtt.firstSampleAt).toBeUndefined();
  lab.ackEach(after);
  expect(lab.recovery).toMatchObject({ bytesInFlight: 0, congestionWindow: 20 * MTU });
  expect(lab.recovery.rtt.smoothed).toBe(50);
  lab.recovery.changePath(old);
  expect(lab.recovery).toMatchObject({ congestionWindow });
  expect(lab.recovery.rtt.smoothed).toBe(100);
});
