/** RFC 9000 App. A.2 and A.3. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodePacketNumber,
  MAX_PACKET_NUMBER,
  packetNumberLength,
  readTruncatedPacketNumber,
  writePacketNumber,
} from "../../../src/protocol/quic/packet-number.ts";

describe("packet numbers", () => {
  it("are sent as long as RFC 9000 App. A.2 has them", () => {
    expect(packetNumberLength(0xac5c02, 0xabe8b3)).toBe(2);
    expect(packetNumberLength(0xace8fe, 0xabe8b3)).toBe(3);
    expect(packetNumberLength(0, -1)).toBe(1);
    expect(packetNumberLength(127, -1)).toBe(1);
    expect(packetNumberLength(128, -1)).toBe(2);
  });

  it("are decoded as RFC 9000 App. A.3 has it", () => {
    expect(decodePacketNumber(0xa82f30ea, 0x9b32, 2)).toBe(0xa82f9b32);
  });

  it("begin at 0, and don't pass the last one", () => {
    expect(decodePacketNumber(-1, 0, 1)).toBe(0);
    expect(decodePacketNumber(-1, 0xff, 1)).toBe(0xff);
    expect(decodePacketNumber(254, 1, 1)).toBe(257);
    expect(decodePacketNumber(MAX_PACKET_NUMBER - 1, 0, 4)).toBeLessThanOrEqual(MAX_PACKET_NUMBER);
  });

  it("come back whole, whatever was acknowledged, within half of what the bytes tell apart", () => {
    const bytes = Buffer.alloc(4);
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 30 }).map((n) => n * 2 ** 20),
        fc.nat(0x7fff_ffff),
        fc.nat(0xffff),
        (base, ahead, seen) => {
          const largestAcked = base - 1;
          const packetNumber = base + ahead;
          // The receiver has seen what it acknowledged, and perhaps more, but not this one.
          const largest = Math.min(largestAcked + seen, packetNumber - 1);
          const length = packetNumberLength(packetNumber, largestAcked);
          writePacketNumber(bytes, 0, packetNumber, length);
          expect(decodePacketNumber(largest, readTruncatedPacketNumber(bytes, 0, length), length)).toBe(packetNumber);
        },
      ),
    );
  });
});
