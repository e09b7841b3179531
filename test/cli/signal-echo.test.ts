import { describe, expect, it } from "vitest";
import { withoutEchoes } from "../../src/cli/signal-echo.ts";

describe("a signal", () => {
  it.each<{ what: string; signals: [number, string][]; heard: string[] }>([
    { what: "counts", signals: [[0, "INT"]], heard: ["INT"] },
    {
      what: "counts once when it comes twice at once",
      signals: [
        [0, "INT"],
        [3, "INT"],
        [499, "INT"],
      ],
      heard: ["INT"],
    },
    {
      what: "counts again later",
      signals: [
        [0, "INT"],
        [3, "INT"],
        [600, "INT"],
        [602, "INT"],
      ],
      heard: ["INT", "INT"],
    },
    {
      what: "counts beside another one",
      signals: [
        [0, "TERM"],
        [1, "INT"],
        [2, "TERM"],
      ],
      heard: ["TERM", "INT", "TERM"],
    },
  ])("$what", ({ signals, heard }) => {
    const got: string[] = [];
    let now = 1_000;
    const listener = withoutEchoes<string>(
      (signal) => got.push(signal),
      () => now,
    );
    for (const [at, signal] of signals) {
      now = 1_000 + at;
      listener(signal);
    }
    expect(got).toEqual(heard);
  });
});
