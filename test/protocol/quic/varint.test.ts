/** RFC 9000 App. A.1, and the edges of each length. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  MAX_VARINT,
  OVERSIZED,
  readVarint,
  TRUNCATED,
  varintLength,
  varintSize,
  writeVarint,
  writeVarint2,
} from "../../../src/protocol/quic/varint.ts";

const read = (hex: string): number => {
  const bytes = Buffer.from(hex, "hex");
  return readVarint(bytes, 0, bytes.length);
};

function written(value: number): string {
  const bytes = Buffer.alloc(8);
  return bytes.toString("hex", 0, writeVarint(bytes, 0, value));
}

describe("varint", () => {
  it("reads the samples of RFC 9000 App. A.1, but for the one that no JS number holds", () => {
    expect(read("c2197c5eff14e88c")).toBe(OVERSIZED);
    expect(read("9d7f3e7d")).toBe(494_878_333);
    expect(read("7bbd")).toBe(15_293);
    expect(read("25")).toBe(37);
    expect(read("4025")).toBe(37);
  });

  it.each([
    [0, "00"],
    [63, "3f"],
    [64, "4040"],
    [15_293, "7bbd"],
    [16_383, "7fff"],
    [16_384, "80004000"],
    [494_878_333, "9d7f3e7d"],
    [2 ** 30 - 1, "bfffffff"],
    [2 ** 30, "c000000040000000"],
    [2 ** 32, "c000000100000000"],
    [MAX_VARINT, "c01fffffffffffff"],
  ])("writes %d as %s", (value, hex) => {
    expect(written(value)).toBe(hex);
    expect(read(hex)).toBe(value);
  });

  it("tells what is too large from what is cut off", () => {
    expect(read("c020000000000000")).toBe(OVERSIZED);
    expect(read("ffffffffffffffff")).toBe(OVERSIZED);
    for (const hex of ["", "40", "800000", "c0000000000000"]) expect(read(hex), hex).toBe(TRUNCATED);
  });

  it("reads back what it wrote, at the length it promised", () => {
    const value = fc.oneof(fc.nat(), fc.maxSafeNat());
    fc.assert(
      fc.property(value, fc.nat(3), (value, at) => {
        const bytes = Buffer.alloc(12);
        const end = writeVarint(bytes, at, value);
        expect(end - at).toBe(varintSize(value));
        expect(varintLength(bytes[at] as number)).toBe(end - at);
        expect(readVarint(bytes, at, end)).toBe(value);
        expect(readVarint(bytes, at, end - 1)).toBe(TRUNCATED);
      }),
    );
  });

  it("writes any length below 2^14 in two bytes", () => {
    const bytes = Buffer.alloc(2);
    for (const value of [0, 63, 64, 1300, 16_383]) {
      writeVarint2(bytes, 0, value);
      expect(readVarint(bytes, 0, 2)).toBe(value);
    }
  });
});
