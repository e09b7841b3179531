/** Frames by RFC 6455 § 5.7, and masking against the plain loop. */
import { describe, expect, it } from "vitest";
import { WebSocketError } from "../../../src/protocol/websocket/errors.ts";
import { FrameReader } from "../../../src/protocol/websocket/frame-reader.ts";
import {
  acceptKey,
  closeFrame,
  controlFrame,
  Opcode,
  writeFrameHeader,
} from "../../../src/protocol/websocket/frames.ts";
import { unmask } from "../../../src/protocol/websocket/mask.ts";

function read(hex: string, step = 1_000_000): { payload: string; events: string[] } {
  const bytes = Buffer.from(hex, "hex");
  let payload = "";
  const events: string[] = [];
  const reader = new FrameReader({
    onPayload: (view) => (payload += view.toString("latin1")),
    onPing: (view) => events.push(`ping ${view.toString("latin1")}`),
    onClose: (code) => events.push(`close ${code}`),
  });
  for (let at = 0; at < bytes.length; at += step) {
    try {
      reader.receive(Buffer.from(bytes.subarray(at, at + step)));
    } catch (error) {
      if (!(error instanceof WebSocketError)) throw error;
      events.push(`error ${error.closeCode}`);
      break;
    }
  }
  return { payload, events };
}

/** A masked frame. */
function frame(first: number, payload: string, key = "37fa213d"): string {
  const bytes = Buffer.from(payload, "latin1");
  const mask = Buffer.from(key, "hex");
  const masked = bytes.map((byte, i) => byte ^ (mask[i & 3] ?? 0));
  const head = Buffer.alloc(10);
  const header = head.subarray(0, writeFrameHeader(head, 0, bytes.length));
  header[0] = first;
  header[1] = (header[1] ?? 0) | 0x80;
  return header.toString("hex") + key + Buffer.from(masked).toString("hex");
}

describe("a WebSocket frame", () => {
  it("is the example of the RFC", () => {
    expect(acceptKey("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    expect(read("818537fa213d7f9f4d5158")).toEqual({ payload: "Hello", events: [] });
    expect(frame(0x81, "Hello")).toBe("818537fa213d7f9f4d5158");
    expect(controlFrame(Opcode.ping, Buffer.from("Hello")).toString("hex")).toBe("890548656c6c6f");
  });

  it("says how long it is in as few bytes as can be", () => {
    const header = (length: number): string => {
      const target = Buffer.alloc(10);
      return target.subarray(0, writeFrameHeader(target, Opcode.binary, length)).toString("hex");
    };
    expect(header(125)).toBe("827d");
    expect(header(126)).toBe("827e007e");
    expect(header(65_535)).toBe("827effff");
    expect(header(65_536)).toBe("827f0000000000010000");
  });

  for (const step of [1, 2, 3, 5, 13, 1_000_000]) {
    it(`is read ${step} bytes at a time`, () => {
      const long = "long message ".repeat(40);
      const bytes =
        frame(0x01, "frag") +
        frame(0x89, "ping!") +
        frame(0x00, "men") +
        frame(0x8a, "pong") +
        frame(0x80, "ted,") +
        frame(0x82, "") +
        frame(0x82, long, "a1b2c3d4") +
        frame(0x89, "") +
        frame(0x88, "\x03\xe8bye") +
        // What follows a Close is nobody's.
        frame(0x82, "after");
      expect(read(bytes, step)).toEqual({
        payload: `fragmented,${long}`,
        events: ["ping ping!", "ping ", "close 1000"],
      });
    });
  }

  it("may have its length in more bytes than it needs", () => {
    expect(read("82fe000300000000616263").payload).toBe("abc");
    expect(read("82ff000000000000000300000000616263").payload).toBe("abc");
  });

  for (const [what, hex, expected] of [
    ["a Close without a code", "888000000000", "close undefined"],
    ["a Close with a registered code", "88820000000003f6", "close 1014"],
    ["a Close with a code of its own", "8882000000001387", "close 4999"],
    ["a Close with 1005", "88820000000003ed", "error 1002"],
    ["a Close with 1006", "88820000000003ee", "error 1002"],
    ["a Close with 1015", "88820000000003f7", "error 1002"],
    ["a Close with 999", "88820000000003e7", "error 1002"],
    ["a Close with 2999", "8882000000000bb7", "error 1002"],
    ["a Close with 5000", "8882000000001388", "error 1002"],
    ["a Close with half a code", "88810000000003", "error 1002"],
    ["a Close with a broken reason", "88840000000003e8c328", "error 1007"],
    ["RSV1", "c28000000000", "error 1002"],
    ["RSV2", "a28000000000", "error 1002"],
    ["RSV3", "928000000000", "error 1002"],
    ["opcode 3", "838000000000", "error 1002"],
    ["opcode 7", "878000000000", "error 1002"],
    ["opcode 11", "8b8000000000", "error 1002"],
    ["opcode 15", "8f8000000000", "error 1002"],
    ["no mask", "820161", "error 1002"],
    ["a fragmented ping", "098000000000", "error 1002"],
    ["a long ping", "89fe007e00000000", "error 1002"],
    ["a continuation of nothing", "808000000000", "error 1002"],
    ["a message within a message", "028000000000828000000000", "error 1002"],
    ["a length of 2^63", "82ff800000000000000000000000", "error 1002"],
    ["a length of 2^53", "82ff002000000000000000000000", "error 1009"],
  ] as const) {
    it(`of ${what} is: ${expected}`, () => {
      for (const step of [1, 1_000]) expect(read(hex, step).events).toEqual([expected]);
    });
  }

  it("of a Close is never too long", () => {
    expect(closeFrame(undefined).toString("hex")).toBe("8800");
    expect(closeFrame(1001).toString("hex")).toBe("880203e9");
    const long = closeFrame(1011, "x".repeat(500));
    expect(long).toHaveLength(127);
    expect(long[1]).toBe(125);
  });
});

describe("masking", () => {
  it("is right at every alignment, length and phase", () => {
    const key = Uint8Array.of(0x12, 0x80, 0xff, 0x07);
    for (let offset = 0; offset < 9; offset++) {
      for (const length of [0, 1, 3, 63, 64, 65, 66, 67, 1_001]) {
        for (const phase of [0, 1, 2, 3, 2 ** 32 + 1, 2 ** 52 + 3]) {
          const memory = Buffer.alloc(offset + length + 8, 0x55);
          unmask(memory, offset, offset + length, key, phase);
          const expected = Buffer.alloc(offset + length + 8, 0x55);
          for (let i = 0; i < length; i++) expected[offset + i] = 0x55 ^ (key[(phase + i) % 4] ?? 0);
          expect(memory.equals(expected), `${offset} ${length} ${phase}`).toBe(true);
        }
      }
    }
  });
});
