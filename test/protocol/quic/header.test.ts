/** Headers of RFC 9000 § 17: what is read of each form, what is dropped, coalesced packets. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  HeaderReader,
  PacketType,
  writeLongHeader,
  writeLongIds,
  writeLongLength,
  writeShortHeader,
} from "../../../src/protocol/quic/header.ts";
import { refusesVersion1, writeVersionNegotiation } from "../../../src/protocol/quic/version-negotiation.ts";

const IDS = { destination: Buffer.from("d0d1d2d3", "hex"), source: Buffer.from("50515253", "hex") };
const read = (bytes: Buffer, at = 0, idLength = 4): HeaderReader | undefined => {
  const header = new HeaderReader();
  return header.read(bytes, at, idLength) ? header : undefined;
};

function longPacket(type: PacketType, payload = 30, token?: Buffer): Buffer {
  const bytes = Buffer.alloc(200);
  const numberStart = writeLongHeader(bytes, 0, type, IDS, token, 1);
  writeLongLength(bytes, numberStart, numberStart + payload);
  return bytes.subarray(0, numberStart + payload);
}

describe("packet headers", () => {
  it("of each long form", () => {
    const token = Buffer.from("token");
    for (const type of [PacketType.initial, PacketType.zeroRtt, PacketType.handshake]) {
      const bytes = longPacket(type, 30, type === PacketType.initial ? token : undefined);
      const header = read(bytes);
      expect(header).toMatchObject({ type, version: 1, end: bytes.length, payloadStart: bytes.length - 30 });
      expect(bytes.subarray(header?.destinationStart, header?.destinationEnd)).toEqual(IDS.destination);
      expect(bytes.subarray(header?.sourceStart, header?.sourceEnd)).toEqual(IDS.source);
      if (type === PacketType.initial) expect(bytes.subarray(header?.tokenStart, header?.tokenEnd)).toEqual(token);
    }
  });

  it("of the short form", () => {
    const bytes = Buffer.alloc(40);
    expect(writeShortHeader(bytes, 0, IDS.destination, 1, 2)).toBe(5);
    expect(bytes[0]).toBe(0b0100_0101);
    expect(read(bytes)).toMatchObject({ type: PacketType.oneRtt, payloadStart: 5, end: 40, destinationEnd: 5 });
  });

  it("of coalesced packets, one after the other", () => {
    const short = Buffer.alloc(40);
    writeShortHeader(short, 0, IDS.destination, 0, 1);
    const datagram = Buffer.concat([longPacket(PacketType.initial), longPacket(PacketType.handshake), short]);
    const types: number[] = [];
    for (let at = 0; at < datagram.length; ) {
      const header = read(datagram, at);
      if (header === undefined) break;
      types.push(header.type);
      at = header.end;
    }
    expect(types).toEqual([PacketType.initial, PacketType.handshake, PacketType.oneRtt]);
  });

  it("of other versions: their ids, however long", () => {
    const bytes = Buffer.alloc(600);
    const ids = { destination: Buffer.alloc(255, 1), source: Buffer.alloc(30, 2) };
    writeLongIds(bytes, 0, 0xc0, 0x6b3343cf, ids);
    const header = read(bytes);
    expect(header).toMatchObject({ type: PacketType.otherVersion, version: 0x6b3343cf });
    expect(bytes.subarray(header?.sourceStart, header?.sourceEnd)).toEqual(ids.source);
    // The same ids in version 1 are none.
    writeLongIds(bytes, 0, 0xc0, 1, ids);
    expect(read(bytes)).toBeUndefined();
  });

  it.each([
    ["nothing", ""],
    ["no fixed bit, short", "00".repeat(40)],
    ["no fixed bit, long", `8000000001${"00".repeat(40)}`],
    ["a short packet without a sample", `40${"00".repeat(23)}`],
    ["a long one that ends in its version", "c0000000"],
    ["one that ends in its destination id", "c0000000010801020304"],
    ["one that ends in its source id", "c000000001000801020304"],
    ["a destination id of 21 bytes", `c00000000115${"01".repeat(60)}`],
    ["a token longer than the packet", "c000000001000040ff00"],
    ["a token of 2^62 bytes", "c0000000010000ffffffffffffffff00"],
    ["a length beyond the datagram", `c000000001000000407f${"00".repeat(40)}`],
    ["a length without a sample", `c00000000100000013${"00".repeat(40)}`],
  ])("none: %s", (_what, hex) => {
    expect(read(Buffer.from(hex, "hex"))).toBeUndefined();
  });

  it("never point outside of the datagram, whatever it holds", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.constantFrom(0, 4, 8, 20),
        fc.boolean(),
        (noise, idLength, one) => {
          const bytes = Buffer.from(noise);
          if (one && bytes.length > 5) bytes.writeUInt32BE(1, 1);
          const header = read(bytes, 0, idLength);
          if (header === undefined) return;
          const { destinationStart, destinationEnd, payloadStart, end } = header;
          expect([destinationStart <= destinationEnd, destinationEnd <= payloadStart, payloadStart <= end]).toEqual([
            true,
            true,
            true,
          ]);
          expect(end).toBeLessThanOrEqual(bytes.length);
          expect(end).toBeGreaterThan(0);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("version negotiation", () => {
  const random = (length: number): Buffer => Buffer.alloc(length, 0xff);

  it("offers version 1 and a reserved one, with the ids turned around", () => {
    const packet = writeVersionNegotiation({ destination: IDS.source, source: IDS.destination }, random);
    const header = read(packet);
    expect(header).toMatchObject({ type: PacketType.versionNegotiation, version: 0 });
    expect(packet.subarray(header?.destinationStart, header?.destinationEnd)).toEqual(IDS.source);
    expect(packet.toString("hex", header?.payloadStart)).toBe("fafafafa00000001");
  });

  it("refuses us only where version 1 is not in a well-formed list", () => {
    const refuses = (list: string): boolean => {
      const packet = Buffer.concat([Buffer.from("c0000000000000", "hex"), Buffer.from(list, "hex")]);
      const header = read(packet);
      return header !== undefined && refusesVersion1(packet, header);
    };
    expect(refuses("6b3343cf")).toBe(true);
    expect(refuses("6b3343cf1a2a3a4a")).toBe(true);
    expect(refuses("6b3343cf00000001")).toBe(false);
    expect(refuses("")).toBe(false);
    expect(refuses("6b3343")).toBe(false);
  });
});
