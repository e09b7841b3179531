import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readErrorPage } from "../../src/config/error-page.ts";
import { ConfigError } from "../../src/config/problem.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "underpass-page-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function problem(path: string): string {
  try {
    readErrorPage(path, "--error-page");
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
  }
  throw new Error("there was no ConfigError");
}

describe("the error page's file", () => {
  it("is HTML, or plain text by its name", () => {
    const html = readErrorPage(file("down.html", "<h1>Mañana</h1>"), "");
    expect([html.contentType, html.body.toString()]).toEqual(["text/html; charset=utf-8", "<h1>Mañana</h1>"]);
    expect(readErrorPage(file("down", "x"), "").contentType).toBe("text/html; charset=utf-8");
    expect(readErrorPage(file("DOWN.TXT", "x"), "").contentType).toBe("text/plain; charset=utf-8");
  });

  it("must be there, hold something, and not be endless", () => {
    expect(problem(join(folder, "none.html"))).toMatch(/^--error-page: can't read .*none\.html: no such file$/);
    expect(problem(folder)).toMatch(/it is a directory/);
    expect(problem(file("empty.html", ""))).toMatch(/is empty; a page of at most 256 KiB would be right/);
    expect(problem(file("large.html", "x".repeat(256 * 1024 + 1)))).toMatch(/has 262145 bytes/);
  });
});
