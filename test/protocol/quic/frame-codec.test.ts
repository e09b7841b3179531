/** Frames of RFC 9000 § 19 and RFC 9221: bytes of each kind, what is refused, what fits, and where each may stand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TransportError, TransportErrorCode, transportErrorName } from "../../../src/protocol/quic/errors.ts";
import { readFrames } from "../../../src/protocol/quic/frame-reader.ts";
import { FrameWriter } from "../../../src/protocol/quic/frame-writer.ts";
import {
  FrameType,
  isAckEliciting,
  isLegalIn,
  isProbing,
  PacketTrait,
  type Role,
} from "../../../src/protocol/quic/frames.ts";
import { MAX_ACK_RANGES_READ } from "../../../src/protocol/quic/limits.ts";
import { type PacketNumberSpace, Space, SPACES } from "../../../src/protocol/quic/packet-number.ts";
import { MAX_VARINT } from "../../../src/protocol/quic/varint.ts";
import { FrameRecorder, type TakenFrame } from "./frames.ts";

const { FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION } = TransportErrorCode;

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

function read(
  payload: Buffer | string,
  space: PacketNumberSpace = Space.application,
  role: Role = "client",
): TakenFrame[] {
  const recorder = new FrameRecorder();
  readFrames(typeof payload === "string" ? bytes(payload) : payload, space, role, recorder, new Float64Array(64));
  return recorder.frames;
}

function errorOf(payload: Buffer | string, space?: PacketNumberSpace, role?: Role): TransportError {
  try {
    read(payload, space, role);
  } catch (error) {
    if (error instanceof TransportError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function written(write: (writer: FrameWriter) => unknown, size = 1500): string {
  const writer = new FrameWriter(Buffer.alloc(size));
  writer.begin(0, size);
  write(writer);
  return writer.buffer.toString("hex", 0, writer.at);
}

const TOKEN = Buffer.alloc(16, 0xee);
const ID = Buffer.from("0102030405060708", "hex");

/** [what, how it is written, its bytes, how it is read] */
const CASES: [string, (writer: FrameWriter) => unknown, string, TakenFrame[]][] = [
  ["PADDING", (w) => w.padding(3), "000000", []],
  ["PING", (w) => w.ping(), "01", [["ping"]]],
  ["ACK of one packet", (w) => w.ack(Float64Array.of(7, 7), 1, 0), "0207000000", [["ack", 7, 0, [7, 7]]]],
  [
    "ACK of two ranges",
    (w) => w.ack(Float64Array.of(90, 100, 50, 60), 2, 1000),
    "02 4064 43e8 01 0a 1c 0a",
    [["ack", 100, 1000, [90, 100, 50, 60]]],
  ],
  ["RESET_STREAM", (w) => w.resetStream(4, 5, 70), "0404054046", [["resetStream", 4, 5, 70]]],
  ["STOP_SENDING", (w) => w.stopSending(4, 5), "050405", [["stopSending", 4, 5]]],
  [
    "CRYPTO",
    (w) => w.append(ID, 0, w.crypto(64, 8)),
    "06 4040 08 0102030405060708",
    [["crypto", 64, "0102030405060708"]],
  ],
  ["NEW_TOKEN", (w) => w.newToken(ID), "07080102030405060708", [["newToken", "0102030405060708"]]],
  ["STREAM, empty", (w) => w.stream(1, 0, 0, true), "0b0100", [["stream", 1, 0, "", true]]],
  [
    "STREAM at an offset",
    (w) => w.append(ID, 0, w.stream(5, 9, 2, false)),
    "0e0509020102",
    [["stream", 5, 9, "0102", false]],
  ],
  ["MAX_DATA", (w) => w.maxData(2 ** 30), "10c000000040000000", [["maxData", 2 ** 30]]],
  ["MAX_STREAM_DATA", (w) => w.maxStreamData(8, 100), "11084064", [["maxStreamData", 8, 100]]],
  ["MAX_STREAMS", (w) => w.maxStreams(true, 9), "1209", [["maxStreams", true, 9]]],
  ["MAX_STREAMS, one-way", (w) => w.maxStreams(false, 9), "1309", [["maxStreams", false, 9]]],
  ["DATA_BLOCKED", (w) => w.dataBlocked(6), "1406", [["dataBlocked", 6]]],
  ["STREAM_DATA_BLOCKED", (w) => w.streamDataBlocked(6, 7), "150607", [["streamDataBlocked", 6, 7]]],
  ["STREAMS_BLOCKED", (w) => w.streamsBlocked(true, 9), "1609", [["streamsBlocked", true, 9]]],
  ["STREAMS_BLOCKED, one-way", (w) => w.streamsBlocked(false, 9), "1709", [["streamsBlocked", false, 9]]],
  [
    "NEW_CONNECTION_ID",
    (w) => w.newConnectionId(3, 1, ID, TOKEN),
    `18030108${ID.toString("hex")}${TOKEN.toString("hex")}`,
    [["newConnectionId", 3, 1, ID.toString("hex"), TOKEN.toString("hex")]],
  ],
  ["RETIRE_CONNECTION_ID", (w) => w.retireConnectionId(3), "1903", [["retireConnectionId", 3]]],
  ["PATH_CHALLENGE", (w) => w.pathChallenge(ID), "1a0102030405060708", [["pathChallenge", "0102030405060708"]]],
  ["PATH_RESPONSE", (w) => w.pathResponse(ID), "1b0102030405060708", [["pathResponse", "0102030405060708"]]],
  [
    "CONNECTION_CLOSE by the transport",
    (w) => w.connectionClose(10, 6, Buffer.from("hi")),
    "1c0a06026869",
    [["connectionClose", 10, 6, "hi"]],
  ],
  [
    "CONNECTION_CLOSE by the application",
    (w) => w.connectionClose(300, undefined, Buffer.from("hi")),
    "1d412c026869",
    [["connectionClose", 300, undefined, "hi"]],
  ],
  ["HANDSHAKE_DONE", (w) => w.handshakeDone(), "1e", [["handshakeDone"]]],
  ["DATAGRAM", (w) => w.datagram(ID), "31080102030405060708", [["datagram", "0102030405060708"]]],
];

