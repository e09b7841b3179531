/** What a user gets: the packed tarball, installed without scripts and development dependencies, imported and run. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const scratch = mkdtempSync(join(tmpdir(), "underpass-package-"));
let tarball = "";
let packed: string[] = [];

beforeAll(async () => {
  if (!existsSync(join(root, "dist/index.js"))) await run("node", ["scripts/build.mjs"], { cwd: root });
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch], {
    cwd: root,
  });
  const [report] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[]; size: number }];
  tarball = join(scratch, report.filename);
  packed = report.files.map((file) => file.path);
  expect(report.size).toBeLessThan(1024 * 1024);
  writeFileSync(join(scratch, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  await run(
    "npm",
    ["install", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--engine-strict", tarball],
    {
      cwd: scratch,
      timeout: 120_000,
    },
  );
}, 180_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe("the packed package", () => {
  it("holds what a user needs and nothing else", () => {
    for (const path of [
      "dist/index.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "dist/mock-edge/index.js",
      "README.md",
      "LICENSE",
    ]) {
      expect(packed).toContain(path);
    }
    expect(packed.filter((path) => /^(src|test|benchmarks|scripts|\.ci)\//.test(path))).toEqual([]);
  });

  it("has no install script in the whole production tree", () => {
    const lock = JSON.parse(readFileSync(join(scratch, "package-lock.json"), "utf8")) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    expect(Object.keys(lock.packages).length).toBeGreaterThan(1);
    expect(Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript === true)).toEqual([]);
  });

  it("is imported by its names, and prints nothing", async () => {
    const script = `
      const { connect } = await import("underpass");
      const { startMockEdge } = await import("underpass/mock-edge");
      process.stderr.write([typeof connect, typeof startMockEdge].join());
    `;
    const { stdout, stderr } = await run("node", ["--input-type=module", "-e", script], { cwd: scratch });
    expect({ stdout, stderr }).toEqual({ stdout: "", stderr: "function,function" });
  });

  it("carries a tunnel in a consumer's program", async () => {
    const script = `
      import { connect } from "underpass";
      import { startMockEdge } from "underpass/mock-edge";
      const edge = await startMockEdge();
      const tunnel = await connect({ token: edge.issueToken(), edge: [edge.edgeAddress], cacert: edge.caPem,
        origin: { fetch: (request) => new Response("hello " + new URL(request.url).pathname) } });
      const response = await fetch(edge.publicUrl + "/there");
      process.stdout.write(response.status + " " + (await response.text()));
      await tunnel.close({ grace: 0 });
      await edge.close();
    `;
    const { stdout } = await run("node", ["--input-type=module", "-e", script], { cwd: scratch, timeout: 30_000 });
    expect(stdout).toBe("200 hello /there");
  });

  it("installs a command that works", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    const { stdout } = await run(join(scratch, "node_modules/.bin/underpass"), ["--version"], { cwd: scratch });
    expect(stdout).toContain(version);
  });

  it("installs a command that finds its dependencies", async () => {
    const file = join(scratch, "underpass.toml");
    writeFileSync(file, '[tunnel]\nbackend = "cloudflare"\nlocal_addr = "127.0.0.1:8080"\n');
    const { stdout, stderr } = await run("npx", ["--no-install", "underpass", "config", "check", "--config", file], {
      cwd: scratch,
    });
    expect(`${stdout}${stderr}`).toContain("127.0.0.1:8080");
  });

  it("has types and exports that every resolver understands", async () => {
    const { publint } = await import("publint");
    const { messages } = await publint({ pkgDir: root, level: "warning", pack: false });
    expect(messages).toEqual([]);
    await run("npx", ["--no-install", "attw", tarball, "--profile", "esm-only", "--format", "ascii"], { cwd: root });
  });
});
