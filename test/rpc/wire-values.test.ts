import { describe, expect, it } from "vitest";
import { msFromNs, nsFromMs } from "../../src/rpc/duration.ts";
import { messageOf, remoteText } from "../../src/rpc/errors.ts";
import { ipFromBytes, ipToBytes } from "../../src/rpc/ip.ts";
import { uuidFromBytes, uuidToBytes } from "../../src/rpc/uuid.ts";

const hex = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

describe("IP addresses", () => {
  it.each([
    ["192.0.2.1", "00000000000000000000ffffc0000201", "192.0.2.1"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201", "192.0.2.1"],
    ["2001:db8::1", "20010db8000000000000000000000001", "2001:db8::1"],
    ["2001:DB8:0:0:1:0:0:1", "20010db8000000000001000000000001", "2001:db8::1:0:0:1"],
    ["::", "00000000000000000000000000000000", "::"],
    ["::1", "00000000000000000000000000000001", "::1"],
    ["1::", "00010000000000000000000000000000", "1::"],
    ["64:ff9b::192.0.2.33", "0064ff9b0000000000000000c0000221", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008", "1:2:3:4:5:6:7:8"],
    ["fe80::1%eth0", "fe800000000000000000000000000001", "fe80::1"],
  ])("%s", (text, wire, canonical) => {
    expect(hex(ipToBytes(text))).toBe(wire);
    expect(ipFromBytes(bytes(wire))).toBe(canonical);
  });

  it("of 4 bytes are taken, other lengths and other texts are none", () => {
    expect(ipFromBytes(bytes("0a000007"))).toBe("10.0.0.7");
    for (const wire of ["", "01", "0102030405", "00".repeat(17)]) expect(ipFromBytes(bytes(wire))).toBeUndefined();
    for (const text of ["", "localhost", "1.2.3", "1.2.3.4:80", "[::1]", ":::"])
      expect(ipToBytes(text)).toBeUndefined();
  });
});

describe("UUIDs", () => {
  it("are 16 bytes on the wire", () => {
    const text = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    expect(hex(uuidToBytes(text))).toBe("0f1e2d3c4b5a69788796a5b4c3d2e1f0");
    expect(hex(uuidToBytes(text.toUpperCase()))).toBe("0f1e2d3c4b5a69788796a5b4c3d2e1f0");
    expect(uuidFromBytes(bytes("0f1e2d3c4b5a69788796a5b4c3d2e1f0"))).toBe(text);
  });

  it("are nothing else", () => {
    for (const text of [
      "",
      "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
      "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n",
      "g".repeat(36),
    ])
      expect(uuidToBytes(text)).toBeUndefined();
    for (const length of [0, 15, 17]) expect(uuidFromBytes(new Uint8Array(length))).toBeUndefined();
  });
});

describe("durations", () => {
  it.each([
    [0n, 0],
    [-1n, 0],
    [-(2n ** 63n), 0],
    [1n, 1],
    [1_000_000n, 1],
    [1_000_001n, 2],
    [5_000_000_000n, 5000],
    [2n ** 63n - 1n, 2 ** 31 - 1],
  ])("%s ns are %i ms", (ns, ms) => expect(msFromNs(ns)).toBe(ms));

  it.each([
    [0, 0n],
    [-5, 0n],
    [1, 1_000_000n],
    [2 ** 40, BigInt(2 ** 31 - 1) * 1_000_000n],
    [Number.POSITIVE_INFINITY, BigInt(2 ** 31 - 1) * 1_000_000n],
  ])("%d ms are %s ns", (ms, ns) => expect(nsFromMs(ms)).toBe(ns));
});

describe("text of the peer", () => {
  it("loses its control characters and its length", () => {
    expect(remoteText("a\u001b[31m\nb\u0085")).toBe("a\ufffd[31m b\ufffd");
    expect(remoteText("x".repeat(2000))).toBe(`${"x".repeat(1024)}…`);
    expect(remoteText("EDUPCONN")).toBe("EDUPCONN");
  });

  it("has a message whatever was thrown", () => {
    expect(messageOf(new Error("a"))).toBe("a");
    expect(messageOf("b")).toBe("b");
    for (const odd of [undefined, null, 1, {}, Object.create(null), Object.assign(new Error("c"), { message: 5 })])
      expect(messageOf(odd)).toBe("unknown error");
  });
});