describe("frames", () => {
  it.each(CASES)("%s: bytes as in the RFC, written and read", (_what, write, hex, taken) => {
    expect(written(write)).toBe(bytes(hex).toString("hex"));
    expect(read(hex)).toEqual(taken);
  });

  // A head grants what fits, an ACK drops ranges, a reason is cut.
  const uncuttable = CASES.filter(([what]) => !/^(CRYPTO|STREAM at|CONNECTION_CLOSE|ACK of two)/.test(what));
  it.each(uncuttable)("%s: written whole or not at all", (_what, write, hex) => {
    for (let size = 0; size < bytes(hex).length; size++) expect(written(write, size)).toBe("");
  });

  it.each(CASES.filter(([what]) => what !== "PADDING"))(
    "%s: cut short anywhere is FRAME_ENCODING_ERROR",
    (_what, _write, hex) => {
      for (let end = 2; end < hex.length; end += 2) {
        const error = errorOf(hex.slice(0, end));
        expect(transportErrorName(error.transportCode)).toBe("FRAME_ENCODING_ERROR");
        expect(error.frameType).toBe(Number.parseInt(hex.slice(0, 2), 16));
      }
    },
  );

  it("reads frames without a length to the packet's end, and ACK with ECN counts", () => {
    expect(read("01 0d 04 4040 aabb")).toEqual([["ping"], ["stream", 4, 64, "aabb", true]]);
    expect(read("30aabbcc")).toEqual([["datagram", "aabbcc"]]);
    expect(read("0307000000 010203 01")).toEqual([["ack", 7, 0, [7, 7]], ["ping"]]);
  });

  it("says whether a packet must be acknowledged", () => {
    const recorder = new FrameRecorder();
    const elicits = (hex: string): boolean =>
      (readFrames(bytes(hex), Space.application, "client", recorder, new Float64Array(64)) &
        PacketTrait.ackEliciting) !==
      0;
    expect(elicits("0207000000")).toBe(false);
    expect(elicits("000000")).toBe(false);
    expect(elicits("1c000000")).toBe(false);
    expect(elicits("0207000000 01")).toBe(true);
    expect(elicits("1e")).toBe(true);
    // RFC 9000 § 9.1.
    expect([...Array(64).keys()].filter((type) => isProbing(type) && isLegalIn(type, Space.application))).toEqual([
      FrameType.PADDING,
      FrameType.NEW_CONNECTION_ID,
      FrameType.PATH_CHALLENGE,
      FrameType.PATH_RESPONSE,
    ]);
    expect([...Array(64).keys()].filter((type) => !isAckEliciting(type) && isLegalIn(type, Space.application))).toEqual(
      [
        FrameType.PADDING,
        FrameType.ACK,
        FrameType.ACK_ECN,
        FrameType.CONNECTION_CLOSE,
        FrameType.CONNECTION_CLOSE_APPLICATION,
      ],
    );
  });

  it("marks what it wrote as eliciting an ACK by the same rule", () => {
    for (const [what, write, hex] of CASES) {
      const writer = new FrameWriter(Buffer.alloc(1500));
      writer.begin(0, 1500);
      write(writer);
      expect(writer.ackEliciting, what).toBe(isAckEliciting(Number.parseInt(hex.slice(0, 2), 16)));
    }
  });
});

