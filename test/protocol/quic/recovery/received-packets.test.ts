/** What is acknowledged and when: RFC 9000 § 13.2. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readFrames } from "../../../../src/protocol/quic/frame-reader.ts";
import { FrameWriter } from "../../../../src/protocol/quic/frame-writer.ts";
import { MAX_RECEIVED_RANGES } from "../../../../src/protocol/quic/limits.ts";
import { type PacketNumberSpace, Space } from "../../../../src/protocol/quic/packet-number.ts";
import { ReceivedPackets } from "../../../../src/protocol/quic/recovery/received-packets.ts";
import { FrameRecorder } from "../frames.ts";

const PARAMETERS = { maxAckDelay: 26, ackDelayExponent: 3 };

const tracker = (space: PacketNumberSpace = Space.application): ReceivedPackets =>
  new ReceivedPackets(space, PARAMETERS);

interface Acknowledgement {
  readonly ranges: readonly (readonly [number, number])[];
  readonly delay: number;
}

/** The ACK frame that is written, read again. */
function ackOf(received: ReceivedPackets, now: number, room = 1000): Acknowledgement | undefined {
  const writer = new FrameWriter(Buffer.alloc(room));
  writer.begin(0, room);
  const largest = received.write(writer, now);
  if (largest < 0) {
    expect(writer.at).toBe(0);
    return undefined;
  }
  const recorder = new FrameRecorder();
  readFrames(writer.buffer.subarray(0, writer.at), Space.application, "client", recorder, new Float64Array(64));
  const [name, told, delay, bounds] = recorder.frames[0] as [string, number, number, number[]];
  expect([name, told]).toEqual(["ack", largest]);
  const ranges = Array.from(
    { length: bounds.length / 2 },
    (_, i) => [bounds[2 * i] as number, bounds[2 * i + 1] as number] as const,
  );
  return { ranges, delay };
}

describe("when", () => {
  it("is after the second packet, or what we announced less what timers are late", () => {
    const received = tracker();
    received.onPacket(0, true, 100);
    expect([received.ackDue(100), received.ackDeadline()]).toEqual([false, 125]);
    expect([received.ackDue(124), received.ackDue(125)]).toEqual([false, true]);
    received.onPacket(1, true, 110);
    expect([received.ackDue(110), received.ackDeadline()]).toEqual([true, 110]);
    expect(ackOf(received, 110)?.ranges).toEqual([[0, 1]]);
    expect([received.ackDue(500), received.ackDeadline()]).toEqual([false, undefined]);
    received.onPacket(2, true, 600);
    expect(received.ackDue(600)).toBe(false);
  });

  it("is at once for Initial and Handshake packets", () => {
    for (const space of [Space.initial, Space.handshake] as const) {
      const received = tracker(space);
      received.onPacket(0, true, 100);
      expect(received.ackDue(100)).toBe(true);
    }
  });

  it("is at once for a packet behind a gap, and for one that fills it", () => {
    const received = tracker();
    received.onPacket(0, true, 100);
    ackOf(received, 100);
    received.onPacket(2, true, 101);
    expect(received.ackDue(101)).toBe(true);
    ackOf(received, 101);
    received.onPacket(1, true, 102);
    expect(received.ackDue(102)).toBe(true);
  });

  it("is never for packets that need none, which are told of with the next that does", () => {
    const received = tracker();
    for (let i = 0; i < 10; i++) received.onPacket(2 * i, false, 100);
    expect(received.ackDeadline()).toBeUndefined();
    expect(ackOf(received, 200)).toBeUndefined();
    received.onPacket(19, true, 200);
    expect(ackOf(received, 200)?.ranges).toHaveLength(10);
  });
});

describe("what", () => {
  it("is the delay since the largest arrived, in the announced unit", () => {
    const received = tracker();
    received.onPacket(5, true, 100);
    received.onPacket(4, true, 110);
    expect(ackOf(received, 120)?.delay).toBe(20_000 / 8);
  });

  it("waits for the next packet where it does not fit", () => {
    const received = tracker();
    received.onPacket(0, true, 100);
    expect(ackOf(received, 100, 4)).toBeUndefined();
    expect(received.ackDeadline()).toBeDefined();
    expect(ackOf(received, 100)?.ranges).toEqual([[0, 0]]);
  });

  it("is every packet that came, once, whatever their order", () => {
    const order = fc.shuffledSubarray(
      Array.from({ length: 60 }, (_, i) => i),
      { minLength: 1, maxLength: 60 },
    );
    fc.assert(
      fc.property(order, (numbers) => {
        const received = tracker();
        const had = new Set<number>();
        for (const number of numbers) {
          expect(received.isDuplicate(number)).toBe(false);
          received.onPacket(number, true, 0);
          had.add(number);
          expect(received.isDuplicate(number)).toBe(true);
        }
        const ranges = ackOf(received, 0)?.ranges ?? [];
        const told = ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
        expect(new Set(told)).toEqual(had);
        expect(told).toHaveLength(had.size);
        expect(received.largest).toBe(Math.max(...numbers));
        for (let i = 1; i < ranges.length; i++) {
          expect((ranges[i]?.[1] as number) + 1).toBeLessThan(ranges[i - 1]?.[0] as number);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("is not more than 32 ranges; what is below is forgotten, and not taken in any more", () => {
    const received = tracker();
    for (let i = 0; i < 100; i++) received.onPacket(2 * i, true, 0);
    const ranges = ackOf(received, 0)?.ranges ?? [];
    expect(ranges).toHaveLength(MAX_RECEIVED_RANGES);
    expect(ranges[0]).toEqual([198, 198]);
    expect(ranges.at(-1)).toEqual([136, 136]);
    expect([received.isDuplicate(1), received.isDuplicate(133), received.isDuplicate(134)]).toEqual([true, true, true]);
    expect([received.isDuplicate(135), received.isDuplicate(137)]).toEqual([false, false]);
  });

  it("is told until the peer has an ACK of it; what comes late is told all the same", () => {
    const received = tracker();
    for (const number of [0, 2, 4, 6]) received.onPacket(number, true, 0);
    expect(ackOf(received, 0)?.ranges).toHaveLength(4);
    received.onAckOfAck(4);
    received.onPacket(8, true, 0);
    expect(ackOf(received, 0)?.ranges).toEqual([
      [8, 8],
      [6, 6],
    ]);
    received.onAckOfAck(8);
    expect([received.isDuplicate(3), received.isDuplicate(4)]).toEqual([false, true]);
    received.onPacket(3, true, 0);
    expect(ackOf(received, 0)?.ranges).toEqual([
      [8, 8],
      [6, 6],
      [2, 4],
    ]);
  });
});
