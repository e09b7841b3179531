/** Properties of the two halves together, and of the decoder on what no encoder writes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderField } from "../../../../src/protocol/bytes/header-field.ts";
import { HpackDecoder } from "../../../../src/protocol/http2/hpack/decoder.ts";
import { DynamicTable } from "../../../../src/protocol/http2/hpack/dynamic-table.ts";
import { HpackEncoder } from "../../../../src/protocol/http2/hpack/encoder.ts";
import { HpackError } from "../../../../src/protocol/http2/hpack/errors.ts";
import { decodeHuffman, encodeHuffman, huffmanLength } from "../../../../src/protocol/http2/hpack/huffman.ts";

/** Few names and values, so that they meet again, among arbitrary ones. */
const byteString = fc
  .uint8Array({ maxLength: 40 })
  .map((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1"));
const name = fc.oneof(
  fc.constantFrom("x-a", "x-b", "content-length", ":status", "cookie", "date"),
  byteString.filter((text) => text !== ""),
);
const value = fc.oneof(
  fc.constantFrom("", "1", "200", "gzip, deflate", "v".repeat(300), "w".repeat(1500), "x".repeat(5000)),
  byteString,
);
const field = fc.tuple(name, value, fc.constantFrom("index" as const, "name" as const, "never" as const));
const step = fc.record({
  sizes: fc.array(fc.constantFrom(0, 32, 100, 300, 4096, 65_536), { maxLength: 3 }),
  fields: fc.array(field, { maxLength: 12 }),
});

describe("what is encoded", () => {
  it.each([false, true])("is decoded again, whatever table sizes the peer asks for (Huffman %s)", (huffman) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const encoder = new HpackEncoder({ huffman });
        const decoder = new HpackDecoder(4096);
        for (const { sizes, fields } of steps) {
          for (const size of sizes) encoder.setMaxTableSize(size);
          encoder.begin();
          for (const [fieldName, fieldValue, indexing] of fields) encoder.field(fieldName, fieldValue, indexing);
          const seen: [string, string][] = [];
          decoder.decode(encoder.finish(), (decoded) => seen.push([decoded.name, decoded.value]));
          expect(seen).toEqual(fields.map(([fieldName, fieldValue]) => [fieldName, fieldValue]));
        }
      }),
      { numRuns: 400, seed: 7541 },
    );
  });

  it("keeps to the size that the peer asked for last", () => {
    const encoder = new HpackEncoder();
    encoder.setMaxTableSize(100);
    encoder.begin();
    for (let i = 0; i < 20; i++) encoder.field(`x-${i % 5}`, String(i % 3), "index");
    const block = Buffer.from(encoder.finish());
    // A decoder that never had more room understands it too.
    const seen: string[] = [];
    new HpackDecoder(100).decode(block, ({ name: key, value: text }) => seen.push(`${key}: ${text}`));
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `x-${i % 5}: ${i % 3}`));
  });

  it("writes no entry at all into a table of size 0", () => {
    const encoder = new HpackEncoder();
    encoder.setMaxTableSize(0);
    for (const prefix of ["20", ""]) {
      encoder.begin();
      encoder.field("x-a", "1", "index");
      encoder.field("x-a", "1", "name");
      expect(encoder.finish().toString("hex")).toBe(`${prefix}0003782d6101310003782d610131`);
    }
  });

  it("survives ten thousand names and values that never come again", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    for (let i = 0; i < 10_000; i++) {
      encoder.begin();
      encoder.field("x-fixed", "value", "index");
      encoder.field(`x-${i}`, `value ${i}`, i % 2 === 0 ? "index" : "name");
      let text = "";
      decoder.decode(encoder.finish(), (decoded) => {
        text += `${decoded.name}=${decoded.value};`;
      });
      expect(text).toBe(`x-fixed=value;x-${i}=value ${i};`);
    }
    // And still makes use of the table.
    encoder.begin();
    for (const fresh of ["x-new", "x-other", "x-new"]) encoder.field(fresh, "value", "index");
    expect(encoder.finish().at(-1)).toBe(0xbf);
  });
});