describe("a frame is refused", () => {
  it.each([
    ["an empty packet", "", PROTOCOL_VIOLATION],
    ["an unknown type", "1f", FRAME_ENCODING_ERROR],
    ["an unknown type of two bytes", "4041", FRAME_ENCODING_ERROR],
    ["an unknown type of eight bytes", "ffffffffffffffff", FRAME_ENCODING_ERROR],
    ["PADDING in two bytes", "4000", FRAME_ENCODING_ERROR],
    ["PING in four bytes", "80000001", FRAME_ENCODING_ERROR],
    ["CRYPTO in eight bytes", "c0000000000000060000", FRAME_ENCODING_ERROR],
    ["a type cut short", "40", FRAME_ENCODING_ERROR],
    ["an ACK range below 0", "0203000004", FRAME_ENCODING_ERROR],
    ["an ACK gap below 0", "02030001000200", FRAME_ENCODING_ERROR],
    ["an ACK with more ranges than bytes", "0203009fffffff00", FRAME_ENCODING_ERROR],
    ["a stream offset above 2^53 - 1", "0e04c01fffffffffffff01aa", FRAME_ENCODING_ERROR],
    ["a stream id above 2^53 - 1", "0ac02000000000000001aa", FRAME_ENCODING_ERROR],
    ["a CRYPTO offset above 2^53 - 1", "06c01fffffffffffff01aa", FRAME_ENCODING_ERROR],
    ["more streams than 2^60", "12d000000000000001", FRAME_ENCODING_ERROR],
    ["blocked at more streams than 2^60", "17d100000000000000", FRAME_ENCODING_ERROR],
    ["an empty NEW_TOKEN", "0700", FRAME_ENCODING_ERROR],
    ["a connection id of 0 bytes", `18010000${"ee".repeat(16)}`, FRAME_ENCODING_ERROR],
    ["a connection id of 21 bytes", `18010015${"01".repeat(21)}${"ee".repeat(16)}`, FRAME_ENCODING_ERROR],
    ["a connection id that retires itself", `18010208${"01".repeat(8)}${"ee".repeat(16)}`, FRAME_ENCODING_ERROR],
    ["a stream longer than its packet", "0a0405aabb", FRAME_ENCODING_ERROR],
    ["a DATAGRAM longer than its packet", "3105aabb", FRAME_ENCODING_ERROR],
  ])("%s", (_what, hex, code) => {
    expect(transportErrorName(errorOf(hex).transportCode)).toBe(transportErrorName(code));
  });

  it("from a client: HANDSHAKE_DONE and NEW_TOKEN", () => {
    for (const hex of ["1e", "0701aa"]) {
      expect(errorOf(hex, Space.application, "server").transportCode).toBe(PROTOCOL_VIOLATION);
      expect(read(hex, Space.application, "client")).toHaveLength(1);
    }
  });

  it("but limits and error codes above 2^53 - 1 are taken as that", () => {
    expect(read("10ffffffffffffffff")).toEqual([["maxData", MAX_VARINT]]);
    expect(read("12d000000000000000")).toEqual([["maxStreams", true, MAX_VARINT]]);
    expect(read("0504ffffffffffffffff")).toEqual([["stopSending", 4, MAX_VARINT]]);
  });
});

describe("ACK frames", () => {
  it("of more ranges than we look at: the newest count, all are checked", () => {
    const ranges = 400;
    const ack = (last: string): string =>
      `024fff00${(0x4000 | ranges).toString(16)}00${"0000".repeat(ranges - 1)}${last}`;
    const [taken] = read(ack("0000"));
    expect(taken?.[3]).toHaveLength(2 * MAX_ACK_RANGES_READ);
    expect(errorOf(ack("7fff00")).transportCode).toBe(FRAME_ENCODING_ERROR);
  });

  it("written into little room: the newest ranges", () => {
    const ranges = Float64Array.of(100, 100, 90, 95, 50, 60, 0, 0);
    for (let size = 0; size <= 14; size++) {
      const hex = written((writer) => writer.ack(ranges, 4, 0), size);
      if (hex === "") expect(size).toBeLessThan(6);
      else {
        const kept = (read(hex)[0]?.[3] ?? []) as number[];
        expect(kept).toEqual([...ranges.subarray(0, kept.length)]);
      }
    }
  });
});

