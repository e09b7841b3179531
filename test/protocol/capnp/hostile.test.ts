/** Messages that were made to hurt: each is a CapnpError, and cheap. */
import { describe, expect, it } from "vitest";
import { connectRequestType } from "../../../src/protocol/capnp/connect.ts";
import { CapnpError } from "../../../src/protocol/capnp/errors.ts";
import { MAX_CONNECT_MESSAGE_BYTES } from "../../../src/protocol/capnp/limits.ts";
import { decodeMessage, readRoot, type StructReader } from "../../../src/protocol/capnp/reader.ts";
import { clientInfoType } from "../../../src/protocol/capnp/registration.ts";
import type { StructType } from "../../../src/protocol/capnp/struct-type.ts";
import { frameOf, message, segments } from "./frames.ts";

const LARGE = 64 * 1024 * 1024;
const GROWTH = 20 * 1024 * 1024;
const ZERO = "0000000000000000";
/** Root of ConnectRequest: its data word, then dest, then metadata. */
const ROOT = "0000000001000200";

/** A pointer word: its low and its high half. */
function pointer(lo: number, hi: number): string {
  const word = Buffer.alloc(8);
  word.writeUInt32LE(lo >>> 0, 0);
  word.writeUInt32LE(hi >>> 0, 4);
  return word.toString("hex");
}
const struct = (offset: number, dataWords: number, pointers: number): string =>
  pointer(offset << 2, dataWords | (pointers << 16));
const list = (offset: number, size: number, count: number): string => pointer((offset << 2) | 1, (count << 3) | size);
const far = (segment: number, pad: number, double = false): string =>
  pointer((pad << 3) | (double ? 4 : 0) | 2, segment);
const tag = (count: number, dataWords: number, pointers: number): string =>
  pointer(count << 2, dataWords | (pointers << 16));

function faultOf<T>(type: StructType<T>, bytes: Uint8Array): string | undefined {
  const before = process.memoryUsage();
  let fault: string | undefined;
  try {
    decodeMessage(type, frameOf(bytes, LARGE));
  } catch (error) {
    if (!(error instanceof CapnpError)) throw error;
    fault = error.fault;
  }
  const after = process.memoryUsage();
  expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(GROWTH);
  return fault;
}

const refused = (bytes: Uint8Array): void => expect(faultOf(connectRequestType, bytes)).toBeTypeOf("string");
/** A ConnectRequest whose dest, or whose metadata, is this pointer, with these words behind it. */
const dest = (at: string, ...words: string[]): Buffer => message(ROOT, ZERO, at, ZERO, ...words);
const metadata = (at: string, ...words: string[]): Buffer => message(ROOT, ZERO, ZERO, at, ...words);

describe("roots", () => {
  it.each([
    ["a list", message(list(0, 2, 8), ZERO)],
    ["a capability", message(pointer(3, 0))],
    ["out of bounds", message(struct(1, 1, 0), ZERO)],
    ["at the largest negative offset", message(pointer(0x80000000, 1), ZERO)],
    ["before the segment", message(struct(-2, 1, 0), ZERO)],
    ["itself, as a struct that is itself again", message(struct(-1, 0, 1))],
    ["65,535 + 65,535 words", message(struct(0, 0xffff, 0xffff), ZERO)],
    ["of an unknown kind", message(pointer(7, 1))],
  ])("%s", (name, bytes) => {
    // A struct at itself is in bounds: its one pointer, the dest, is then a struct where a text is expected.
    expect(faultOf(connectRequestType, bytes), name).toBe("malformed");
  });

  it("smaller than the schema: fine, with defaults", () => {
    expect(faultOf(connectRequestType, message(struct(0, 1, 0), "0200000000000000"))).toBeUndefined();
    expect(faultOf(connectRequestType, message(struct(-1, 0, 0)))).toBeUndefined();
  });
});

