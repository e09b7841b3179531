import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frameMessage, unframeMessage } from "../../../src/protocol/dns/framing.ts";
import { decodeResponse, DnsMessageError, encodeQuery } from "../../../src/protocol/dns/message.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** An SRV response with compressed names, as seed of the mutations too. */
const COMPRESSED = hex(`
  1234 8180 0001 0002 0000 0000
  045f737663 045f746370 0161 0474657374 00 0021 0001
  c00c 0021 0001 0000012c 000b 0001 0002 1ea4 027231 c018
  c00c 0021 0001 0000012c 000b 0002 0000 1ea4 027232 c018
`);

describe("framing (RFC 1035 § 4.2.2)", () => {
  it("puts the length before a message, and finds the message again when it is whole", () => {
    const framed = frameMessage(Buffer.from("query"));
    expect(framed.toString("latin1")).toBe("\0\x05query");
    for (let cut = 0; cut < framed.length; cut++) expect(unframeMessage(framed.subarray(0, cut))).toBeUndefined();
    expect(unframeMessage(Buffer.concat([framed, Buffer.from("more")]))?.toString()).toBe("query");
    expect(unframeMessage(Buffer.alloc(2))).toHaveLength(0);
  });
});

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
        "0161 00 0021 0001 0000003c 000a 0001 0005 1ea4 0272 31 00",
        "0161 00 0001 0001 0000003c 0004 c0000201",
        "0161 00 001c 0001 0000003c 0010 20010db8000000000000000000000001",
        "0161 00 0010 0001 0000003c 0006 026869 02796f",
        "0161 00 0005 0001 0000003c 0003 0162 00",
        "0161 00 0001 0003 0000003c 0004 c0000201",
      ]),
    );
    expect(answers).toEqual([
      { type: "SRV", name: "a", ttl: 60, priority: 1, weight: 5, port: 7844, target: "r1" },
      { type: "A", name: "a", ttl: 60, address: "192.0.2.1" },
      { type: "AAAA", name: "a", ttl: 60, address: "2001:db8::1" },
      { type: "TXT", name: "a", ttl: 60, texts: ["hi", "yo"] },
    ]);
  });

  it("follow compression pointers", () => {
    const message = hex(
      "0001 8180 0001 0001 0000 0000 0161 0474657374 00 0001 0001 c00c 0001 0001 00000001 0004 7f000001",
    );
    expect(decodeResponse(message).answers).toEqual([{ type: "A", name: "a.test", ttl: 1, address: "127.0.0.1" }]);
  });

  it("follow a pointer to a name that ends in a pointer", () => {
    const records = ["0474657374 00 0001 0001 00000001 0004 7f000001", "0161 c00c 0001 0001 00000001 0004 7f000002"];
    const third = "0162 c020 0001 0001 00000001 0004 7f000003";
    expect(decodeResponse(response([...records, third])).answers).toMatchObject([
      { name: "test", address: "127.0.0.1" },
      { name: "a.test", address: "127.0.0.2" },
      { name: "b.a.test", address: "127.0.0.3" },
    ]);
  });

  it("follow pointers inside SRV data, and read on behind them", () => {
    expect(decodeResponse(COMPRESSED).answers).toEqual([
      { type: "SRV", name: "_svc._tcp.a.test", ttl: 300, priority: 1, weight: 2, port: 7844, target: "r1.test" },
      { type: "SRV", name: "_svc._tcp.a.test", ttl: 300, priority: 2, weight: 0, port: 7844, target: "r2.test" },
    ]);
  });

  it.each([
    ["20010db8000000000000000000000001", "2001:db8::1"],
    ["00000000000000000000000000000001", "::1"],
    ["20010db8000100020003000400050006", "2001:db8:1:2:3:4:5:6"],
    ["fe800000000000000001000000000000", "fe80::1:0:0:0"],
  ])("write the IPv6 address %s as %s (RFC 5952)", (bytes, address) => {
    expect(decodeResponse(response([`00 001c 0001 00000001 0010 ${bytes}`])).answers).toMatchObject([{ address }]);
  });

  it("write odd bytes of a name as RFC 1035 § 5.1 does, dots in a label included", () => {
    const odd = decodeResponse(response(["04 2e5c0aff 0163 00 0001 0001 00000001 0004 7f000001"]));
    expect(odd.answers[0]?.name).toBe(String.raw`\046\092\010\255.c`);
  });

  it("tell the response code and truncation", () => {
    expect(decodeResponse(response([], "8183"))).toMatchObject({ responseCode: 3, truncated: false });
    expect(decodeResponse(response([], "8380"))).toMatchObject({ responseCode: 0, truncated: true });
  });

  const longName = (last: number): string =>
    `${`3f${"61".repeat(63)}`.repeat(3)}${last.toString(16)}${"61".repeat(last)}00`;

  it("take names of 255 bytes", () => {
    const { answers } = decodeResponse(response([`${longName(61)} 0001 0001 00000001 0004 7f000001`]));
    expect(answers[0]?.name).toHaveLength(253);
  });

  it.each([
    ["a pointer to itself", ["c00c 0001 0001 00000001 0004 7f000001"], /too many compression pointers/],
    ["two pointers to each other", ["c00e c00c 0001 0001 00000001 0004 7f000001"], /too many compression pointers/],
    ["a pointer beyond the end", ["c0ff 0001 0001 00000001 0004 7f000001"], /ends too early/],
    ["a label of an unknown kind", ["80 0001 0001 00000001 0004 7f000001"], /unknown kind/],
    ["a name of 256 bytes", [`${longName(62)} 0001 0001 00000001 0004 7f000001`], /longer than 255/],
    [
      "a name that pointers make too long",
      [`${longName(61)} 0001 0001 00000001 0004 7f000001`, "0161 c00c 0001 0001 00000001 0004 7f000001"],
      /longer than 255/,
    ],
    ["an A record of 3 bytes", ["00 0001 0001 00000001 0003 7f0000"], /wrong length/],
    ["an AAAA record of 15 bytes", [`00 001c 0001 00000001 000f ${"00".repeat(15)}`], /wrong length/],
    ["data beyond the end", ["00 0001 0001 00000001 0004 7f00"], /ends too early/],
    ["SRV data without a name", ["00 0021 0001 00000001 0006 0001 0005 1ea4"], /ends too early/],
    [
      "an SRV name that runs out of its record",
      ["00 0021 0001 00000001 0008 0001 0005 1ea4 0272 3100"],
      /ends too early/,
    ],
    ["a text that runs out of its record", ["00 0010 0001 00000001 0002 0561 6161616161"], /ends too early/],
  ])("refuse %s", (_name, records, message) => {
    const refused = expect.objectContaining({
      code: "ERR_UNDERPASS_DNS_MESSAGE",
      message: expect.stringMatching(message),
    });
    expect(() => decodeResponse(response(records))).toThrow(refused);
  });

  it.each([
    ["65,535 answers that are not there", "0001 8180 0000 ffff 0000 0000", /ends too early/],
    ["65,535 questions that are not there", "0001 8180 ffff 0000 0000 0000", /ends too early/],
    ["a query", "0001 0100 0000 0000 0000 0000", /a query came/],
    ["nothing", "", /ends too early/],
  ])("refuse %s", (_name, bytes, message) => {
    expect(() => decodeResponse(hex(bytes))).toThrow(message);
  });

  it("throw nothing but typed errors on mutated messages", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(COMPRESSED.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(COMPRESSED.length),
        (edits, cut) => {
          const message = Buffer.from(COMPRESSED);
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
