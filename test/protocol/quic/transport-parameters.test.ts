/** RFC 9000 §§ 7.3, 7.4, 18.2: round trip, every value out of range, what only servers may send, ids that don't match. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TransportError, TransportErrorCode } from "../../../src/protocol/quic/errors.ts";
import type { Role } from "../../../src/protocol/quic/frames.ts";
import {
  checkHandshakeIds,
  decodeTransportParameters,
  DEFAULT_TRANSPORT_PARAMETERS,
  encodeTransportParameters,
  type TransportParameters,
} from "../../../src/protocol/quic/transport-parameters.ts";
import { MAX_VARINT } from "../../../src/protocol/quic/varint.ts";

const noise = (length: number): Buffer => Buffer.alloc(length, 0x5a);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

function codeOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof TransportError) return error.transportCode;
    throw error;
  }
  return 0;
}

const number = fc.oneof(fc.nat(), fc.maxSafeNat());
const id = fc.option(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  { nil: undefined },
);
const parameters: fc.Arbitrary<TransportParameters> = fc.record({
  originalDestinationConnectionId: id,
  initialSourceConnectionId: id,
  retrySourceConnectionId: id,
  statelessResetToken: fc.constantFrom(undefined, Buffer.alloc(16, 9)),
  maxIdleTimeout: number,
  maxUdpPayloadSize: fc.integer({ min: 1200, max: 65_527 }),
  initialMaxData: number,
  initialMaxStreamDataBidiLocal: number,
  initialMaxStreamDataBidiRemote: number,
  initialMaxStreamDataUni: number,
  initialMaxStreamsBidi: number,
  initialMaxStreamsUni: number,
  ackDelayExponent: fc.nat(20),
  maxAckDelay: fc.nat(2 ** 14 - 1),
  disableActiveMigration: fc.boolean(),
  activeConnectionIdLimit: fc.integer({ min: 2, max: 100 }),
  maxDatagramFrameSize: number,
});

describe("transport parameters", () => {
  it("come back as they were written, with a reserved one among them", () => {
    const random = fc.uint8Array({ minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(parameters, random, (value, noise) => {
        const bytes = encodeTransportParameters(value, () => Buffer.from(noise));
        expect(decodeTransportParameters(bytes, "server")).toEqual(value);
        // id and length of one that peers must skip (§ 18.1).
        expect(bytes.length).toBeGreaterThan(2);
      }),
    );
  });

  it("have the defaults of the RFC where they are absent", () => {
    expect(decodeTransportParameters(Buffer.alloc(0), "client")).toEqual(DEFAULT_TRANSPORT_PARAMETERS);
  });

  it("skip what is not known, ids above 2^53 included", () => {
    const bytes = hex("1b 02 abcd  ffffffffffffffff 01 00  fffffffffffffffe 01 00  01 02 4064");
    expect(decodeTransportParameters(bytes, "client")).toEqual({
      ...DEFAULT_TRANSPORT_PARAMETERS,
      maxIdleTimeout: 100,
    });
  });

  it("take limits above what we count as that: cloudflared announces 2^60 streams", () => {
    const bytes = hex("08 08 d000000000000000  09 08 d000000000000000  04 08 ffffffffffffffff");
    expect(decodeTransportParameters(bytes, "client")).toMatchObject({
      initialMaxStreamsBidi: MAX_VARINT,
      initialMaxStreamsUni: MAX_VARINT,
      initialMaxData: MAX_VARINT,
    });
  });

  it.each<[string, string, Role]>([
    ["one twice", "01 01 05 01 01 05", "server"],
    ["an unknown one twice", "1b 00 1b 00", "server"],
    ["one cut short", "01 02 40", "server"],
    ["an id cut short", "40", "server"],
    ["no length", "01", "server"],
    ["a number that is not all of it", "01 02 05 05", "server"],
    ["an empty number", "01 00", "server"],
    ["max_udp_payload_size below 1200", "03 02 44af", "server"],
    ["ack_delay_exponent above 20", "0a 01 15", "server"],
    ["max_ack_delay of 2^14", "0b 04 80004000", "server"],
    ["max_ack_delay of 2^61", "0b 08 e000000000000000", "server"],
    ["active_connection_id_limit of 1", "0e 01 01", "server"],
    ["more streams than 2^60", "08 08 d000000000000001", "server"],
    ["more one-way streams than 2^60", "09 08 d800000000000000", "server"],
    ["a reset token of 15 bytes", `02 0f ${"00".repeat(15)}`, "server"],
    ["a connection id of 21 bytes", `0f 15 ${"00".repeat(21)}`, "server"],
    ["disable_active_migration with a value", "0c 01 00", "server"],
    ["a preferred address without its id", `0d 29 ${"00".repeat(41)}`, "server"],
    ["a preferred address cut short", `0d 10 ${"00".repeat(16)}`, "server"],
    ["original_destination_connection_id from a client", "00 01 aa", "client"],
    ["a reset token from a client", `02 10 ${"00".repeat(16)}`, "client"],
    ["a preferred address from a client", `0d 2d ${"00".repeat(24)} 04 01020304 ${"00".repeat(16)}`, "client"],
    ["retry_source_connection_id from a client", "10 01 aa", "client"],
  ])("refuse %s", (_what, bytes, from) => {
    expect(codeOf(() => decodeTransportParameters(hex(bytes), from))).toBe(
      TransportErrorCode.TRANSPORT_PARAMETER_ERROR,
    );
  });

  it("take a preferred address that makes sense", () => {
    const bytes = hex(`0d 2d ${"00".repeat(24)} 04 01020304 ${"00".repeat(16)}`);
    expect(decodeTransportParameters(bytes, "server")).toEqual(DEFAULT_TRANSPORT_PARAMETERS);
  });

  it("throw nothing but TransportError, whatever comes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.constantFrom<Role>("client", "server"), (bytes, from) => {
        codeOf(() => decodeTransportParameters(Buffer.from(bytes), from));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("connection ids in the parameters", () => {
  const original = hex("0a");
  const source = hex("0b");
  const retry = hex("0c");
  const of = (originalId?: Buffer, sourceId?: Buffer, retryId?: Buffer): TransportParameters => ({
    ...DEFAULT_TRANSPORT_PARAMETERS,
    originalDestinationConnectionId: originalId,
    initialSourceConnectionId: sourceId,
    retrySourceConnectionId: retryId,
  });
  const check = (value: TransportParameters, retrySource?: Buffer, from: Role = "server"): number =>
    codeOf(() =>
      checkHandshakeIds(value, from, { originalDestination: original, peerInitialSource: source, retrySource }),
    );

  it.each([
    ["all as they were", of(original, source), undefined, true],
    ["all as they were, with Retry", of(original, source, retry), retry, true],
    ["another source", of(original, retry), undefined, false],
    ["no source", of(original, undefined), undefined, false],
    ["another original destination", of(source, source), undefined, false],
    ["no original destination", of(undefined, source), undefined, false],
    ["a Retry that we did not see", of(original, source, retry), undefined, false],
    ["no word of the Retry", of(original, source), retry, false],
    ["another Retry", of(original, source, original), retry, false],
  ])("%s", (_what, value, retrySource, right) => {
    expect(check(value, retrySource)).toBe(right ? 0 : TransportErrorCode.TRANSPORT_PARAMETER_ERROR);
  });

  it("from a client: its source alone", () => {
    expect(check(of(undefined, source), undefined, "client")).toBe(0);
    expect(check(of(undefined, undefined), undefined, "client")).toBe(TransportErrorCode.TRANSPORT_PARAMETER_ERROR);
  });

  it("are written as bytes of the RFC", () => {
    const bytes = encodeTransportParameters(of(original, source), noise);
    expect(bytes.toString("hex", 0, 6)).toBe("00010a0f010b");
  });
});
