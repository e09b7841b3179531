/** RFC 9001 App. A.1 to A.5: keys, both Initial packets, Retry, and a ChaCha20 packet, opened and made. */
import { describe, expect, it } from "vitest";
import {
  HeaderReader,
  longHeaderSize,
  PacketType,
  writeLongHeader,
  writeLongLength,
  writeShortHeader,
} from "../../../src/protocol/quic/header.ts";
import {
  deriveHeaderKey,
  deriveInitialKeys,
  deriveKeys,
  derivePacketKey,
  type DirectionKeys,
  nextSecret,
} from "../../../src/protocol/quic/key-schedule.ts";
import { readTruncatedPacketNumber, writePacketNumber } from "../../../src/protocol/quic/packet-number.ts";
import { HeaderKey, PacketKey, SUITES, TAG_LENGTH } from "../../../src/protocol/quic/protection.ts";
import { openRetry, writeRetry } from "../../../src/protocol/quic/retry.ts";
import {
  CHACHA20_PACKET,
  CHACHA20_SECRET,
  CLIENT_INITIAL,
  CLIENT_INITIAL_PAYLOAD,
  DESTINATION_ID,
  RETRY,
  SERVER_INITIAL,
  SERVER_INITIAL_PAYLOAD,
} from "./rfc9001-vectors.ts";

const hex = (text: string): Buffer => Buffer.from(text, "hex");
const NONE = Buffer.alloc(0);
const SERVER_ID = hex("f067a5502a4262b5");

interface Opened {
  readonly header: HeaderReader;
  readonly packetNumber: number;
  readonly payload: Buffer | undefined;
}

function open(packet: Buffer, keys: DirectionKeys, idLength: number): Opened {
  const bytes = Buffer.from(packet);
  const header = new HeaderReader();
  expect(header.read(bytes, 0, idLength)).toBe(true);
  const length = keys.header.unprotect(bytes, 0, header.payloadStart);
  const packetNumber = readTruncatedPacketNumber(bytes, header.payloadStart, length);
  return {
    header,
    packetNumber,
    payload: keys.packet.open(packetNumber, bytes, 0, header.payloadStart + length, header.end),
  };
}

/** Seals `payload` behind the header that stands in `bytes` up to the packet number at `numberStart`. */
function seal(
  bytes: Buffer,
  numberStart: number,
  packetNumber: number,
  length: number,
  payload: Buffer,
  keys: DirectionKeys,
): Buffer {
  writePacketNumber(bytes, numberStart, packetNumber, length);
  const start = numberStart + length;
  payload.copy(bytes, start);
  const end = keys.packet.seal(packetNumber, bytes, 0, start, start + payload.length);
  keys.header.protect(bytes, 0, numberStart, length);
  return bytes.subarray(0, end);
}

