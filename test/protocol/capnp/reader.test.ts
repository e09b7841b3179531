import { describe, expect, it } from "vitest";
import { connectRequestType, metadataType } from "../../../src/protocol/capnp/connect.ts";
import { decodeMessage, readRoot, type StructReader } from "../../../src/protocol/capnp/reader.ts";
import {
  connectionErrorType,
  connectionOptionsType,
  connectionResponseType,
} from "../../../src/protocol/capnp/registration.ts";
import { registerUdpSessionParamsType } from "../../../src/protocol/capnp/session.ts";
import { encodeMessage, type StructWriter, type StructWriting } from "../../../src/protocol/capnp/writer.ts";
import { frameOf, message, segments } from "./frames.ts";

function read(bytes: Uint8Array): StructReader {
  return readRoot(frameOf(bytes));
}

function written(dataWords: number, pointers: number, write: (struct: StructWriter) => void): Buffer {
  const type: StructWriting<undefined> = { dataWords, pointers, write };
  return encodeMessage(type, undefined);
}

describe("reading", () => {
  it("takes scalars from their place, little-endian, signed and unsigned", () => {
    const root = read(message("0000000002000000", "f1f2f3f4f5f6f7f8", "0100000000000080"));
    expect(root.uint8(0)).toBe(0xf1);
    expect(root.uint16(2)).toBe(0xf4f3);
    expect(root.uint32(4)).toBe(0xf8f7f6f5);
    expect(root.int32(4)).toBe(0xf8f7f6f5 - 2 ** 32);
    expect(root.uint64(8)).toBe(0x8000000000000001n);
    expect(root.int64(8)).toBe(0x8000000000000001n - 2n ** 64n);
    expect([root.bit(64), root.bit(65), root.bit(127)]).toStrictEqual([true, false, true]);
  });

  it("reads fields that an older peer does not have as defaults", () => {
    const empty = read(message("0000000000000000"));
    expect([empty.uint8(0), empty.uint16(0), empty.uint32(0), empty.int32(0)]).toStrictEqual([0, 0, 0, 0]);
    expect([empty.uint64(0), empty.int64(0), empty.bit(7), empty.has(0)]).toStrictEqual([0n, 0n, false, false]);
    expect([empty.text(0), empty.texts(0), empty.array(0, connectRequestType)]).toStrictEqual(["", [], []]);
    expect(empty.data(0)).toStrictEqual(new Uint8Array(0));
    expect(empty.capability(0)).toBeUndefined();
    expect(empty.struct(3).text(9)).toBe("");
    expect(decodeMessage(connectRequestType, frameOf(message("0000000000000000")))).toStrictEqual({
      dest: "",
      type: 0,
      metadata: [],
    });
    // ConnectionError with one data word: retryAfter is there, shouldRetry is not.
    const older = written(1, 1, (struct) => {
      struct.int64(0, 7n);
      struct.text(0, "old");
    });
    expect(decodeMessage(connectionErrorType, frameOf(older))).toStrictEqual({
      cause: "old",
      retryAfter: 7n,
      shouldRetry: false,
    });
  });

  it("takes no pointer for a field that an older struct has not", () => {
    const older = written(1, 3, (struct) => {
      struct.uint16(0, 53);
      struct.data(0, new Uint8Array(16));
    });
    expect(decodeMessage(registerUdpSessionParamsType, frameOf(older))).toMatchObject({
      dstPort: 53,
      closeAfterIdleHint: 0n,
    });
  });

  it("passes over fields of a newer peer", () => {
    const newer = written(4, 3, (struct) => {
      struct.int64(0, 7n);
      struct.uint64(24, 0xffffffffffffffffn);
      struct.text(0, "new");
      struct.text(2, "unheard of");
    });
    expect(decodeMessage(connectionErrorType, frameOf(newer))).toStrictEqual({
      cause: "new",
      retryAfter: 7n,
      shouldRetry: false,
    });
  });

  it("takes lists of no elements of any size as empty, also of pointers and of bits", () => {
    for (const size of [0, 1, 2, 3, 4, 5, 6]) {
      const root = read(message("0000000000000100", `010000000${size}000000`));
      expect(root.texts(0)).toStrictEqual([]);
      expect(root.list(0).count).toBe(0);
      expect(root.data(0)).toStrictEqual(new Uint8Array(0));
    }
  });

  it("reads elements of a list that an older or a newer peer wrote", () => {
    const older: StructWriting<string> = { dataWords: 0, pointers: 1, write: (struct, key) => struct.text(0, key) };
    const newer: StructWriting<string> = {
      dataWords: 1,
      pointers: 3,
      write(struct, key) {
        struct.uint64(0, 0xffffffffffffffffn);
        struct.text(2, "unheard of");
        struct.text(0, key);
      },
    };
    const keys = ["a", "b"];
    const expected = keys.map((key) => ({ key, val: "" }));
    for (const element of [older, newer])
      expect(read(written(0, 1, (struct) => struct.array(0, element, keys))).array(0, metadataType)).toStrictEqual(
        expected,
      );
  });

  it("decodes UTF-8 without dropping a byte order mark, and with U+FFFD for what is none", () => {
    const text = (bytes: string, count: number): string =>
      read(
        message("0000000000000100", `01000000${((count << 3) | 2).toString(16).padStart(2, "0")}000000`, bytes),
      ).text(0);
    expect(text("efbbbf4100000000", 5)).toBe("\ufeffA");
    expect(text("f09f9a8700000000", 5)).toBe("\u{1f687}");
    expect(text("4100420000000000", 4)).toBe("A\0B");
    expect(text("ff41fe0000000000", 4)).toBe("\ufffdA\ufffd");
  });

  it("gives data that outlives its frame", () => {
    const bytes = written(0, 1, (struct) => struct.data(0, Uint8Array.from([1, 2, 3])));
    const data = read(bytes).data(0);
    bytes.fill(0);
    expect(data).toStrictEqual(Uint8Array.from([1, 2, 3]));
  });

  it("follows far pointers: to a pad before its content, and double ones to a segment without room", () => {
    const far = segments(["0200000001000000"], ["0000000001000000", "2a00000000000000"]);
    expect(read(far).uint8(0)).toBe(42);
    const doubleFar = segments(["0600000001000000"], ["0200000002000000", "0000000001000000"], ["2a00000000000000"]);
    expect(read(doubleFar).uint8(0)).toBe(42);
    const doubleFarText = segments(
      ["0000000000000100", "0600000001000000"],
      ["0200000002000000", "010000001a000000"],
      ["6869000000000000"],
    );
    expect(read(doubleFarText).text(0)).toBe("hi");
  });

  it("nests as deep as 32 structs and no deeper", () => {
    const chain = (length: number): Buffer =>
      message(...Array.from({ length }, () => "0000000000000100"), "0000000000000000");
    const descend = (length: number): void => {
      let struct = read(chain(length));
      for (let i = 1; i < length; i++) struct = struct.struct(0);
    };
    expect(() => descend(32)).not.toThrow();
    expect(() => descend(33)).toThrow("32 deep");
  });
});

