/** Congestion control: RFC 9002 § 7, CUBIC (RFC 9438), HyStart++ (RFC 9406), pacing. */
import { describe, expect, it } from "vitest";
import { MAX_CONGESTION_WINDOW_PACKETS } from "../../../../src/protocol/quic/limits.ts";
import { Space } from "../../../../src/protocol/quic/packet-number.ts";
import {
  type CongestionAlgorithm,
  CongestionController,
} from "../../../../src/protocol/quic/recovery/congestion-controller.ts";
import { Cubic } from "../../../../src/protocol/quic/recovery/cubic.ts";
import { HyStart } from "../../../../src/protocol/quic/recovery/hystart.ts";
import { Pacer } from "../../../../src/protocol/quic/recovery/pacer.ts";
import { Lab, MTU } from "./packets.ts";

const ALGORITHMS: readonly CongestionAlgorithm[] = ["cubic", "new-reno"];

describe.each(ALGORITHMS)("%s", (algorithm) => {
  it("begins with ten datagrams, or 14,720 bytes (RFC 9002 § 7.2)", () => {
    expect(new CongestionController(algorithm, 1200).window).toBe(12_000);
    expect(new CongestionController(algorithm, 1500).window).toBe(14_720);
    expect(new CongestionController(algorithm, 9000).window).toBe(18_000);
  });

  it("doubles in slow start, and goes back to 0.7 at a loss, once for all losses of what was in flight", () => {
    const control = new CongestionController(algorithm, MTU);
    for (let i = 0; i < 10; i++) control.onAcked(MTU, 0, true, 50, 50);
    expect(control.window).toBe(24_000);
    control.onLost(60, 100);
    control.onLost(70, 101);
    control.onLost(100, 102);
    expect(control.window).toBeCloseTo(16_800, 6);
    expect(control.inSlowStart).toBe(false);
    // What was sent before the loss was found does not make it grow.
    control.onAcked(MTU, 100, true, 150, 50);
    expect(control.window).toBeCloseTo(16_800, 6);
    control.onLost(101, 200);
    expect(control.window).toBeCloseTo(11_760, 6);
  });

  it("is never below two datagrams, nor above its bound", () => {
    const control = new CongestionController(algorithm, MTU);
    for (let i = 1; i < 20; i++) control.onLost(i * 10, i * 10 + 5);
    expect(control.window).toBe(2 * MTU);
    control.setMtu(1400);
    expect(control.window).toBe(2800);
    const large = new CongestionController(algorithm, MTU);
    for (let i = 0; i < 12_000; i++) large.onAcked(MTU, i, true, i, 50);
    expect(large.window).toBe(MAX_CONGESTION_WINDOW_PACKETS * MTU);
  });

  it("does not grow while it is not used (RFC 9002 § 7.8)", () => {
    const control = new CongestionController(algorithm, MTU);
    control.onAcked(MTU, 0, false, 50, 50);
    expect(control.window).toBe(12_000);
  });

  it("takes a loss back when all that was lost has arrived", () => {
    const control = new CongestionController(algorithm, MTU);
    for (let i = 0; i < 10; i++) control.onAcked(MTU, 0, true, 50, 50);
    const event = control.onLost(60, 100);
    expect(control.onLost(61, 100)).toBe(event);
    control.onSpuriousLoss(event);
    expect(control.window).toBeLessThan(24_000);
    control.onSpuriousLoss(event);
    expect([control.window, control.inSlowStart]).toEqual([24_000, true]);
    control.onSpuriousLoss(event);
    expect(control.window).toBe(24_000);
  });

  it("takes no older loss back, and none after persistent congestion", () => {
    const control = new CongestionController(algorithm, MTU);
    const first = control.onLost(60, 100);
    const second = control.onLost(110, 200);
    const window = control.window;
    control.onSpuriousLoss(first);
    expect(control.window).toBe(window);
    control.onPersistentCongestion();
    control.onSpuriousLoss(second);
    expect([control.window, control.inSlowStart]).toEqual([2 * MTU, true]);
  });

  it("leaves slow start again where it was reduced to, after persistent congestion", () => {
    const control = new CongestionController(algorithm, MTU);
    for (let i = 0; i < 90; i++) control.onAcked(MTU, 0, true, 50, 50);
    control.onLost(60, 100);
    const threshold = control.window;
    control.onPersistentCongestion();
    for (let i = 0; i < 200 && control.inSlowStart; i++) control.onAcked(MTU, 200, true, 250, 50);
    expect(control.window).toBeCloseTo(threshold, 6);
  });
});

describe("NewReno", () => {
  it("grows by one datagram in a round trip", () => {
    const control = new CongestionController("new-reno", MTU);
    for (let i = 0; i < 90; i++) control.onAcked(MTU, 0, true, 50, 50);
    control.onLost(60, 100);
    const before = control.window;
    for (let acked = 0; acked < before; acked += MTU) control.onAcked(MTU, 200, true, 250, 50);
    expect(control.window / MTU).toBeCloseTo(before / MTU + 1, 1);
  });
});

