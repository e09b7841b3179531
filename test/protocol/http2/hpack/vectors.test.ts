/** RFC 7541 Appendix C, both directions. */
import { describe, expect, it } from "vitest";
import type { HeaderField } from "../../../../src/protocol/bytes/header-field.ts";
import { HpackDecoder } from "../../../../src/protocol/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../../../src/protocol/http2/hpack/encoder.ts";

type Pairs = [string, string][];

function decode(decoder: HpackDecoder, hex: string): Pairs {
  const fields: HeaderField[] = [];
  decoder.decode(Buffer.from(hex.replaceAll(" ", ""), "hex"), (field) => fields.push(field));
  return fields.map((field) => [field.name, field.value]);
}

const requests: Pairs[] = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];

const plainRequests = [
  "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "8286 84be 5808 6e6f 2d63 6163 6865",
  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];

const huffmanRequests = [
  "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
  "8286 84be 5886 a8eb 1064 9cbf",
  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];

const responses: Pairs[] = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
];

const plainResponses = [
  "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "4803 3330 37c1 c0bf",
  "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
];

const huffmanResponses = [
  "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
  "4883 640e ffc1 c0bf",
  "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
];

describe.each([
  ["C.3 requests", 4096, plainRequests, requests],
  ["C.4 requests with Huffman", 4096, huffmanRequests, requests],
  ["C.5 responses, table of 256 bytes", 256, plainResponses, responses],
  ["C.6 responses with Huffman, table of 256 bytes", 256, huffmanResponses, responses],
])("%s", (_name, tableSize, blocks, expected) => {
  it("decode in order on one table", () => {
    const decoder = new HpackDecoder(tableSize);
    expect(blocks.map((block) => decode(decoder, block))).toEqual(expected);
  });
});

describe("C.1 integers", () => {
  it.each([
    ["10 in five bits", "2a", "an update to 10"],
    ["1337 in five bits", "3f9a0a", "an update to 1337"],
    ["4096 in five bits", "3fe11f", "an update to 4096"],
  ])("%s", (_name, hex) => {
    expect(decode(new HpackDecoder(4096), `${hex} 82`)).toEqual([[":method", "GET"]]);
  });

  it("of an update hold the table to their size", () => {
    // 42 bytes each: one entry fits in 83, two in 84.
    const entries = "4005 782d6161 61 05 31323334 35 4005 782d6262 62 05 31323334 35";
    expect(() => decode(new HpackDecoder(4096), `3f34 ${entries} bf`)).toThrow(/index 63/);
    expect(decode(new HpackDecoder(4096), `3f35 ${entries} bf`).at(-1)).toEqual(["x-aaa", "12345"]);
  });
});

describe("C.2 single representations", () => {
  it.each([
    ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", ["custom-key", "custom-header"]],
    ["040c 2f73 616d 706c 652f 7061 7468", [":path", "/sample/path"]],
    ["1008 7061 7373 776f 7264 0673 6563 7265 74", ["password", "secret"]],
    ["82", [":method", "GET"]],
  ])("%s", (hex, pair) => {
    expect(decode(new HpackDecoder(4096), hex)).toEqual([pair]);
  });
});

