import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CapnpError } from "../../../src/protocol/capnp/errors.ts";
import { FrameSplitter } from "../../../src/protocol/capnp/frame.ts";
import { framesOf, message, segments } from "./frames.ts";

const ROOT = "0000000000000100";
const WORD = "1122334455667788";
const stream = JSON.parse(
  readFileSync(new URL("../../fixtures/capnp/control-stream.json", import.meta.url), "utf8"),
) as { hex: string }[];

function header(...words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word >>> 0, i * 4);
  return bytes;
}

function fault(bytes: Uint8Array, maxBytes = 1024): unknown {
  try {
    framesOf([bytes], maxBytes);
  } catch (error) {
    return error instanceof CapnpError ? error.fault : error;
  }
  return undefined;
}

describe("FrameSplitter", () => {
  it("finds every message of a stream, wherever it is cut in two", () => {
    const bytes = Buffer.concat(stream.map(({ hex }) => Buffer.from(hex, "hex")));
    const expected = stream.map(({ hex }) => hex).join();
    for (let cut = 0; cut <= bytes.length; cut++) {
      const frames = framesOf([bytes.subarray(0, cut), bytes.subarray(cut)]);
      expect(frames.map((frame) => frame.toString("hex")).join()).toBe(expected);
    }
  });

  it("finds them byte by byte, and all in one chunk", () => {
    const messages = [message(ROOT, WORD), segments([ROOT], [], [WORD, WORD]), message(ROOT)];
    const bytes = Buffer.concat(messages);
    expect(framesOf(Array.from(bytes, (byte) => Buffer.from([byte])))).toStrictEqual(messages);
    expect(framesOf([bytes])).toStrictEqual(messages);
  });

  it("leaves what follows the message, for a stream that goes on with other bytes", () => {
    const splitter = new FrameSplitter(1024);
    const bytes = Buffer.concat([message(ROOT, WORD), Buffer.from("payload")]);
    expect(splitter.next(bytes.subarray(0, 10), 0)).toStrictEqual({ end: 10, frame: undefined });
    expect(splitter.partial).toBe(true);
    const { end, frame } = splitter.next(bytes, 10);
    expect(frame?.bytes).toStrictEqual(message(ROOT, WORD));
    expect(bytes.subarray(end).toString()).toBe("payload");
    expect(splitter.partial).toBe(false);
  });

  it("says where the segments stand", () => {
    const splitter = new FrameSplitter(1024);
    const { frame } = splitter.next(segments([ROOT], [], [WORD, WORD]), 0);
    expect(frame?.segments).toStrictEqual([
      { start: 16, end: 24 },
      { start: 24, end: 24 },
      { start: 24, end: 40 },
    ]);
  });

  it.each([0, 1, 4, 7, 8, 15])("waits when only %i bytes of a message have come", (length) => {
    const splitter = new FrameSplitter(1024);
    const bytes = message(ROOT, WORD).subarray(0, length);
    expect(splitter.next(bytes, 0)).toStrictEqual({ end: length, frame: undefined });
    expect(splitter.partial).toBe(length > 0);
  });

  it.each([
    ["2^32 segments", header(0xffffffff)],
    ["2^32 - 1 segments", header(0xfffffffe)],
    ["33,554,432 segments", header(33_554_431)],
    ["513 segments", header(512)],
    ["a segment of 2^32 - 1 words", header(0, 0xffffffff)],
    ["512 segments of 2^32 - 1 words", header(511, ...Array.from({ length: 513 }, () => 0xffffffff))],
    ["segments whose sum is over the cap", header(1, 100, 100, 0)],
  ])("refuses %s before it allocates anything", (_, bytes) => {
    const before = process.memoryUsage().arrayBuffers;
    expect(fault(bytes)).toBe("limit");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });

  it("refuses the same when the header comes byte by byte", () => {
    const splitter = new FrameSplitter(1024);
    for (const byte of [0, 0, 0, 0, 0xff, 0xff, 0xff]) splitter.next(Buffer.from([byte]), 0);
    expect(() => splitter.next(Buffer.from([0xff]), 0)).toThrow(CapnpError);
  });

  it("takes 512 segments, and refuses an empty first one", () => {
    const many = segments([ROOT], ...Array.from({ length: 511 }, () => []));
    expect(framesOf([many], 4096)).toStrictEqual([many]);
    expect(fault(header(0, 0))).toBe("malformed");
    expect(fault(segments([], [ROOT]))).toBe("malformed");
  });

  it("takes a message as long as the cap, and none longer", () => {
    const longest = message(...Array.from({ length: 127 }, () => ROOT));
    expect(framesOf([longest], 1024)).toStrictEqual([longest]);
    expect(fault(message(...Array.from({ length: 128 }, () => ROOT)))).toBe("limit");
  });

  it("grows with what arrives and not with what is promised", () => {
    const splitter = new FrameSplitter(16 * 1024 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    splitter.next(header(0, 2 ** 20), 0);
    for (let i = 0; i < 100; i++) splitter.next(Buffer.alloc(100), 0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });
});