describe("CUBIC", () => {
  /** The window in datagrams after so many seconds without loss, beginning with a reduction from `packets`. */
  function after(seconds: number, packets: number, rtt: number): number {
    const cubic = new Cubic();
    let window = cubic.reduce(packets * MTU, MTU);
    for (let at = 0; at < seconds * 1000; at += rtt) {
      const acked = window;
      for (let done = 0; done < acked; done += MTU) window = cubic.grow(window, MTU, MTU, at, rtt);
    }
    return window / MTU;
  }

  it("is back at its maximum after K = ∛(Wmax × 0.3 / C) seconds, and flat there (RFC 9438 § 4.2)", () => {
    const k = Math.cbrt((1000 * 0.3) / 0.4);
    expect(after(k, 1000, 100)).toBeGreaterThan(990);
    expect(after(k, 1000, 100)).toBeLessThan(1010);
    expect(after(k / 2, 1000, 100)).toBeGreaterThan(930);
    expect(after(k / 2, 1000, 100)).toBeLessThan(980);
    expect(after(2 * k, 1000, 100)).toBeGreaterThan(1250);
  });

  it("grows at least as Reno with its back-off would, on short paths (§ 4.3)", () => {
    // Half a datagram in a round trip: 0.53 × 200 rounds of 5 ms.
    const grown = after(1, 50, 5);
    expect(grown).toBeGreaterThan(35 + 0.9 * 0.53 * 28);
    // 1 for each once it is where it was before.
    expect(after(4, 50, 5)).toBeGreaterThan(50 + 500);
  });

  it("makes room for others when it did not reach its last maximum (fast convergence, § 4.7)", () => {
    const cubic = new Cubic();
    cubic.reduce(1000 * MTU, MTU);
    let window = cubic.reduce(800 * MTU, MTU);
    expect(window / MTU).toBeCloseTo(560, 6);
    // The curve's origin is 800 × 0.85 = 680 now: flat about there after K.
    const k = Math.cbrt((680 - 560) / 0.4);
    for (let at = 0; at < k * 1000; at += 100) {
      const acked = window;
      for (let done = 0; done < acked; done += MTU) window = cubic.grow(window, MTU, MTU, at, 100);
    }
    expect(window / MTU).toBeGreaterThan(670);
    expect(window / MTU).toBeLessThan(690);
  });

  it("does not count the time in which it was not used (§ 5.8)", () => {
    const cubic = new Cubic();
    let window = cubic.reduce(1000 * MTU, MTU);
    window = cubic.grow(window, MTU, MTU, 0, 100);
    cubic.idle(1);
    const before = window;
    window = cubic.grow(window, MTU, MTU, 60_000, 100);
    expect((window - before) / MTU).toBeLessThan(0.05);
  });
});

describe("HyStart++", () => {
  /** One round of ten samples. */
  function round(hystart: HyStart, at: number, rtt: number): boolean {
    let over = false;
    for (let i = 0; i < 10; i++) over = hystart.onSample(rtt, at, at + rtt + i / 100) || over;
    return over;
  }

  it("slows down when the round-trip time grows by an eighth, and ends slow start after five rounds", () => {
    const hystart = new HyStart();
    let at = 0;
    for (let i = 0; i < 5; i++, at += 100) expect([round(hystart, at, 80), hystart.divisor]).toEqual([false, 1]);
    const results: boolean[] = [];
    for (let i = 0; i < 7; i++, at += 110) results.push(round(hystart, at, 92));
    expect(hystart.divisor).toBe(4);
    expect(results.indexOf(true)).toBe(5);
  });

  it("goes on as before when the growth was a passing one", () => {
    const hystart = new HyStart();
    let at = 0;
    for (let i = 0; i < 3; i++, at += 100) round(hystart, at, 80);
    round(hystart, at, 95);
    expect(hystart.divisor).toBe(4);
    at += 110;
    for (let i = 0; i < 10; i++, at += 100) expect(round(hystart, at, 80)).toBe(false);
    expect(hystart.divisor).toBe(1);
  });

  it("does not mind jitter below 4 ms, nor too few samples", () => {
    const hystart = new HyStart();
    for (let i = 0; i < 20; i++)
      expect([round(hystart, i * 100, 10 + (i % 2) * 3), hystart.divisor]).toEqual([false, 1]);
    const few = new HyStart();
    for (let i = 0; i < 20; i++) few.onSample(10 * (i + 1), i * 1000, i * 1000 + 500);
    expect(few.divisor).toBe(1);
  });
});

