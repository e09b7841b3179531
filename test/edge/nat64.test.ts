import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nat64Prefixes, nat64PrefixOf, synthesize, withNat64 } from "../../src/edge/nat64.ts";
import { addressBytes } from "../../src/protocol/bytes/ip-address.ts";

/** RFC 6052 § 2.4, table 1: 192.0.2.33 under each length of prefix. */
const TABLE: readonly [string, 32 | 40 | 48 | 56 | 64 | 96, string][] = [
  ["2001:db8::", 32, "2001:db8:c000:221::"],
  ["2001:db8:100::", 40, "2001:db8:1c0:2:21::"],
  ["2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"],
  ["2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"],
  ["2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100:0"],
  ["2001:db8:122:344::", 96, "2001:db8:122:344::c000:221"],
];

const prefix = (text: string, length: 32 | 40 | 48 | 56 | 64 | 96) => ({
  bytes: (addressBytes(text) ?? Buffer.alloc(0)).subarray(0, length / 8),
  length,
});

const bytes = (text: string) => addressBytes(text)?.toString("hex");

describe("an IPv4 address in IPv6 form (RFC 6052 § 2.4)", () => {
  it.each(TABLE)("under %s/%i is %s", (text, length, expected) => {
    expect(bytes(synthesize(prefix(text, length), "192.0.2.33"))).toBe(bytes(expected));
  });

  it("under the well-known prefix is written as RFC 5952 has it", () => {
    expect(synthesize(prefix("64:ff9b::", 96), "198.51.100.7")).toBe("64:ff9b::c633:6407");
  });
});

describe("the prefix of a network's NAT64 (RFC 7050)", () => {
  it.each(TABLE)("%s/%i is found in the answer for ipv4only.arpa", (text, length) => {
    for (const known of ["192.0.0.170", "192.0.0.171"]) {
      const found = nat64PrefixOf(synthesize(prefix(text, length), known));
      expect(found).toEqual(prefix(text, length));
    }
  });

  it("is not found in other addresses", () => {
    for (const address of ["2001:db8::1", "64:ff9b::c000:221", "192.0.0.170", "nonsense", "::"]) {
      expect(nat64PrefixOf(address)).toBeUndefined();
    }
  });

  it("is told once, however many answers have it", () => {
    const answers = ["64:ff9b::c000:aa", "64:ff9b::c000:ab", "2001:db8:122:344::c000:aa", "2001:db8::5"];
    expect(nat64Prefixes(answers).map(({ bytes: found, length }) => `${found.toString("hex")}/${length}`)).toEqual([
      "0064ff9b0000000000000000/96",
      "20010db80122034400000000/96",
    ]);
  });

  it("whatever an answer holds is a prefix or none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (random) => {
        const text = Array.from({ length: 8 }, (_, i) =>
          Buffer.from(random)
            .readUInt16BE(i * 2)
            .toString(16),
        ).join(":");
        const found = nat64PrefixOf(text);
        if (found !== undefined) expect(bytes(synthesize(found, "192.0.0.170"))).toHaveLength(32);
      }),
    );
  });
});

describe("regions on a network with IPv6 alone", () => {
  const v4 = { ip: "192.0.2.33", port: 7844, family: 4 } as const;
  const v6 = { ip: "2001:db8::1", port: 7844, family: 6 } as const;

  it("get IPv6 forms of their IPv4 addresses where they have no IPv6 of their own", () => {
    expect(withNat64([[v4], [v4, v6]], [prefix("64:ff9b::", 96)])).toEqual([
      [v4, { ip: "64:ff9b::c000:221", port: 7844, family: 6 }],
      [v4, v6],
    ]);
    expect(withNat64([[v4]], [])).toEqual([[v4]]);
  });
});
