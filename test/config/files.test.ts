import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readTextFile } from "../../src/config/files.ts";

const folder = mkdtempSync(join(tmpdir(), "underpass-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function readBack(bytes: Buffer): string {
  const path = join(folder, "file");
  writeFileSync(path, bytes);
  return readTextFile(path, "file");
}

describe("a text file", () => {
  const text = "tünnel: 😀\r\n";
  const utf16 = Buffer.from(text, "utf16le");

  it.each([
    ["UTF-8", Buffer.from(text)],
    ["UTF-8 behind a byte order mark, as Notepad saves it", Buffer.from(`\uFEFF${text}`)],
    ["UTF-16, as Windows PowerShell's > writes it", Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ["UTF-16 with its other byte order", Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(utf16).swap16()])],
  ])("may be %s", (_, bytes) => {
    expect(readBack(bytes)).toBe(text);
  });

  it("may be empty, or a single byte", () => {
    expect([readBack(Buffer.alloc(0)), readBack(Buffer.from("a"))]).toEqual(["", "a"]);
  });
});
