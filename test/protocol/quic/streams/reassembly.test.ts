import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MERGED_PIECE_SIZE } from "../../../../src/protocol/quic/limits.ts";
import { Reassembly } from "../../../../src/protocol/quic/streams/reassembly.ts";

describe("reassembly", () => {
  it("puts overlapping pieces together in any order", () => {
    const content = Buffer.from(Array.from({ length: 200 }, (_, i) => i));
    const frame = fc.record({ at: fc.nat(199), length: fc.integer({ min: 1, max: 40 }) });
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 40 }), (frames) => {
        const pieces = new Reassembly();
        const have = new Set<number>();
        for (const { at, length } of frames) {
          const bytes = content.subarray(at, at + length);
          const before = have.size;
          for (let i = at; i < at + bytes.length; i++) have.add(i);
          expect(pieces.insert(at, bytes)).toBe(have.size - before);
        }
        const sorted = [...have].sort((a, b) => a - b);
        let taken = 0;
        for (let at = 0; at < 200; at++) {
          const piece = pieces.take(at);
          if (piece === undefined) {
            expect(have.has(at)).toBe(false);
            continue;
          }
          expect(piece).toEqual(content.subarray(at, at + piece.length));
          taken += piece.length;
          at += piece.length - 1;
        }
        expect(taken).toBe(sorted.length);
        expect(pieces.count).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("copies: what the packet's buffer becomes later does not matter", () => {
    const bytes = Buffer.from("before");
    const pieces = new Reassembly();
    pieces.insert(3, bytes);
    bytes.fill(0);
    expect(pieces.take(3)?.toString()).toBe("before");
  });

  it("does not keep an object for each 1-byte frame behind a gap", () => {
    const pieces = new Reassembly();
    for (let i = 1; i <= 100_000; i++) pieces.insert(i, Buffer.from([i]));
    expect(pieces.count).toBeLessThanOrEqual(Math.ceil(100_000 / MERGED_PIECE_SIZE) + 1);
  });

  it("gives what of a piece is not known yet", () => {
    const pieces = new Reassembly();
    pieces.insert(2, Buffer.from("cdef"));
    expect(pieces.take(1)).toBeUndefined();
    expect(pieces.take(4)?.toString()).toBe("ef");
    pieces.insert(8, Buffer.from("ij"));
    expect(pieces.take(50)?.length).toBe(0);
  });
});
