import net from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBytes, addressText, unmapped } from "../../../src/protocol/bytes/ip-address.ts";

/** As the URL parser writes it: a second opinion. */
function canonical(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

describe("an IP address", () => {
  it("is read as net.isIP has it", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/)),
        (text) => {
          expect(addressBytes(text)?.length).toBe({ 0: undefined, 4: 4, 6: 16 }[net.isIP(text)]);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("has the same value in every form", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const bytes = addressBytes(text);
        if (bytes === undefined) throw new Error(`${text} was not read`);
        expect(canonical(addressText(bytes))).toBe(canonical(text));
        expect(addressBytes(canonical(text))).toEqual(bytes);
      }),
    );
    expect(addressBytes("192.0.2.255")).toEqual(Buffer.from("c00002ff", "hex"));
    expect(addressBytes("2001:db8::1")).toEqual(Buffer.from("20010db8000000000000000000000001", "hex"));
    expect(addressBytes("::")).toEqual(Buffer.alloc(16));
  });

  for (const text of [
    "",
    "1.2.3",
    "01.2.3.4",
    "256.1.1.1",
    "1::2::3",
    "1:2:3:4:5:6:7::8",
    "fe80::1%lo",
    "12345::",
    ":1::",
    "::1.2.3",
    "1.2.3.4::",
  ]) {
    it(`is not ${JSON.stringify(text)}`, () => {
      expect(addressBytes(text)).toBeUndefined();
    });
  }

  it("of IPv4 in IPv6 form is the one of IPv4", () => {
    expect(unmapped(addressBytes("::ffff:192.0.2.1") ?? Buffer.alloc(0))).toEqual(addressBytes("192.0.2.1"));
    const other = Buffer.from("00000000000000000000fffe01020304", "hex");
    expect(unmapped(other)).toBe(other);
    expect(addressText(Buffer.from([192, 0, 2, 1]))).toBe("192.0.2.1");
  });
});