describe("RFC 9001 App. A", () => {
  const { client, server } = deriveInitialKeys(DESTINATION_ID);

  it("A.1: keys of both sides", () => {
    const made = new PacketKey(
      SUITES.TLS_AES_128_GCM_SHA256,
      hex("1f369613dd76d5467730efcbe3b1a22d"),
      hex("fa044b2f42a3fd3b46fb255c"),
    );
    const made2 = new PacketKey(
      SUITES.TLS_AES_128_GCM_SHA256,
      hex("cf3a5331653c364c88f0f379b6067e37"),
      hex("0ac1493ca1905853b0bba03e"),
    );
    for (const [mine, rfc] of [
      [client.packet, made],
      [server.packet, made2],
    ] as const) {
      const one = Buffer.alloc(64);
      const other = Buffer.alloc(64);
      mine.seal(3, one, 0, 20, 40);
      rfc.seal(3, other, 0, 20, 40);
      expect(one).toEqual(other);
    }
    const masked = Buffer.concat([
      hex("c300000001"),
      Buffer.alloc(17),
      hex("00000000"),
      hex("d1b1c98dd7689fb8ec11d242b123dc9b"),
    ]);
    new HeaderKey(SUITES.TLS_AES_128_GCM_SHA256, hex("9f50449e04a0e810283a1e9933adedd2")).protect(masked, 0, 22, 4);
    expect([masked[0], masked.toString("hex", 22, 26)]).toEqual([0xc0, "7b9aec36"]);
  });

  it("A.2: the client's Initial", () => {
    const payload = Buffer.concat([CLIENT_INITIAL_PAYLOAD, Buffer.alloc(917)]);
    const opened = open(CLIENT_INITIAL, client, 0);
    expect(opened.header).toMatchObject({
      type: PacketType.initial,
      version: 1,
      end: 1200,
      tokenStart: 16,
      tokenEnd: 16,
    });
    expect(opened.packetNumber).toBe(2);
    expect(opened.payload).toEqual(payload);

    const bytes = Buffer.alloc(1200);
    const ids = { destination: DESTINATION_ID, source: NONE };
    const numberStart = writeLongHeader(bytes, 0, PacketType.initial, ids, undefined, 4);
    expect(numberStart + 4).toBe(longHeaderSize(PacketType.initial, ids, NONE, 4));
    writeLongLength(bytes, numberStart, numberStart + 4 + payload.length + TAG_LENGTH);
    expect(bytes.toString("hex", 0, numberStart)).toBe("c300000001088394c8f03e5157080000449e");
    expect(seal(bytes, numberStart, 2, 4, payload, client)).toEqual(CLIENT_INITIAL);
  });

  it("A.3: the server's Initial", () => {
    const opened = open(SERVER_INITIAL, server, 0);
    expect(opened.packetNumber).toBe(1);
    expect(opened.payload).toEqual(SERVER_INITIAL_PAYLOAD);

    const bytes = Buffer.alloc(200);
    const ids = { destination: NONE, source: SERVER_ID };
    const numberStart = writeLongHeader(bytes, 0, PacketType.initial, ids, NONE, 2);
    writeLongLength(bytes, numberStart, numberStart + 2 + SERVER_INITIAL_PAYLOAD.length + TAG_LENGTH);
    expect(seal(bytes, numberStart, 1, 2, SERVER_INITIAL_PAYLOAD, server)).toEqual(SERVER_INITIAL);
  });

  it("A.4: Retry, its integrity tag made and checked", () => {
    const ids = { destination: NONE, source: SERVER_ID };
    expect(writeRetry(ids, Buffer.from("token"), DESTINATION_ID)).toEqual(RETRY);
    const header = new HeaderReader();
    expect(header.read(RETRY, 0, 0)).toBe(true);
    expect(header.type).toBe(PacketType.retry);
    expect(openRetry(RETRY, header, DESTINATION_ID)?.toString()).toBe("token");
    expect(openRetry(RETRY, header, SERVER_ID)).toBeUndefined();
    for (let at = 0; at < RETRY.length; at++) {
      const damaged = Buffer.from(RETRY);
      damaged[at] = (damaged[at] as number) ^ 1;
      expect(openRetry(damaged, header, DESTINATION_ID), `byte ${at}`).toBeUndefined();
    }
  });

  it("A.5: a short packet under ChaCha20-Poly1305", () => {
    const suite = SUITES.TLS_CHACHA20_POLY1305_SHA256;
    expect(nextSecret(suite, CHACHA20_SECRET).toString("hex")).toBe(
      "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9",
    );
    const keys = deriveKeys(suite, CHACHA20_SECRET);
    const bytes = Buffer.alloc(40);
    const numberStart = writeShortHeader(bytes, 0, NONE, 0, 3);
    expect(seal(bytes, numberStart, 654_360_564, 3, Buffer.of(1), keys)).toEqual(CHACHA20_PACKET);

    const received = Buffer.from(CHACHA20_PACKET);
    const length = keys.header.unprotect(received, 0, 1);
    expect([length, readTruncatedPacketNumber(received, 1, 3)]).toEqual([3, 49_140]);
    expect(keys.packet.open(654_360_564, received, 0, 4, received.length)).toEqual(Buffer.of(1));
  });
});

describe("packet protection", () => {
  it.each(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] as const)(
    "%s: opens what it sealed, whatever the number, and nothing that was changed",
    (name) => {
      const suite = SUITES[name];
      const secret = Buffer.alloc(suite.hash === "sha384" ? 48 : 32, 7);
      const key = derivePacketKey(suite, secret);
      const header = deriveHeaderKey(suite, secret);
      const payload = Buffer.from("a payload of some bytes");
      for (const packetNumber of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
        const bytes = Buffer.alloc(100);
        bytes.write("header", "latin1");
        payload.copy(bytes, 6);
        const end = key.seal(packetNumber, bytes, 0, 6, 6 + payload.length);
        expect(end).toBe(6 + payload.length + TAG_LENGTH);
        const before = Buffer.from(bytes);
        header.protect(bytes, 0, 2, 4);
        expect(bytes.equals(before)).toBe(false);
        expect(header.unprotect(bytes, 0, 2)).toBe(((before[0] as number) & 3) + 1);
        expect(key.open(packetNumber, before, 0, 6, end)).toEqual(payload);
        expect(key.open(packetNumber + (packetNumber === 2 ** 53 - 1 ? -1 : 1), before, 0, 6, end)).toBeUndefined();
        for (let at = 0; at < end; at++) {
          const damaged = Buffer.from(before);
          damaged[at] = (damaged[at] as number) ^ 0x10;
          expect(key.open(packetNumber, damaged, 0, 6, end), `byte ${at}`).toBeUndefined();
        }
      }
    },
  );

  it("opens nothing that has no room for a tag", () => {
    const key = derivePacketKey(SUITES.TLS_AES_128_GCM_SHA256, Buffer.alloc(32));
    expect(key.open(0, Buffer.alloc(30), 0, 20, 30)).toBeUndefined();
  });
});