describe("heads of STREAM and CRYPTO frames", () => {
  it("grant what fits, and the whole fits exactly", () => {
    const data = Buffer.alloc(20_000, 7);
    const room = fc.integer({ min: 0, max: 1500 });
    const offset = fc.oneof(
      fc.constant(0),
      fc.maxSafeNat().map((n) => Math.floor(n / 2)),
    );
    fc.assert(
      fc.property(room, offset, fc.nat(3000), fc.boolean(), fc.boolean(), (room, offset, length, fin, crypto) => {
        const writer = new FrameWriter(Buffer.alloc(room));
        writer.begin(0, room);
        const granted = crypto ? writer.crypto(offset, length) : writer.stream(4, offset, length, fin);
        if (granted < 0) {
          expect(writer.at).toBe(0);
          return;
        }
        expect(granted).toBeLessThanOrEqual(length);
        writer.append(data, 0, granted);
        expect(writer.at).toBeLessThanOrEqual(room);
        // What was cut leaves nothing over (but for the step of the length from one byte to two).
        if (granted < length) expect(writer.remaining).toBeLessThanOrEqual(1);
        const hex = data.toString("hex", 0, granted);
        expect(read(writer.buffer.subarray(0, writer.at))).toEqual([
          crypto ? ["crypto", offset, hex] : ["stream", 4, offset, hex, fin && granted === length],
        ]);
      }),
    );
  });
});

describe("where frames may stand", () => {
  it("is RFC 9000 § 12.4, table 3", () => {
    const names = new Map<number, string>(Object.entries(FrameType).map(([name, type]) => [type, name]));
    const lines: string[] = [];
    for (let type = 0; type < 64; type++) {
      const where = SPACES.map((space) => (isLegalIn(type, space) ? "IH1"[space] : "-")).join("");
      if (where === "---") continue;
      const name = type > FrameType.STREAM && type <= 0x0f ? "STREAM" : names.get(type);
      lines.push(`0x${type.toString(16).padStart(2, "0")} ${where} ${name}`);
    }
    expect(lines.join("\n")).toMatchInlineSnapshot(`
      "0x00 IH1 PADDING
      0x01 IH1 PING
      0x02 IH1 ACK
      0x03 IH1 ACK_ECN
      0x04 --1 RESET_STREAM
      0x05 --1 STOP_SENDING
      0x06 IH1 CRYPTO
      0x07 --1 NEW_TOKEN
      0x08 --1 STREAM
      0x09 --1 STREAM
      0x0a --1 STREAM
      0x0b --1 STREAM
      0x0c --1 STREAM
      0x0d --1 STREAM
      0x0e --1 STREAM
      0x0f --1 STREAM
      0x10 --1 MAX_DATA
      0x11 --1 MAX_STREAM_DATA
      0x12 --1 MAX_STREAMS_BIDI
      0x13 --1 MAX_STREAMS_UNI
      0x14 --1 DATA_BLOCKED
      0x15 --1 STREAM_DATA_BLOCKED
      0x16 --1 STREAMS_BLOCKED_BIDI
      0x17 --1 STREAMS_BLOCKED_UNI
      0x18 --1 NEW_CONNECTION_ID
      0x19 --1 RETIRE_CONNECTION_ID
      0x1a --1 PATH_CHALLENGE
      0x1b --1 PATH_RESPONSE
      0x1c IH1 CONNECTION_CLOSE
      0x1d --1 CONNECTION_CLOSE_APPLICATION
      0x1e --1 HANDSHAKE_DONE
      0x30 --1 DATAGRAM
      0x31 --1 DATAGRAM_LENGTH"
    `);
  });

  it("elsewhere they are a PROTOCOL_VIOLATION", () => {
    for (const space of [Space.initial, Space.handshake]) {
      for (const [what, , hex] of CASES) {
        const type = Number.parseInt(hex.slice(0, 2), 16);
        if (isLegalIn(type, space)) expect(() => read(hex, space), what).not.toThrow();
        else expect(errorOf(hex, space).transportCode, what).toBe(PROTOCOL_VIOLATION);
      }
    }
  });
});
