/** Seeded mutations of frame sequences: only typed outcomes, bounded memory, no exception; and any chunking gives the same result. */
import { describe, expect, it } from "vitest";
import { Http2ConnectionError } from "../../src/protocol/http2/errors.ts";
import { block, frame, get, POST, PREFACE, rawServer, SETTINGS_ACK, Type, uint32 } from "../protocol/http2/raw.ts";
import { seeded } from "./random.ts";

const TRAILERS = block(["x-checksum", "abc"]);

/** A session with a bit of everything. */
const SESSION = Buffer.concat([
  PREFACE,
  SETTINGS_ACK,
  get(1),
  frame(Type.HEADERS, 4, 3, POST),
  frame(Type.DATA, 0, 3, Buffer.alloc(300, 1)),
  frame(Type.DATA, 8, 3, Buffer.concat([Buffer.from([4]), Buffer.alloc(20, 2), Buffer.alloc(4)])),
  frame(Type.PING, 0, 0, "0102030405060708"),
  frame(
    Type.HEADERS,
    0x2c,
    5,
    Buffer.concat([Buffer.from([2]), Buffer.from("0000000010", "hex"), POST, Buffer.alloc(2)]),
  ),
  frame(Type.WINDOW_UPDATE, 0, 5, uint32(1000)),
  frame(Type.HEADERS, 1, 7, POST.subarray(0, 5)),
  frame(Type.CONTINUATION, 4, 7, POST.subarray(5)),
  frame(Type.SETTINGS, 0, 0, Buffer.from("000400010000000300000064", "hex")),
  frame(Type.HEADERS, 5, 3, TRAILERS),
  frame(Type.RST_STREAM, 0, 5, uint32(8)),
  frame(Type.PRIORITY, 0, 9, "0000000010"),
  frame(0x42, 0, 0, "00112233"),
  get(11),
]);

describe("mutated sessions", () => {
  it("end in typed errors or none, 3,000 times", () => {
    const random = seeded(20_261_123);
    let failed = 0;
    for (let run = 0; run < 3_000; run++) {
      const bytes = Buffer.from(SESSION);
      for (let edits = random(6) + 1; edits > 0; edits--) {
        const at = PREFACE.length - 9 + random(bytes.length - PREFACE.length + 9);
        bytes[at] = random(3) === 0 ? random(256) : (bytes[at] ?? 0) ^ (1 << random(8));
      }
      const server = rawServer({ handshake: false });
      const size = random(40) + 1;
      for (let at = 0; at < bytes.length; at += size) server.send(bytes.subarray(at, at + size));
      for (const error of server.errors) expect(error).toBeInstanceOf(Http2ConnectionError);
      expect(server.errors.length).toBeLessThanOrEqual(1);
      if (server.errors.length > 0) {
        failed++;
        expect(server.connection.openStreams).toBe(0);
        expect(server.goaway).toBeDefined();
      }
    }
    // If nothing ever failed the mutations would not be worth the name.
    expect(failed).toBeGreaterThan(300);
  });

  it("survive pure noise behind the preface", () => {
    const random = seeded(7);
    for (let run = 0; run < 500; run++) {
      const server = rawServer();
      server.send(Buffer.from(Array.from({ length: 200 }, () => random(256))));
      for (const error of server.errors) expect(error).toBeInstanceOf(Http2ConnectionError);
    }
  });
});

describe("chunking", () => {
  it("at every byte boundary gives the same heads and answers", () => {
    const whole = rawServer({ handshake: false });
    const expected = { answers: whole.send(SESSION), heads: whole.heads };
    expect(whole.errors).toEqual([]);
    expect(expected.heads).toHaveLength(5);
    for (let cut = 1; cut < SESSION.length; cut++) {
      const server = rawServer({ handshake: false });
      const answers = [...server.send(SESSION.subarray(0, cut)), ...server.send(SESSION.subarray(cut))];
      expect(answers).toEqual(expected.answers);
      expect(server.heads).toEqual(expected.heads);
    }
  });
});
