import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatLastGood, LastGoodAddresses, parseLastGood } from "../../src/connector/last-good-addresses.ts";
import type { EdgeAddress } from "../../src/types.ts";
import { recordingLogger } from "./fake-edge.ts";

const REGIONS: readonly (readonly EdgeAddress[])[] = [
  [
    { ip: "192.0.2.1", port: 7844, family: 4 },
    { ip: "2001:db8::1", port: 7844, family: 6 },
  ],
  [{ ip: "198.51.100.1", port: 7844, family: 4 }],
];
const NOW = new Date("2026-01-31T12:00:00.000Z");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-state-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe("the file's text", () => {
  it("is read as it was written", () => {
    const text = formatLastGood(REGIONS, NOW);
    expect(text).toBe(
      '{"version":1,"savedAt":"2026-01-31T12:00:00.000Z","regions":[["192.0.2.1:7844","[2001:db8::1]:7844"],["198.51.100.1:7844"]]}\n',
    );
    expect(parseLastGood(text)).toEqual({ savedAt: NOW.toISOString(), regions: REGIONS });
  });

  const file = (change: object): string =>
    JSON.stringify({ version: 1, savedAt: NOW, regions: [["192.0.2.1:1"]], ...change });

  it.each([
    ["nothing", ""],
    ["half a file", formatLastGood(REGIONS, NOW).slice(0, 60)],
    ["null", "null"],
    ["a later version", file({ version: 2 })],
    ["no time", file({ savedAt: "yesterday" })],
    ["no regions", file({ regions: [] })],
    ["too many regions", file({ regions: [["192.0.2.1:1"], ["192.0.2.1:1"], ["192.0.2.1:1"]] })],
    ["an empty region", file({ regions: [[]] })],
    ["too many addresses", file({ regions: [Array.from({ length: 65 }, () => "192.0.2.1:1")] })],
    ["a name", file({ regions: [["localhost:7844"]] })],
    ["port 0", file({ regions: [["192.0.2.1:0"]] })],
    ["no port", file({ regions: [["192.0.2.1"]] })],
    ["an address with a zone", file({ regions: [["[fe80::1%eth0]:7844"]] })],
    ["an entry that is no text", file({ regions: [[{ ip: "192.0.2.1", port: 1 }]] })],
  ])("is refused with %s", (_name, text) => {
    expect(() => parseLastGood(text)).toThrow();
  });
});

describe("the file", () => {
  it("comes back, from a directory that is made for it, for its owner's eyes alone", async () => {
    const state = join(directory, "a", "b");
    const { logger, lines } = recordingLogger();
    await new LastGoodAddresses(state, undefined, logger).write(REGIONS);
    expect(readdirSync(state)).toEqual(["edge-addresses.json"]);
    expect(statSync(join(state, "edge-addresses.json")).mode & 0o777).toBe(0o600);
    expect(await new LastGoodAddresses(state, undefined, logger).read()).toMatchObject({ regions: REGIONS });
    expect(lines).toEqual([]);
  });

  it("is one for each region of the edge, whose name is no path", async () => {
    const { logger } = recordingLogger();
    for (const region of ["us", "../../etc/x"]) {
      const state = join(directory, "state");
      const file = new LastGoodAddresses(state, region, logger);
      await file.write(REGIONS);
      expect(await file.read()).toMatchObject({ regions: REGIONS });
      expect(await new LastGoodAddresses(state, "fed", logger).read()).toBeUndefined();
    }
    expect(readdirSync(directory)).toEqual(["state"]);
  });

  it("is the last one written, when writes overlap, and leaves nothing beside it", async () => {
    const file = new LastGoodAddresses(directory, undefined, recordingLogger().logger);
    const last = [[{ ip: "192.0.2.99", port: 1, family: 4 } as const]];
    await Promise.all([file.write(REGIONS), file.write(REGIONS), file.write(last)]);
    expect((await file.read())?.regions).toEqual(last);
    expect(readdirSync(directory)).toHaveLength(1);
  });

  it.each([
    ["is not there", () => {}, "debug"],
    ["is broken", (path: string) => writeFileSync(path, '{"version":1,')],
    ["is far too long", (path: string) => writeFileSync(path, " ".repeat(70_000) + formatLastGood(REGIONS, NOW))],
    ["is a directory", (path: string) => mkdirSync(path)],
    ["is a device", (path: string) => symlinkSync("/dev/zero", path)],
  ])("that %s is a line", async (_name, make, level = "warn") => {
    const { logger, lines } = recordingLogger();
    make(join(directory, "edge-addresses.json"));
    expect(await new LastGoodAddresses(directory, undefined, logger).read()).toBeUndefined();
    expect(lines.map((line) => line.level)).toEqual([level]);
  });

  it("that can't be written is told once, and the old one stays", async () => {
    const { logger, lines } = recordingLogger();
    writeFileSync(join(directory, "file"), "");
    const nowhere = new LastGoodAddresses(join(directory, "file"), undefined, logger);
    await nowhere.write(REGIONS);
    await nowhere.write(REGIONS);
    expect(lines.map(({ level }) => level)).toEqual(["warn", "debug"]);
    // What can't be put into its place is cleared away.
    mkdirSync(join(directory, "edge-addresses.json"));
    await new LastGoodAddresses(directory, undefined, logger).write(REGIONS);
    expect(readdirSync(directory).sort()).toEqual(["edge-addresses.json", "file"]);
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("");
  });
});