describe("writing", () => {
  it("grows, and zeroes what it pads", () => {
    const long = "é".repeat(10_000);
    const bytes = written(0, 2, (struct) => {
      struct.text(0, long);
      struct.data(1, new Uint8Array(70_001).fill(7));
    });
    const root = read(bytes);
    expect(root.text(0)).toBe(long);
    expect(root.data(1)).toStrictEqual(new Uint8Array(70_001).fill(7));
    expect(bytes.length % 8).toBe(0);
    expect(bytes.subarray(-7)).toStrictEqual(Buffer.alloc(7));
  });

  it("keeps struct writers valid while the message grows under them", () => {
    const bytes = encodeMessage(connectionOptionsType, {
      client: { clientId: new Uint8Array(5000), features: ["a".repeat(5000)], version: "v", arch: "a" },
      originLocalIp: new Uint8Array(5000),
      replaceExisting: true,
      compressionQuality: 1,
      numPreviousAttempts: 2,
    });
    expect(decodeMessage(connectionOptionsType, frameOf(bytes))).toMatchObject({
      replaceExisting: true,
      compressionQuality: 1,
      numPreviousAttempts: 2,
      client: { version: "v", arch: "a" },
    });
  });

  it("refuses a message that no peer would take", () => {
    expect(() => written(0, 1, (struct) => struct.data(0, new Uint8Array(64 * 1024 * 1024)))).toThrow(
      "can't be written",
    );
  });

  it("writes lone surrogates as U+FFFD", () => {
    expect(read(written(0, 1, (struct) => struct.text(0, "a\ud800b"))).text(0)).toBe("a\ufffdb");
  });
});

describe("ConnectionResponse", () => {
  it("refuses a union member that is not known, or not there", () => {
    const unknown = written(1, 1, (struct) => struct.uint16(0, 7));
    expect(() => decodeMessage(connectionResponseType, frameOf(unknown))).toThrow("union member 7");
    expect(() => decodeMessage(connectionResponseType, frameOf(message("0000000000000000")))).toThrow("neither");
  });
});
