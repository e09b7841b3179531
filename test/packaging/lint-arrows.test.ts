/** The arrows between the rooms (ARCHITECTURE.md), read from the sources themselves: a second opinion on the lint rule. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const src = join(root, "src");

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
const SHARED = new Set(["types.ts", "errors.ts", "error-catalogue.ts"]);

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
  if (from === "errors.ts" || from === "error-catalogue.ts") return false;
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

/** The lint rule itself, on a house in which every room imports from every other, from a shallow and from a deep file. */
describe("the lint rule", () => {
  const house = mkdtempSync(join(tmpdir(), "underpass-arrows-"));
  afterAll(() => rmSync(house, { recursive: true, force: true }));

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(house, path)), { recursive: true });
    writeFileSync(join(house, path), text);
  }

  /** The complaints of one rule, as `file:line`. */
  function complaints(rule: string): Set<string> {
    const bin = join(root, "node_modules/oxlint/bin/oxlint");
    const { stdout, stderr } = spawnSync(process.execPath, [bin, "--format", "json", "src"], {
      cwd: house,
      encoding: "utf8",
    });
    if (!stdout.trimStart().startsWith("{")) throw new Error(`oxlint did not lint: ${stdout}${stderr}`);
    const report = JSON.parse(stdout) as {
      diagnostics: { code: string; filename: string; labels: { span: { line: number } }[] }[];
    };
    return new Set(
      report.diagnostics
        .filter(({ code }) => code.includes(rule))
        .map(({ filename, labels }) => `${filename.split(sep).join("/")}:${labels[0]?.span.line}`),
    );
  }

  it("refuses exactly the arrows that point upwards or sideways, and I/O in the protocols", () => {
    copyFileSync(join(root, ".oxlintrc.json"), join(house, ".oxlintrc.json"));
    const expected = new Set<string>();
    for (const from of ROOMS) {
      for (const [folder, up] of [
        ["", "../"],
        ["deep/er/", "../../../"],
      ] as const) {
        const file = `src/${from}/${folder}a.ts`;
        const lines = ROOMS.filter((to) => to !== from).map((to, index) => {
          if (!mayImport(from, to)) expected.add(`${file}:${index + 1}`);
          return `export { ${to.replace("-", "")} as x${index} } from "${up}${to}/b.ts";`;
        });
        write(file, `${lines.join("\n")}\n`);
      }
    }
    const io = ["node:net", "node:tls", "node:dgram", "node:fs", "node:dns/promises", "node:http", "node:timers"];
    write("src/protocol/io.ts", io.map((name, index) => `export * as x${index} from "${name}";`).join("\n"));
    for (const index of io.keys()) expected.add(`src/protocol/io.ts:${index + 1}`);
    write("src/types.ts", 'export type { A } from "./proxy/a.ts";\nexport type { B } from "./protocol/b.ts";\n');
    expected.add("src/types.ts:1");
    expect([...complaints("no-restricted-imports")].sort()).toEqual([...expected].sort());
  });

  it("refuses clocks and the process in the protocols", () => {
    copyFileSync(join(root, ".oxlintrc.json"), join(house, ".oxlintrc.json"));
    const names = ["setTimeout", "setInterval", "setImmediate", "performance", "process"];
    write("src/protocol/clock.ts", names.map((name, index) => `export const x${index} = ${name};`).join("\n"));
    write("src/edge/clock.ts", "export const x0 = setTimeout;\n");
    expect([...complaints("no-restricted-globals")].sort()).toEqual(
      names.map((_, index) => `src/protocol/clock.ts:${index + 1}`),
    );
  });
});
