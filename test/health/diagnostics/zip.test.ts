import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createZip } from "../../../src/health/diagnostics/zip.ts";
import { findPeer, skipWithout } from "../../peers.ts";
import { unpack } from "./unpack.ts";

const entries = [
  { name: "a.json", content: '{"a":1}\n' },
  { name: "empty.txt", content: "" },
  { name: "grüße.txt", content: "schön ".repeat(50_000) },
];
const when = new Date(2026, 10, 23, 13, 14, 16);

describe("a zip file", () => {
  it("holds what was put into it, packed", () => {
    const zip = createZip(entries, when);
    expect(unpack(zip)).toEqual(new Map(entries.map(({ content, name }) => [name, content])));
    expect(zip.length).toBeLessThan(3_000);
  });

  it("may be empty", () => {
    expect(createZip([], when).toString("hex")).toBe(`504b0506${"00".repeat(18)}`);
  });

  it("is as APPNOTE draws it", () => {
    const zip = createZip([{ name: "a", content: "" }], when);
    const date = (2026 - 1980) * 512 + 11 * 32 + 23;
    const time = 13 * 2048 + 14 * 32 + 8;
    const header = Buffer.alloc(26);
    header.writeUInt16LE(20, 0);
    header.writeUInt16LE(0x800, 2);
    header.writeUInt16LE(8, 4);
    header.writeUInt16LE(time, 6);
    header.writeUInt16LE(date, 8);
    header.writeUInt32LE(2, 14);
    header.writeUInt16LE(1, 22);
    // An empty deflated file is one empty fixed block.
    expect(zip.subarray(0, 33).toString("hex")).toBe(`504b0304${header.toString("hex")}610300`);
  });

  const unzip = findPeer("UNZIP", "/usr/bin/unzip");
  it.skipIf(skipWithout(unzip))("is read by unzip", () => {
    const directory = mkdtempSync(join(tmpdir(), "underpass-zip-"));
    try {
      const path = join(directory, "x.zip");
      writeFileSync(path, createZip(entries, when));
      expect(execFileSync(unzip ?? "unzip", ["-t", path], { encoding: "utf8" })).toContain("No errors detected");
      execFileSync(unzip ?? "unzip", ["-q", path, "a.json", "empty.txt", "-d", directory]);
      expect(readFileSync(join(directory, "a.json"), "utf8")).toBe('{"a":1}\n');
      expect(statSync(join(directory, "a.json")).mode & 0o777).toBe(0o600);
      expect(statSync(join(directory, "a.json")).mtime).toEqual(when);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
