import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeResponse, DnsMessageError, encodeQuery } from "../../../src/protocol/dns/message.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** An SRV response with compressed names, as seed of the mutations. */
const RESPONSE = hex(`
  1234 8180 0001 0003 0000 0000
  045f737663 045f746370 0161 0474657374 00 0021 0001
  c00c 0021 0001 0000012c 0011 0001 0002 1ea4 027231 c017 0472657374 00
`);

describe("queries", () => {
  it("ask one recursive question with EDNS0 (RFC 1035 § 4.1, RFC 6891)", () => {
    expect(encodeQuery(0x1234, "a.example", "SRV").toString("hex")).toBe(
      "1234" +
        "0100" +
        "0001" +
        "0000" +
        "0000" +
        "0001" +
        "01610765" +
        "78616d706c65" +
        "00" +
        "0021" +
        "0001" +
        "00" +
        "0029" +
        "04d0" +
        "00000000" +
        "0000",
    );
  });

  it.each(["", "a..b", `${"x".repeat(64)}.test`, Array.from({ length: 130 }, () => "x").join(".")])(
    "refuse %j",
    (name) => {
      expect(() => encodeQuery(1, name, "A")).toThrow(DnsMessageError);
    },
  );
});

/** Builds a response of whole records, uncompressed. */
function response(records: readonly string[], flags = "8180"): Buffer {
  return hex(`0001 ${flags} 0000 ${records.length.toString(16).padStart(4, "0")} 0000 0000 ${records.join(" ")}`);
}

describe("responses", () => {
  it("give SRV, A, AAAA and TXT records, and leave out the rest", () => {
    const { answers } = decodeResponse(
      response([
        "0161 00 0021 0001 0000003c 000a 0001 0005 1ea4 0272 31 00".replace("000a", "000a"),
        "0161 00 0001 0001 0000003c 0004 c0000201",
        "0161 00 001c 0001 0000003c 0010 20010db8000000000000000000000001",
        "0161 00 0010 0001 0000003c 0006 026869 02796f",
        "0161 00 0005 0001 0000003c 0003 0162 00",
      ]),
    );
    expect(answers).toEqual([
      { type: "SRV", name: "a", ttl: 60, priority: 1, weight: 5, port: 7844, target: "r1" },
      { type: "A", name: "a", ttl: 60, address: "192.0.2.1" },
      { type: "AAAA", name: "a", ttl: 60, address: "2001:db8:0:0:0:0:0:1" },
      { type: "TXT", name: "a", ttl: 60, texts: ["hi", "yo"] },
    ]);
  });

  it("follow compression pointers", () => {
    const message = hex(
      "0001 8180 0001 0001 0000 0000 0161 0474657374 00 0001 0001 c00c 0001 0001 00000001 0004 7f000001",
    );
    expect(decodeResponse(message).answers).toEqual([{ type: "A", name: "a.test", ttl: 1, address: "127.0.0.1" }]);
  });

  it("tell the response code and truncation", () => {
    expect(decodeResponse(response([], "8183"))).toMatchObject({ responseCode: 3, truncated: false });
    expect(decodeResponse(response([], "8380"))).toMatchObject({ responseCode: 0, truncated: true });
  });

  it.each([
    ["a pointer to itself", "0001 8180 0000 0001 0000 0000 c00c 0001 0001 00000001 0004 7f000001"],
    ["two pointers to each other", "0001 8180 0000 0001 0000 0000 c00e c00c 0001 0001 00000001 0004 7f000001"],
    ["a label of an unknown kind", "0001 8180 0000 0001 0000 0000 80 0001 0001 00000001 0004 7f000001"],
    ["an address of 3 bytes", "0001 8180 0000 0001 0000 0000 00 0001 0001 00000001 0003 7f0000"],
    ["data beyond the end", "0001 8180 0000 0001 0000 0000 00 0001 0001 00000001 0004 7f00"],
    ["65,535 answers that are not there", "0001 8180 0000 ffff 0000 0000"],
    ["a query", "0001 0100 0000 0000 0000 0000"],
    ["nothing", ""],
  ])("refuse %s", (_name, bytes) => {
    expect(() => decodeResponse(hex(bytes))).toThrow(DnsMessageError);
  });

  it("throw nothing but typed errors on mutated messages", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(RESPONSE.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(RESPONSE.length),
        (edits, cut) => {
          const message = Buffer.from(RESPONSE);
          for (const [at, value] of edits) message[at] = value;
          try {
            decodeResponse(message.subarray(0, cut));
          } catch (error) {
            expect(error).toBeInstanceOf(DnsMessageError);
          }
        },
      ),
      { numRuns: 5_000, seed: 7 },
    );
  });
});