describe("far pointers", () => {
  it.each([
    ["to itself", segments([far(0, 0)])],
    ["a loop of two", segments([far(1, 0)], [far(0, 0)])],
    ["to a missing segment", segments([far(1, 0)])],
    ["to a pad out of bounds", segments([far(1, 1)], [ZERO])],
    ["to a pad far out of bounds", segments([far(1, 0x1fffffff)], [ZERO])],
    ["to a pad that leads out of its segment", segments([far(1, 0)], [struct(1, 1, 0), ZERO])],
    ["double: the pad is cut", segments([far(1, 0, true)], [far(2, 0)], [ZERO])],
    ["double: the pad is no far pointer", segments([far(1, 0, true)], [struct(0, 1, 0), struct(0, 1, 0)], [ZERO])],
    ["double: to a double far", segments([far(1, 0, true)], [far(2, 0, true), struct(0, 1, 0)], [ZERO, ZERO])],
    ["double: to itself", segments([far(0, 0, true), struct(0, 1, 0)])],
    ["double: to a missing segment", segments([far(1, 0, true)], [far(9, 0), struct(0, 1, 0)])],
    ["double: beyond the end of its segment", segments([far(1, 0, true)], [far(2, 2), struct(0, 0, 0)], [ZERO])],
    ["double: a tag whose offset is not 0", segments([far(1, 0, true)], [far(2, 0), struct(1, 1, 0)], [ZERO, ZERO])],
    ["double: a tag that is a capability", segments([far(1, 0, true)], [far(2, 0), pointer(3, 0)], [ZERO])],
    ["double: content that ends outside", segments([far(1, 0, true)], [far(2, 0), struct(0, 2, 0)], [ZERO])],
  ])("%s", (name, bytes) => expect(faultOf(connectRequestType, bytes), name).toBe("malformed"));
});

describe("text", () => {
  it.each([
    ["of 2^29 - 1 bytes", dest(list(1, 2, 0x1fffffff), ZERO)],
    ["of length 0", dest(list(1, 2, 0), ZERO)],
    ["without NUL", dest(list(1, 2, 8), "4141414141414141")],
    ["as a struct", dest(struct(1, 1, 0), ZERO)],
    ["as a capability", dest(pointer(3, 0))],
    ["as a list of words", dest(list(1, 5, 1), ZERO)],
    ["as a list of bits", dest(list(1, 1, 8), ZERO)],
    ["as a composite list", dest(list(1, 7, 1), tag(1, 1, 0), ZERO)],
    ["before the segment", dest(list(-4, 2, 8))],
  ])("%s", (name, bytes) => expect(faultOf(connectRequestType, bytes), name).toBe("malformed"));

  it("that is not UTF-8 is fine", () => {
    expect(faultOf(connectRequestType, dest(list(1, 2, 8), "fffefdfcfbfaf900"))).toBeUndefined();
  });
});

