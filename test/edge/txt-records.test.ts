import { describe, expect, it } from "vitest";
import { accountThreshold, isEnabled, parseFeatureRecord, parseProtocolRecord } from "../../src/edge/txt-records.ts";

describe("an account's place among a hundred", () => {
  // From the reference's own tests.
  it.each([
    ["123456", 74],
    ["", 61],
    ["testAccountTag", 56],
    ["abcdef0123456789abcdef0123456789", 65],
  ])("of %j is %i", (accountTag, threshold) => {
    expect(accountThreshold(accountTag)).toBe(threshold);
    expect(isEnabled(threshold, accountTag)).toBe(false);
    expect(isEnabled(threshold + 1, accountTag)).toBe(true);
    expect(isEnabled(0, accountTag)).toBe(false);
    expect(isEnabled(100, accountTag)).toBe(true);
  });
});

describe("the feature record", () => {
  it.each([
    ['{"dv3_2":10,"skip_prechecks":true}', { datagramV3Percentage: 10, skipPrechecks: true }],
    ["{}", { datagramV3Percentage: 0, skipPrechecks: false }],
    ['{"pq":3,"dv3_2":100,"later":[1]}', { datagramV3Percentage: 100, skipPrechecks: false }],
  ])("%s", (text, expected) => {
    expect(parseFeatureRecord(text)).toEqual(expected);
  });

  it.each([
    "",
    "nonsense",
    "null",
    "[]",
    "3",
    '{"dv3_2":-1}',
    '{"dv3_2":1.5}',
    '{"dv3_2":"1"}',
    '{"skip_prechecks":1}',
  ])("refuses %j", (text) => {
    expect(() => parseFeatureRecord(text)).toThrow();
  });
});

describe("the protocol record", () => {
  it("gives the share of each transport", () => {
    const text =
      '[{"protocol":"quic","percentage":100},{"protocol":"http2","percentage":0},{"protocol":"x","percentage":1}]';
    expect([...parseProtocolRecord(text)]).toEqual([
      ["quic", 100],
      ["http2", 0],
      ["x", 1],
    ]);
    expect(parseProtocolRecord("[]").get("quic")).toBeUndefined();
  });

  it.each([
    "",
    "{}",
    "null",
    "[null]",
    '[{"protocol":"quic"}]',
    '[{"percentage":1}]',
    '[{"protocol":"quic","percentage":-1}]',
  ])("refuses %j", (text) => {
    expect(() => parseProtocolRecord(text)).toThrow();
  });
});
