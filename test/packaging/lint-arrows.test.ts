/** The arrows between the rooms (ARCHITECTURE.md), read from the sources themselves: a second opinion on the lint rule. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { describe, expect, it } from "vitest";

const src = resolve(import.meta.dirname, "../../src");

/** From the top down: a room imports from lower ones only. */
const ROOMS = [
  "cli",
  "inspector",
  "mock-edge",
  "connector",
  "health",
  "account",
  "config",
  "proxy",
  "rpc",
  "edge",
  "protocol",
];
const SIBLINGS = new Set(["proxy", "rpc", "edge"]);
const SHARED = new Set(["types.ts", "errors.ts"]);

function roomOf(file: string): string {
  const path = relative(src, file);
  return path.includes(sep) ? (path.split(sep)[0] ?? "") : path;
}

function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    resolve(dirname(file), match[1] ?? ""),
  );
}

function mayImport(from: string, to: string): boolean {
  if (SHARED.has(to) || from === to) return !(from === "types.ts" && to !== "types.ts");
  if (from === "types.ts") return to === "protocol";
  if (from === "errors.ts") return false;
  if (from === "index.ts") return to !== "cli";
  if (SIBLINGS.has(from) && SIBLINGS.has(to)) return false;
  return ROOMS.indexOf(to) > ROOMS.indexOf(from);
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => join(src, name));

describe("imports between the rooms", () => {
  it("point downwards only", () => {
    const wrong = files.flatMap((file) =>
      imports(file)
        .filter((target) => !mayImport(roomOf(file), roomOf(target)))
        .map((target) => `${relative(src, file)} imports ${relative(src, target)}`),
    );
    expect(wrong).toEqual([]);
  });

  it("see every room", () => {
    const rooms = new Set(files.map(roomOf));
    for (const room of ["protocol", "edge", "rpc", "proxy", "connector", "cli", "mock-edge"])
      expect(rooms).toContain(room);
  });

  it("keep the protocols sans I/O", () => {
    const loud = files
      .filter((file) => roomOf(file) === "protocol")
      .filter((file) =>
        /\b(Date\.now|performance\.now|setTimeout|setInterval|setImmediate|Math\.random)\b|from "node:(net|tls|dgram|fs|dns|http|timers)/.test(
          readFileSync(file, "utf8"),
        ),
      )
      .map((file) => relative(src, file));
    expect(loud).toEqual([]);
  });
});