describe("encoding", () => {
  it.each([
    ["C.3", false, plainRequests],
    ["C.4", true, huffmanRequests],
  ])("gives the bytes of %s", (_name, huffman, blocks) => {
    const encoder = new HpackEncoder({ huffman });
    const encoded = requests.map((pairs) => {
      encoder.begin();
      for (const [name, value] of pairs) encoder.field(name, value, "index");
      return encoder.finish().toString("hex");
    });
    expect(encoded).toEqual(blocks.map((block) => block.replaceAll(" ", "")));
  });

  it.each([
    ["C.5", false, plainResponses],
    ["C.6", true, huffmanResponses],
  ])("gives the bytes of %s once it has told of the table of 256 bytes", (_name, huffman, blocks) => {
    const encoder = new HpackEncoder({ huffman });
    encoder.setMaxTableSize(256);
    encoder.begin();
    expect(encoder.finish().toString("hex")).toBe("3fe101");
    const encoded = responses.map((pairs) => {
      encoder.begin();
      for (const [name, value] of pairs) encoder.field(name, value, "index");
      return encoder.finish().toString("hex");
    });
    expect(encoded).toEqual(blocks.map((block) => block.replaceAll(" ", "")));
  });

  it("writes a status as the field that it is", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    for (const code of [200, 204, 302, 404, 418, 200, 418]) {
      encoder.begin();
      encoder.status(code);
      expect(decode(decoder, encoder.finish().toString("hex"))).toEqual([[":status", String(code)]]);
    }
    encoder.begin();
    encoder.status(200);
    encoder.status(302);
    expect(encoder.finish().toString("hex")).toBe("88bf");
  });

  it("marks what must never be indexed, on every hop (RFC 7541 § 7.1.3)", () => {
    const encoder = new HpackEncoder();
    for (const expected of ["1f0801 73", "1f0801 73"]) {
      encoder.begin();
      encoder.field("authorization", "s", "never");
      expect(encoder.finish().toString("hex")).toBe(expected.replace(" ", ""));
    }
    encoder.begin();
    encoder.field("x-a", "s", "never");
    encoder.field("x-a", "s", "index");
    expect(encoder.finish().toString("hex")).toBe("1003782d6101734003782d610173");
  });

  it("sends a name in full once, when its values are short", () => {
    const encoder = new HpackEncoder();
    const block = (value: string): string => {
      encoder.begin();
      encoder.field("x-name", value, "name");
      return encoder.finish().toString("hex");
    };
    expect(block("1")).toBe("4006782d6e616d650131");
    expect(block("2")).toBe("0f2f0132");
    expect(block("1")).toBe("0f2f0131");
  });

  it("finds a name by its newest entry when older ones are evicted", () => {
    const encoder = new HpackEncoder();
    encoder.setMaxTableSize(80);
    encoder.begin();
    encoder.field("x-a", "1", "index");
    encoder.field("x-a", "2", "index");
    encoder.field("x-b", "1", "index");
    encoder.begin();
    encoder.field("x-a", "3", "name");
    expect(encoder.finish().toString("hex")).toBe("0f300133");
  });

  it("does not empty the table for an entry that has no room in it", () => {
    const encoder = new HpackEncoder();
    encoder.begin();
    encoder.field("x-small", "1", "index");
    encoder.field("x-large", "v".repeat(5000), "index");
    encoder.field("x-small", "1", "index");
    expect(encoder.finish().at(-1)).toBe(0xbe);
  });

  it("begins the next block with the size updates that the peer's settings ask for", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    const block = (): Pairs => {
      encoder.begin();
      encoder.field("x-name", "value", "index");
      encoder.field("x-name", "other", "name");
      return decode(decoder, encoder.finish().toString("hex"));
    };
    const expected = [
      ["x-name", "value"],
      ["x-name", "other"],
    ];
    expect(block()).toEqual(expected);
    encoder.setMaxTableSize(0);
    encoder.setMaxTableSize(2048);
    encoder.begin();
    expect(encoder.finish().toString("hex")).toBe("203fe10f");
    encoder.setMaxTableSize(0);
    expect(block()).toEqual(expected);
    expect(block()).toEqual(expected);
  });

  it("writes and reads values of hundreds of KiB", () => {
    const value = "é\x00\xff;".repeat(100_000);
    for (const huffman of [false, true]) {
      const encoder = new HpackEncoder({ huffman });
      encoder.begin();
      encoder.field("x-long", value, "name");
      expect(decode(new HpackDecoder(4096), encoder.finish().toString("hex"))).toEqual([["x-long", value]]);
    }
  });
});

describe("what RFC 7541 forbids", () => {
  it.each([
    ["index 0", "80", /index 0 is in no table/],
    ["an index beyond the tables", "be", /index 62 is in no table/],
    ["a literal with a name index beyond the tables", "7f00 0161", /index 63 is in no table/],
    ["a size update above the announced size", "3fe21f", /4097 was asked for; 4096/],
    ["a second size update above it", "20 3fe21f", /4097 was asked for; 4096/],
    ["a size update behind a field", "8220", /behind a field/],
    ["a string longer than the block", "4003 6162", /longer than its block/],
    ["a string whose length needs 36 bits", "4001 617f ffff ffff ff7f", /too many bytes/],
    ["an integer without end", "ff ffff ffff ff", /too many bytes/],
    ["an integer padded with zeros", "ff80 8080 8000", /too many bytes/],
    ["an integer cut off", "ff", /ends inside an integer/],
    ["a literal without value", "4001 61", /ends before a string/],
    ["EOS in a Huffman string", "4084 ffff ffff 0161", /EOS/],
    // 00011 is "a".
    ["more than seven bits of padding", "4082 1fff 0161", /padding/],
    ["nothing but eight bits of padding", "4081 ff 0161", /padding/],
    ["padding of zeros", "4081 18 0161", /padding/],
    ["a code cut off", "4081 1e 0161", /padding/],
  ])("%s", (_name, hex, message) => {
    const error = expect.objectContaining({ code: "ERR_UNDERPASS_HPACK", message: expect.stringMatching(message) });
    expect(() => decode(new HpackDecoder(4096), hex)).toThrow(error);
  });

  it("a reference to an entry that a size update evicted", () => {
    const decoder = new HpackDecoder(4096);
    expect(decode(decoder, "4001 6101 62 be")).toHaveLength(2);
    expect(() => decode(decoder, "20 be")).toThrow(/index 62/);
  });

  it("a string above the limit, before it is decoded", () => {
    const length = 1024 * 1024 + 513;
    const tooLong = (huffman: number): Buffer => {
      const prefix = Buffer.from([0x00, 0x01, 0x61, huffman | 0x7f, 0, 0, 0, 0]);
      for (let rest = length - 127, at = 4; at < 8; at++, rest >>>= 7) prefix[at] = (rest & 0x7f) | (at < 7 ? 0x80 : 0);
      return Buffer.concat([prefix, Buffer.alloc(length, 0xff)]);
    };
    for (const huffman of [0, 0x80]) {
      expect(() => new HpackDecoder(4096).decode(tooLong(huffman), () => {})).toThrow(/of 1049089 bytes is too long/);
    }
  });
});

it("hands out the same object for an indexed field", () => {
  const decoder = new HpackDecoder(4096);
  const seen: HeaderField[] = [];
  const block = (hex: string): void => decoder.decode(Buffer.from(hex, "hex"), (field) => seen.push(field));
  block("400a637573746f6d2d6b65790d637573746f6d2d686561646572");
  block("be");
  block("be82");
  expect(seen[1]).toBe(seen[0]);
  expect(seen[2]).toBe(seen[0]);
});
