/** Golden bytes by the tables of HAProxy's proxy-protocol.txt. */
import { describe, expect, it } from "vitest";
import { encodeProxyHeader } from "../../../src/protocol/proxy-protocol/header.ts";

const v4 = { address: "192.168.0.1", port: 56324 };
const to4 = { address: "192.168.0.11", port: 443 };
const v6 = { address: "2001:db8::7", port: 0 };
const to6 = { address: "::1", port: 22 };
const SIGNATURE = "0d0a0d0a000d0a515549540a";
const MAPPED = "00000000000000000000ffff";

describe("PROXY protocol v1", () => {
  it("names both ends in one line", () => {
    expect(encodeProxyHeader("v1", v4, to4).toString()).toBe("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    expect(encodeProxyHeader("v1", v6, to6).toString()).toBe(
      "PROXY TCP6 2001:db8:0:0:0:0:0:7 0:0:0:0:0:0:0:1 0 22\r\n",
    );
  });

  it("writes both in one family", () => {
    expect(encodeProxyHeader("v1", v6, to4).toString()).toBe(
      "PROXY TCP6 2001:db8:0:0:0:0:0:7 0:0:0:0:0:ffff:c0a8:b 0 443\r\n",
    );
  });

  it("fits into the 107 bytes that readers provide", () => {
    const longest = { address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port: 65_535 };
    expect(encodeProxyHeader("v1", longest, longest)).toHaveLength(104);
  });

  for (const source of [undefined, { address: "not an address\r\nPROXY TCP4", port: 1 }]) {
    it(`says UNKNOWN of ${source?.address.slice(0, 6) ?? "nobody"}`, () => {
      expect(encodeProxyHeader("v1", source, to4).toString()).toBe("PROXY UNKNOWN\r\n");
    });
  }
});

describe("PROXY protocol v2", () => {
  it("carries addresses and ports", () => {
    expect(encodeProxyHeader("v2", v4, to4).toString("hex")).toBe(`${SIGNATURE}2111000cc0a80001c0a8000bdc0401bb`);
    expect(encodeProxyHeader("v2", v6, to6).toString("hex")).toBe(
      `${SIGNATURE}2121002420010db8000000000000000000000007${"0".repeat(31)}100000016`,
    );
  });

  it("writes both in one family", () => {
    expect(encodeProxyHeader("v2", v4, to6).toString("hex")).toBe(
      `${SIGNATURE}21210024${MAPPED}c0a80001${"0".repeat(31)}1dc040016`,
    );
  });

  it("is LOCAL without a visitor's address", () => {
    expect(encodeProxyHeader("v2", undefined, to4).toString("hex")).toBe(`${SIGNATURE}20000000`);
  });
});