describe("lists", () => {
  it.each([
    ["of bits", metadata(list(0, 1, 8), ZERO)],
    ["of 2^29 - 1 voids", metadata(list(0, 0, 0x1fffffff))],
    ["of 4,000,000 voids", metadata(list(0, 0, 4_000_000))],
    ["of 2^29 - 1 structs of no bytes", metadata(list(0, 7, 0), tag(0x1fffffff, 0, 0))],
    ["of 2,000,000 structs of no bytes", metadata(list(0, 7, 0), tag(2_000_000, 0, 0))],
    ["with more elements than words", metadata(list(0, 7, 2), tag(2, 0, 2), ZERO, ZERO)],
    ["with a negative count", metadata(list(0, 7, 2), tag(-1, 0, 1), ZERO, ZERO)],
    ["whose tag is a list pointer", metadata(list(0, 7, 2), list(0, 0, 1), ZERO, ZERO)],
    ["whose words end outside", metadata(list(0, 7, 3), tag(1, 0, 2), ZERO, ZERO)],
    ["whose tag stands outside", metadata(list(0, 7, 0))],
    ["that is a struct", metadata(struct(0, 0, 2), ZERO, ZERO)],
    ["that is at itself", metadata(list(-1, 7, 0))],
    ["of 65,535 / 65,535 words", metadata(list(0, 7, 1), tag(1, 0xffff, 0xffff), ZERO)],
    ["of 2^29 - 1 words", metadata(list(0, 7, 0x1fffffff), tag(1, 0, 2), ZERO, ZERO)],
  ])("%s", (_, bytes) => refused(bytes));

  it.each([
    ["of 2^29 - 1 texts", list(3, 6, 0x1fffffff)],
    ["of 50 texts in the room of two", list(3, 6, 50)],
    ["of voids", list(3, 0, 100)],
    ["of structs", list(3, 7, 1)],
    ["that is a struct", struct(3, 1, 0)],
  ])("of texts: %s", (name, at) => {
    expect(faultOf(clientInfoType, message(struct(0, 0, 4), ZERO, at, ZERO, ZERO, ZERO)), name).toBeTypeOf("string");
  });

  it("of more elements than any real one has, in a message large enough for them", () => {
    const words = Array.from({ length: 200_000 }, () => ZERO);
    const structs = segments([ROOT, ZERO, ZERO, list(0, 7, 0), tag(400_000, 0, 0)].concat(words));
    expect(faultOf(connectRequestType, structs)).toBe("limit");
    const texts = segments([struct(0, 0, 4), ZERO, list(2, 6, 199_000), ZERO, ZERO].concat(words));
    expect(faultOf(clientInfoType, texts)).toBe("limit");
  });
});

describe("a struct read over and over", () => {
  const reads = (bytes: Buffer, read: (struct: StructReader) => unknown): (() => void) => {
    const root = readRoot(frameOf(bytes));
    return () => {
      for (let i = 0; i < 100; i++) read(root);
    };
  };
  const filler = Array.from({ length: 1000 }, () => ZERO);

  it("is charged by its words, or one when it has none", () => {
    expect(reads(message(struct(0, 0, 1), struct(0, 1000, 0), ...filler), (root) => root.struct(0))).toThrow(
      CapnpError,
    );
    const empty = message(struct(0, 0, 1), struct(-1, 0, 0));
    expect(reads(empty, (root) => root.struct(0))).toThrow(CapnpError);
  });

  it("is charged for lists of texts", () => {
    const bytes = message(struct(0, 0, 1), list(0, 6, 1000), ...filler);
    expect(reads(bytes, (root) => root.texts(0))).toThrow(CapnpError);
  });
});

describe("aliasing: many pointers to one large text", () => {
  /** Metadata of `count` entries, each of which has the text of `bytes` bytes behind the list as its key. */
  function aliased(count: number, bytes: number): Buffer {
    const words = [ROOT, ZERO, ZERO, list(0, 7, 2 * count), tag(count, 0, 2)];
    const text = 1 + 4 + 2 * count;
    for (let i = 0; i < count; i++) words.push(list(text - words.length - 1, 2, bytes), ZERO);
    return segments(words.concat(Array.from({ length: bytes / 8 }, () => ZERO)));
  }

  it("is read when it comes to little", () => {
    expect(faultOf(connectRequestType, aliased(3, 64))).toBeUndefined();
  });

  it("4,000 × 32 KiB", () => expect(faultOf(connectRequestType, aliased(4_000, 32 * 1024))).toBe("limit"));

  it("30,000 × 512 KiB, as much as a request may hold", () => {
    const bytes = aliased(30_000, 512 * 1024);
    expect(bytes.length).toBeLessThan(MAX_CONNECT_MESSAGE_BYTES);
    expect(faultOf(connectRequestType, bytes)).toBe("limit");
  });

  it("60,000 × 512 KiB", () => expect(faultOf(connectRequestType, aliased(60_000, 512 * 1024))).toBe("limit"));
});