describe("pacer", () => {
  it("lets ten datagrams go at once, then 1.25 windows in a round trip", () => {
    const pacer = new Pacer(MTU);
    pacer.setRate(100 * MTU, 100, false);
    expect(pacer.available(0, MTU)).toBe(10 * MTU);
    pacer.onSent(10 * MTU);
    expect(pacer.available(0, MTU)).toBe(0);
    expect(pacer.deadline(MTU)).toBe(1);
    expect(pacer.available(4, MTU)).toBe(5 * MTU);
    pacer.onSent(5 * MTU);
    expect(pacer.available(1000, MTU)).toBe(10 * MTU);
  });

  it("goes on at twice the rate in slow start", () => {
    const pacer = new Pacer(MTU);
    pacer.setRate(100 * MTU, 100, true);
    pacer.available(0, MTU);
    pacer.onSent(10 * MTU);
    expect(pacer.available(4, MTU)).toBe(8 * MTU);
  });

  it("lets as much go at once as timers of a millisecond need", () => {
    const pacer = new Pacer(MTU);
    pacer.setRate(10_000 * MTU, 100, false);
    pacer.available(0, MTU);
    pacer.onSent(10 * MTU);
    expect(pacer.available(50, MTU)).toBe(250 * MTU);
    pacer.setRate(100 * MTU, 0, false);
    expect(pacer.available(51, MTU)).toBeGreaterThan(100 * MTU);
  });

  it("pays for probes later", () => {
    const pacer = new Pacer(MTU);
    pacer.setRate(12 * MTU, 100, false);
    pacer.available(0, MTU);
    pacer.onSent(12 * MTU);
    expect(pacer.deadline(MTU)).toBeCloseTo(20, 6);
  });
});

describe("what may be sent", () => {
  it("is bounded by the window; time alone does not help then", () => {
    const lab = new Lab();
    lab.recovery.onHandshakeConfirmed();
    expect(lab.recovery.sendAllowance(lab.now)).toBe(12_000);
    lab.sendMany(10);
    expect(lab.recovery.sendAllowance(lab.now)).toBe(0);
    expect(lab.recovery.pacingDeadline()).toBeUndefined();
    lab.send({ probe: "pto" });
    expect(lab.recovery.sendAllowance(lab.now + 1000)).toBe(0);
  });

  it("is spread over the round-trip time", () => {
    const lab = new Lab();
    lab.roundTrip(100);
    lab.sendMany(9);
    lab.now += 100;
    lab.ack([1, 9]);
    expect(lab.recovery.congestionWindow).toBeGreaterThan(12_000);
    // 10 at once, then as time goes.
    expect(lab.recovery.sendAllowance(lab.now)).toBeLessThanOrEqual(12_000);
    lab.sendMany(10);
    const at = lab.recovery.pacingDeadline() as number;
    expect(at).toBeGreaterThan(lab.now);
    expect(lab.recovery.sendAllowance(at)).toBeGreaterThanOrEqual(MTU);
  });

  it("grows only for what was tried: not with requests now and then, but with bulk", () => {
    const lab = new Lab();
    for (let i = 0; i < 50; i++) {
      lab.send();
      lab.recovery.onAppLimited();
      lab.now += 50;
      lab.ack([i, i]);
    }
    expect(lab.recovery.congestionWindow).toBe(12_000);
    lab.sendMany(10);
    lab.now += 50;
    lab.ack([50, 59]);
    expect(lab.recovery.congestionWindow).toBe(24_000);
  });

  it("grows where only the pacer kept the window from being used", () => {
    const lab = new Lab();
    lab.roundTrip(100);
    for (let round = 0; round < 20; round++) {
      expect(lab.recovery.sendAllowance(lab.now)).toBeGreaterThan(0);
      const numbers = lab.sendMany(10);
      lab.now += 100;
      lab.ackEach(numbers);
    }
    const before = lab.recovery.congestionWindow;
    expect(before).toBeGreaterThan(100_000);
    lab.recovery.onAppLimited();
    // Ten at once is what the pacer allows; the window would allow many times as much.
    expect(lab.recovery.sendAllowance(lab.now)).toBeLessThan(before / 2);
    const numbers: number[] = [];
    while (lab.recovery.sendAllowance(lab.now) >= MTU) numbers.push(lab.send());
    lab.now += 100;
    lab.ackEach(numbers);
    expect(lab.recovery.congestionWindow).toBeGreaterThan(before);
  });

  it("comes back after reordering that looked like loss", () => {
    const lab = new Lab();
    lab.recovery.onHandshakeConfirmed();
    lab.sendMany(10);
    lab.now += 50;
    lab.ack([5, 9]);
    const reduced = lab.recovery.congestionWindow;
    expect(lab.lost).toEqual([0, 1, 2, 3, 4]);
    lab.now += 5;
    lab.ack([0, 9]);
    expect(lab.recovery.congestionWindow).toBeGreaterThan(reduced);
    expect(lab.recovery.bytesInFlight).toBe(0);
    expect(lab.recovery.nextPacketNumber(Space.application)).toBe(10);
  });
});
