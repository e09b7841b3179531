/** Golden bytes recorded from cloudflared 2026.8.2, and what it drops (wire § 6). */
import { describe, expect, it } from "vitest";
import { DatagramError } from "../../../src/protocol/datagram/errors.ts";
import { parseSessionId, sessionIdText } from "../../../src/protocol/datagram/session-id.ts";
import { readDatagramV2, writePacketV2, writeUdpV2 } from "../../../src/protocol/datagram/v2.ts";

const SESSION = "9e5307bb-8da2-48b5-bfbb-efd8ba07d2c2";
const GOLDEN_UDP = "68699e5307bb8da248b5bfbbefd8ba07d2c200";
const sessionId = parseSessionId(SESSION) ?? "";
const hex = (text: string): Buffer => Buffer.from(text, "hex");

describe("session ids", () => {
  it("are the sixteen bytes of a UUID, with or without dashes", () => {
    expect(sessionIdText(sessionId)).toBe(SESSION.replaceAll("-", ""));
    expect(parseSessionId(SESSION.replaceAll("-", "").toUpperCase())).toBe(sessionId);
    for (const text of ["", "9e53", `${SESSION}0`, SESSION.replace("9", "g")])
      expect(parseSessionId(text)).toBeUndefined();
  });
});

describe("datagrams, version 2", () => {
  it("UDP: golden bytes, both ways", () => {
    expect(writeUdpV2(sessionId, Buffer.from("hi")).toString("hex")).toBe(GOLDEN_UDP);
    expect(readDatagramV2(hex(GOLDEN_UDP))).toEqual({ kind: "udp", sessionId, payload: Buffer.from("hi") });
  });

  it("UDP: an empty payload is one, and 1280 bytes are the most", () => {
    expect(readDatagramV2(writeUdpV2(sessionId, Buffer.alloc(0)))).toEqual({
      kind: "udp",
      sessionId,
      payload: Buffer.alloc(0),
    });
    expect(writeUdpV2(sessionId, Buffer.alloc(1280))).toHaveLength(1297);
    expect(() => writeUdpV2(sessionId, Buffer.alloc(1281))).toThrow(DatagramError);
    expect(() => writeUdpV2("short", Buffer.alloc(1))).toThrow("5 bytes; 16 would be right");
  });

  it("IP packets: plain, traced, and spans", () => {
    const packet = hex("45000024");
    const traceIdentity = Buffer.alloc(25, 7);
    expect(writePacketV2(packet).toString("hex")).toBe("4500002401");
    expect(readDatagramV2(hex("4500002401"))).toEqual({ kind: "ip", packet, traceIdentity: undefined });
    const traced = writePacketV2(packet, traceIdentity);
    expect(traced.toString("hex")).toBe(`45000024${"07".repeat(25)}02`);
    expect(readDatagramV2(traced)).toEqual({ kind: "ip", packet, traceIdentity });
    expect(readDatagramV2(hex(`aabb${"07".repeat(25)}03`))).toEqual({
      kind: "spans",
      spans: hex("aabb"),
      traceIdentity,
    });
    expect(() => writePacketV2(packet, Buffer.alloc(24))).toThrow("24 bytes; 25 would be right");
    expect(() => writePacketV2(Buffer.alloc(1281))).toThrow(DatagramError);
  });

  it("drops what is cut short or of an unknown type", () => {
    for (const datagram of [
      "",
      "00",
      `${"11".repeat(15)}00`,
      "02",
      `${"11".repeat(24)}02`,
      `${"11".repeat(24)}03`,
      "04",
      "ff",
    ])
      expect(readDatagramV2(hex(datagram)).kind, datagram).toBe("malformed");
  });
});
