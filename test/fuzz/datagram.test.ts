/** Whatever the edge sends, the codecs of datagrams return; and what they read, they write again as it was. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  readIcmpPacket,
  writeEchoReply,
  writeIcmpPacket,
  writeTimeExceeded,
} from "../../src/protocol/datagram/icmp-packet.ts";
import { readSessionId } from "../../src/protocol/datagram/session-id.ts";
import { readDatagramV2, writePacketV2, writeUdpV2 } from "../../src/protocol/datagram/v2.ts";
import {
  readDatagramV3,
  writePacketV3,
  writePayloadV3,
  writeRegistration,
  writeResponse,
} from "../../src/protocol/datagram/v3.ts";

const RUNS = { numRuns: 5000 };
/** Short ones that are all random, and some around the limits. */
const bytes = fc.oneof(
  { weight: 9, arbitrary: fc.uint8Array({ maxLength: 90, size: "max" }).map((array) => Buffer.from(array)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: 1200, max: 1400 }), fc.uint8Array({ minLength: 1, maxLength: 60, size: "max" }))
      .map(([length, array]) => Buffer.alloc(length, array)),
  },
);
const first = fc
  .tuple(fc.integer({ min: 0, max: 5 }), bytes)
  .map(([type, rest]) => Buffer.concat([Buffer.of(type), rest]));
const last = fc
  .tuple(fc.integer({ min: 0, max: 5 }), bytes)
  .map(([type, rest]) => Buffer.concat([rest, Buffer.of(type)]));

/** Chance alone seldom makes a text of the length that it says. */
const responses = fc
  .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.constantFrom(0, 1, 2, 3, 4, 255), fc.string())
  .map(([id, code, text]) => writeResponse(readSessionId(Buffer.from(id), 0), code, text));

/** Near enough to an IP packet to get through the first checks. */
const packets = fc
  .tuple(fc.constantFrom(4, 6), fc.integer({ min: 5, max: 15 }), bytes, fc.boolean())
  .map(([version, words, body, right]) => {
    const packet = Buffer.concat([Buffer.of((version << 4) | words), body]);
    if (!right || packet.length < 48) return packet;
    if (version === 4) {
      packet.writeUInt16BE(packet.length, 2);
      packet.writeUInt16BE(0, 6);
      packet[9] = 1;
    } else {
      packet.writeUInt16BE(packet.length - 40, 4);
      packet[6] = 58;
    }
    return packet;
  });

describe("datagrams of the edge", () => {
  it("version 2", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.oneof(bytes, last), (datagram) => {
        const read = readDatagramV2(datagram);
        seen.add(read.kind);
        if (read.kind === "udp" && read.payload.length <= 1280)
          expect(writeUdpV2(read.sessionId, read.payload)).toEqual(datagram);
        if (read.kind === "ip" && read.packet.length <= 1280)
          expect(writePacketV2(read.packet, read.traceIdentity)).toEqual(datagram);
      }),
      RUNS,
    );
    expect([...seen].sort()).toEqual(["ip", "malformed", "spans", "udp"]);
  });

  it("version 3", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.oneof(bytes, first, responses), (datagram) => {
        const read = readDatagramV3(datagram);
        seen.add(read.kind);
        if (read.kind === "payload") expect(writePayloadV3(read.requestId, read.payload)).toEqual(datagram);
        if (read.kind === "icmp") expect(writePacketV3(read.packet)).toEqual(datagram);
        if (read.kind === "registration") expect(readDatagramV3(writeRegistration(read))).toEqual(read);
        if (read.kind === "response" && Buffer.byteLength(read.text) <= 1260)
          expect(readDatagramV3(writeResponse(read.requestId, read.code, read.text))).toEqual(read);
      }),
      RUNS,
    );
    expect([...seen].sort()).toEqual(["icmp", "malformed", "payload", "registration", "response"]);
  });

  it("IP packets", () => {
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(bytes, packets), (packet) => {
        const icmp = readIcmpPacket(packet);
        if (icmp === undefined) return;
        read++;
        const again = readIcmpPacket(writeIcmpPacket(icmp));
        expect(again).toEqual(icmp);
        expect(readIcmpPacket(writeEchoReply(icmp))?.rest).toEqual(icmp.rest);
        const exceeded = writeTimeExceeded(icmp, packet, icmp.destination);
        expect(exceeded.length).toBeLessThanOrEqual(icmp.family === 4 ? 576 : 1280);
        expect(readIcmpPacket(exceeded)?.destination).toEqual(icmp.source);
      }),
      RUNS,
    );
    expect(read).toBeGreaterThan(200);
  });
});
