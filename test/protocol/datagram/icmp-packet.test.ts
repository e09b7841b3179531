/** Against packets that scapy made, RFC 1071's example, and bytes recorded from cloudflared (wire, appendix A). */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { addressBytes } from "../../../src/protocol/bytes/ip-address.ts";
import { checksumAdd, checksumOf } from "../../../src/protocol/datagram/checksum.ts";
import { DatagramError } from "../../../src/protocol/datagram/errors.ts";
import {
  IcmpType,
  type IcmpPacket,
  isIcmpError,
  readIcmpPacket,
  writeEchoReply,
  writeIcmpPacket,
  writeTimeExceeded,
} from "../../../src/protocol/datagram/icmp-packet.ts";

type Vector = { readonly name: string; readonly packet: string } & (
  | { readonly kind: "none" }
  | { readonly kind: "error"; readonly family: 4 | 6; readonly ttl: number }
  | { readonly kind: "echo"; readonly family: 4 | 6; readonly ttl: number; readonly reply: string }
  | {
      readonly kind: "expired";
      readonly family: 4 | 6;
      readonly ttl: number;
      readonly router: string;
      readonly reply: string;
    }
);

const { packets } = JSON.parse(
  readFileSync(new URL("../../fixtures/datagram/icmp-scapy.json", import.meta.url), "utf8"),
) as { packets: Vector[] };

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

function read(packet: Buffer): IcmpPacket {
  const icmp = readIcmpPacket(packet);
  if (icmp === undefined) throw new Error("no ICMP packet");
  return icmp;
}

describe("packets that scapy made", () => {
  for (const vector of packets) {
    it(vector.name, () => {
      const packet = hex(vector.packet);
      if (vector.kind === "none") {
        expect(readIcmpPacket(packet)).toBeUndefined();
        return;
      }
      const icmp = read(packet);
      expect(icmp).toMatchObject({ family: vector.family, ttl: vector.ttl, code: vector.kind === "error" ? 1 : 0 });
      expect(isIcmpError(icmp)).toBe(vector.kind === "error");
      expect(icmp.source).toEqual(addressBytes(vector.family === 4 ? "10.1.2.3" : "fd00::1:2"));
      expect(icmp.destination).toEqual(addressBytes(vector.family === 4 ? "192.0.2.7" : "2001:db8::7"));
      if (vector.kind === "error") return;
      expect(icmp.type).toBe(IcmpType[icmp.family].echoRequest);
      expect(icmp.rest.readUInt32BE(0)).toBe(0xbeef0201);
      if (vector.kind === "echo") expect(writeEchoReply(icmp).toString("hex")).toBe(vector.reply);
      else
        expect(writeTimeExceeded(icmp, packet, addressBytes(vector.router) ?? packet).toString("hex")).toBe(
          vector.reply,
        );
    });

    it(`${vector.name}: the same when written again`, () => {
      const packet = hex(vector.packet);
      // Without options and bytes behind the end, which are not written.
      if (vector.kind === "none" || /options|behind|error/.test(vector.name)) return;
      expect(writeIcmpPacket(read(packet)).toString("hex")).toBe(vector.packet);
    });
  }

  it("cut anywhere: none", () => {
    for (const { packet, kind } of packets.filter(({ name }) => /request, (?:0|1) bytes|options/.test(name))) {
      const whole = hex(packet);
      for (let length = 0; length < whole.length; length++)
        expect(readIcmpPacket(whole.subarray(0, length)), `${kind} ${length}`).toBeUndefined();
    }
  });
});

describe("golden bytes", () => {
  const request = hex("4500002400000000 4001efd40a010203 7f00000108002e31 1234000770696e67 64617461");

  it("echo reply", () => {
    expect(writeIcmpPacket(read(request))).toEqual(request);
    expect(writeEchoReply(read(request))).toEqual(
      hex("4500002400000000 ff0130d47f000001 0a01020300003631 1234000770696e67 64617461"),
    );
  });

  it("time exceeded", () => {
    const reply = writeTimeExceeded(read(request), request, hex("7f000001"));
    expect(reply).toEqual(Buffer.concat([hex("4500004000000000 ff0130b87f000001 0a0102030b00f4ff 00000000"), request]));
  });
});

describe("the Internet checksum", () => {
  it("RFC 1071 § 3", () => {
    expect(checksumOf(checksumAdd(0, hex("0001f203f4f5f6f7")))).toBe(0x220d);
  });

  it("is 0 over what holds it, and does not overflow on the longest packet", () => {
    expect(checksumOf(checksumAdd(0, hex("0001f203f4f5f6f7220d")))).toBe(0);
    expect(checksumOf(checksumAdd(0, Buffer.alloc(65_535, 0xff)))).toBe(0xff);
  });
});

describe("what can't be written", () => {
  const packet = read(hex(packets[0]?.packet ?? ""));

  it("is refused", () => {
    for (const wrong of [
      { family: 6 as const },
      { source: Buffer.alloc(16) },
      { destination: Buffer.alloc(3) },
      { rest: Buffer.alloc(3) },
      { rest: Buffer.alloc(65_536) },
    ])
      expect(() => writeIcmpPacket({ ...packet, ...wrong })).toThrow(DatagramError);
  });
});
