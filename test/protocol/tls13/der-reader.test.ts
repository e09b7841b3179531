import { describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { DerReader } from "../../../src/protocol/tls13/x509/der-reader.ts";
import { alertOf } from "./rig.ts";

describe("DER", () => {
  const read = <T>(hex: string, step: (reader: DerReader) => T): T | number => {
    try {
      return step(new DerReader(Buffer.from(hex, "hex")));
    } catch (error) {
      const alert = alertOf(() => {
        throw error;
      });
      return alert === "ok" ? -1 : alert;
    }
  };
  const BAD = Alert.badCertificate;

  it.each<[string, number]>([
    ["0400", 0],
    ["0401aa", 1],
    [`047f${"aa".repeat(127)}`, 127],
    [`048180${"aa".repeat(128)}`, 128],
    [`04820100${"aa".repeat(256)}`, 256],
  ])("takes a length as short as can be: %.8s…", (hex, length) => {
    expect(read(hex, (reader) => reader.read().content.length)).toBe(length);
  });

  it.each([
    ["nothing", ""],
    ["no length", "04"],
    ["an indefinite length", "04800000"],
    ["a long form for a short length", `04817f${"aa".repeat(127)}`],
    ["a leading zero in a length", `04820080${"aa".repeat(128)}`],
    ["a length cut off", "048201"],
    ["a length of four bytes", "048401000000"],
    ["content cut off", "0402aa"],
    ["a tag in several bytes", "1f8101aa"],
  ])("refuses %s", (_name, hex) => {
    expect(read(hex, (reader) => reader.read())).toBe(BAD);
  });

  it.each<[string, string | number]>([
    ["0603551d13", "2.5.29.19"],
    ["06092a864886f70d01010b", "1.2.840.113549.1.1.11"],
    ["06022864", "1.0.100"],
    ["060488378001", BAD],
    ["06028837", "2.999"],
    // A UUID (X.667).
    ["06146983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776", "2.25.329800735698586629295641978511506172918"],
    ["0600", BAD],
    ["060155", "2.5"],
    ["060255ff", BAD],
    ["0603558001", BAD],
    [`0641${"01".repeat(65)}`, BAD],
  ])("object identifier %s", (hex, expected) => {
    const found = read(hex, (reader) => reader.objectIdentifier());
    expect(found).toBe(expected);
  });

  const time = (tag: string, text: string): string =>
    `${tag}${text.length.toString(16).padStart(2, "0")}${Buffer.from(text).toString("hex")}`;
  it.each<[string, string, number]>([
    ["17", "491231235959Z", Date.UTC(2049, 11, 31, 23, 59, 59)],
    ["17", "500101000000Z", Date.UTC(1950, 0, 1)],
    ["18", "20500101000000Z", Date.UTC(2050, 0, 1)],
    ["18", "99991231235959Z", Date.UTC(9999, 11, 31, 23, 59, 59)],
    ["17", "240229000000Z", Date.UTC(2024, 1, 29)],
    ["17", "230229000000Z", BAD],
    ["17", "240431000000Z", BAD],
    ["17", "241301000000Z", BAD],
    ["17", "240001000000Z", BAD],
    ["17", "240100000000Z", BAD],
    ["17", "240101240000Z", BAD],
    ["17", "240101006000Z", BAD],
    ["17", "240101000060Z", BAD],
    ["17", "2401010000Z", BAD],
    ["17", "240101000000+0100", BAD],
    ["17", "20240101000000Z", BAD],
    ["18", "20240101000000.5Z", BAD],
    ["18", "20240101000000", BAD],
    ["18", "00500101000000Z", BAD],
    ["16", "240101000000Z", BAD],
    ["17", "24010100000١Z", BAD],
  ])("time %s %s", (tag, text, expected) => {
    expect(read(time(tag, text), (reader) => reader.time())).toBe(expected);
  });

  it.each<[string, boolean | number]>([
    ["0101ff", true],
    ["010100", false],
    ["010101", BAD],
    ["0100", BAD],
    ["0102ffff", BAD],
    ["020101", true],
  ])("boolean %s, true if absent", (hex, expected) => {
    expect(read(hex, (reader) => reader.boolean(true))).toBe(expected);
  });

  it.each<[string, number]>([
    ["020100", 0],
    ["02017f", 127],
    ["020200ff", 255],
    ["020900ffffffffffffffff", Number.MAX_SAFE_INTEGER],
    ["0200", BAD],
    ["0201ff", BAD],
  ])("small integer %s", (hex, expected) => {
    expect(read(hex, (reader) => reader.smallInteger())).toBe(expected);
  });

  it.each<[string, number]>([
    ["03020780", 0b1],
    ["03020106", 0b110_0000],
    ["0303070080", 0b1_0000_0000],
    ["030100", 0],
    ["0300", BAD],
    ["03020880", BAD],
  ])("flags %s", (hex, expected) => {
    expect(read(hex, (reader) => reader.flags())).toBe(expected);
  });
});
