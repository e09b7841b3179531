/** Golden bytes of cloudflared 2026.8.2 (wire § 7, appendix A), every length at which a registration can be cut, and the limits. */
import { describe, expect, it } from "vitest";
import { DatagramError } from "../../../src/protocol/datagram/errors.ts";
import { parseSessionId } from "../../../src/protocol/datagram/session-id.ts";
import {
  readDatagramV3,
  type Registration,
  ResponseCode,
  writePacketV3,
  writePayloadV3,
  writeRegistration,
  writeResponse,
} from "../../../src/protocol/datagram/v3.ts";

const requestId = parseSessionId("000102030405060708090a0b0c0d0e0f") ?? "";
const REGISTER_V4 = "000000350005000102030405060708090a0b0c0d0e0fc0000201";
const REGISTER_V6 = "000700350005000102030405060708090a0b0c0d0e0f20010db80000000000000000000000016869";
const hex = (text: string): Buffer => Buffer.from(text, "hex");

const v4: Registration = {
  requestId,
  address: "192.0.2.1",
  port: 53,
  idleSeconds: 5,
  traced: false,
  payload: undefined,
};
const v6: Registration = { ...v4, address: "2001:db8:0:0:0:0:0:1", traced: true, payload: Buffer.from("hi") };

describe("registrations", () => {
  it("golden bytes, both ways", () => {
    expect(writeRegistration(v4).toString("hex")).toBe(REGISTER_V4);
    expect(writeRegistration({ ...v6, address: "2001:db8::1" }).toString("hex")).toBe(REGISTER_V6);
    expect(readDatagramV3(hex(REGISTER_V4))).toEqual({ kind: "registration", ...v4 });
    expect(readDatagramV3(hex(REGISTER_V6))).toEqual({ kind: "registration", ...v6 });
  });

  it("cut anywhere within the header: dropped", () => {
    for (const whole of [hex(REGISTER_V4).subarray(0, 26), hex(REGISTER_V6).subarray(0, 38)]) {
      for (let length = 1; length < whole.length; length++)
        expect(readDatagramV3(whole.subarray(0, length)).kind, `${length} bytes`).toBe("malformed");
      expect(readDatagramV3(whole).kind).toBe("registration");
    }
  });

  it("a payload comes along only when the flag says so and there is one", () => {
    const payloadOf = (datagram: string): unknown => {
      const read = readDatagramV3(hex(datagram));
      return read.kind === "registration" ? read.payload : read;
    };
    expect(payloadOf(`${REGISTER_V4}6869`)).toBeUndefined();
    expect(payloadOf(REGISTER_V4.replace("0000", "0004"))).toBeUndefined();
    expect(payloadOf(`${REGISTER_V4.replace("0000", "0004")}6869`)).toEqual(Buffer.from("hi"));
    expect(readDatagramV3(hex(REGISTER_V4.replace("0000", "0004") + "11".repeat(1281))).kind).toBe("malformed");
  });

  it("IPv4 in IPv6 form is IPv4", () => {
    const read = readDatagramV3(writeRegistration({ ...v4, address: "::ffff:192.0.2.1" }));
    expect(read).toEqual({ kind: "registration", ...v4 });
  });

  it("refuses to write what can't be one", () => {
    for (const wrong of [
      { address: "example.com" },
      { port: 65_536 },
      { port: 1.5 },
      { idleSeconds: -1 },
      { requestId: "x" },
      { payload: Buffer.alloc(1281) },
    ])
      expect(() => writeRegistration({ ...v4, ...wrong }), JSON.stringify(wrong)).toThrow(DatagramError);
  });
});

describe("payloads", () => {
  it("both ways, from 0 to 1280 bytes", () => {
    for (const length of [0, 1, 1280]) {
      const datagram = writePayloadV3(requestId, Buffer.alloc(length, 9));
      expect(datagram).toHaveLength(17 + length);
      expect(readDatagramV3(datagram)).toEqual({ kind: "payload", requestId, payload: Buffer.alloc(length, 9) });
    }
    expect(writePayloadV3(requestId, Buffer.from("hi")).toString("hex")).toBe("01000102030405060708090a0b0c0d0e0f6869");
    expect(() => writePayloadV3(requestId, Buffer.alloc(1281))).toThrow(DatagramError);
  });

  it("16 bytes and 1298 bytes are none", () => {
    expect(readDatagramV3(Buffer.alloc(16, 1)).kind).toBe("malformed");
    expect(readDatagramV3(Buffer.alloc(1298, 1)).kind).toBe("malformed");
  });
});

describe("ICMP", () => {
  it("1 to 1280 bytes behind the type", () => {
    expect(writePacketV3(hex("4500")).toString("hex")).toBe("024500");
    expect(readDatagramV3(hex("024500"))).toEqual({ kind: "icmp", packet: hex("4500") });
    expect(readDatagramV3(hex("02")).kind).toBe("malformed");
    expect(readDatagramV3(Buffer.alloc(1282, 2)).kind).toBe("malformed");
    for (const length of [0, 1281]) expect(() => writePacketV3(Buffer.alloc(length))).toThrow(DatagramError);
  });
});

describe("responses", () => {
  it("golden bytes, both ways", () => {
    const ok = "0300000102030405060708090a0b0c0d0e0f0000";
    const bad = "03ff000102030405060708090a0b0c0d0e0f0003626164";
    expect(writeResponse(requestId, ResponseCode.ok).toString("hex")).toBe(ok);
    expect(writeResponse(requestId, ResponseCode.error, "bad").toString("hex")).toBe(bad);
    expect(readDatagramV3(hex(ok))).toEqual({ kind: "response", requestId, code: 0, text: "" });
    expect(readDatagramV3(hex(bad))).toEqual({ kind: "response", requestId, code: 0xff, text: "bad" });
  });

  it("cut short, or with a text that is longer than it may be: dropped", () => {
    for (const datagram of [
      "03",
      `03${"00".repeat(18)}`,
      `0300${"00".repeat(16)}0001`,
      `0300${"00".repeat(16)}04ed${"61".repeat(1261)}`,
    ])
      expect(readDatagramV3(hex(datagram)).kind).toBe("malformed");
    expect(() => writeResponse(requestId, 0, "a".repeat(1261))).toThrow(DatagramError);
  });
});

it("types that nobody knows are dropped, and so is nothing at all", () => {
  expect(readDatagramV3(Buffer.alloc(0)).kind).toBe("malformed");
  for (let type = 4; type < 256; type++) expect(readDatagramV3(Buffer.alloc(64, type)).kind).toBe("malformed");
});