describe("the Huffman code", () => {
  it("of every byte string decodes to it, and has the length that was told", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
        const target = Buffer.alloc(huffmanLength(text) + 2, 0x55);
        const end = encodeHuffman(text, target, 1);
        expect(end).toBe(target.length - 1);
        expect([target[0], target[end]]).toEqual([0x55, 0x55]);
        expect(decodeHuffman(target, 1, end)).toBe(text);
      }),
      { numRuns: 1_000, seed: 7541 },
    );
  });

  it("gives every byte one code, in pairs with every other", () => {
    for (let i = 0; i < 65_536; i++) {
      const text = String.fromCharCode(i >>> 8, i & 0xff);
      const target = Buffer.alloc(huffmanLength(text));
      encodeHuffman(text, target, 0);
      if (decodeHuffman(target, 0, target.length) !== text) throw new Error(`bytes ${i} changed`);
    }
  });

  it("decodes only what encodes to the same bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 12 }), (bytes) => {
        const coded = Buffer.from(bytes);
        let text: string;
        try {
          text = decodeHuffman(coded, 0, coded.length);
        } catch (error) {
          expect(error).toBeInstanceOf(HpackError);
          return;
        }
        const again = Buffer.alloc(huffmanLength(text));
        encodeHuffman(text, again, 0);
        expect(again).toEqual(coded);
      }),
      { numRuns: 5_000, seed: 7541 },
    );
  });
});

describe("the dynamic table", () => {
  it("behaves as a list with the newest in front and a limit on the sum of sizes (RFC 7541 §§ 4.1 to 4.4)", () => {
    const action = fc.oneof(
      fc.record({ insert: fc.integer({ min: 0, max: 400 }) }),
      fc.record({ resize: fc.integer({ min: 0, max: 2000 }) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const table = new DynamicTable(2000);
        let model: HeaderField[] = [];
        let limit = 2000;
        for (const next of actions) {
          if ("insert" in next) {
            const entry = new HeaderField("n", "v".repeat(next.insert));
            table.insert(entry);
            model = [entry, ...model];
          } else {
            limit = next.resize;
            table.resize(limit);
          }
          let sum = 0;
          const cut = model.findIndex((entry) => (sum += entry.value.length + 33) > limit);
          if (cut >= 0) model = model.slice(0, cut);
          expect(table.length).toBe(model.length);
          for (const [i, entry] of model.entries()) expect(table.get(i + 1)).toBe(entry);
          expect(table.get(model.length + 1)).toBeUndefined();
          expect(table.get(0)).toBeUndefined();
        }
      }),
      { numRuns: 300, seed: 7541 },
    );
  });
});

describe("the decoder", () => {
  const seeds = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828784bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565bf",
    "3fe11f4082949c0161be1008706173737764650673656372657420",
    "48826402588 5aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff".replace(" ", ""),
  ].map((hex) => Buffer.from(hex, "hex"));

  it("throws nothing but HpackError on mutated blocks, and hands out no more fields than bytes", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(40), fc.nat(255)), { maxLength: 6 }),
        fc.uint8Array({ maxLength: 20 }),
        (seed, edits, tail) => {
          const block = Buffer.concat([seed, tail]);
          for (const [at, byte] of edits) block[at % block.length] = byte;
          const decoder = new HpackDecoder(4096);
          let handedOut = 0;
          try {
            // Twice, so that references into the table get their chance.
            for (let i = 0; i < 2; i++) decoder.decode(block, () => handedOut++);
          } catch (error) {
            expect(error).toBeInstanceOf(HpackError);
          }
          // Each field costs its sender a byte at least.
          expect(handedOut).toBeLessThanOrEqual(2 * block.length);
        },
      ),
      { numRuns: 10_000, seed: 7541 },
    );
  });

  it("hands out references for a bomb of them, and copies nothing", () => {
    const encoder = new HpackEncoder();
    encoder.begin();
    encoder.field("x-bomb", "b".repeat(4096 - 32 - 6), "index");
    const decoder = new HpackDecoder(4096);
    const block = Buffer.concat([encoder.finish(), Buffer.alloc(4000, 0xbe)]);
    const distinct = new Set<HeaderField>();
    let count = 0;
    decoder.decode(block, (decoded) => {
      distinct.add(decoded);
      count++;
    });
    expect([count, distinct.size]).toEqual([4001, 1]);
  });
});
