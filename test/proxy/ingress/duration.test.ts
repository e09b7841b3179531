import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "../../../src/proxy/ingress/duration.ts";

describe("parseDuration", () => {
  it.each([
    ["0", 0],
    ["0s", 0],
    ["-0s", 0],
    ["30s", 30_000],
    ["1.5s", 1500],
    [".5s", 500],
    ["5.s", 5000],
    ["1h30m", 5_400_000],
    ["2h45m0.5s", 9_900_500],
    ["300ms", 300],
    ["10us", 0.01],
    ["10µs", 0.01],
    ["10μs", 0.01],
    ["100ns", 0.0001],
    ["+5s", 5000],
    ["-1s", -1000],
    ["1m1m", 120_000],
  ])("reads %s as Go does", (text, milliseconds) => {
    expect(parseDuration(text)).toBeCloseTo(milliseconds, 9);
  });

  it.each(["", "30", "s", "1 s", "1d", "1S", "--1s", "1s ", "1e3s", ".s", "9999999999h", "1s-1s"])(
    "refuses %j",
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
});

describe("formatDuration", () => {
  it.each([
    [0, "0s"],
    [30_000, "30s"],
    [90_000, "1m30s"],
    [86_400_000, "24h0m0s"],
    [1500, "1.5s"],
    [500, "500ms"],
    [0.5, "500µs"],
    [0.0001, "100ns"],
    [-1000, "-1s"],
    [3_600_500, "1h0m0.5s"],
  ])("prints %d ms as Go does", (milliseconds, text) => {
    expect(formatDuration(milliseconds)).toBe(text);
    expect(parseDuration(text)).toBeCloseTo(milliseconds, 9);
  });
});
