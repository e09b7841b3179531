// `npm test`: types, lint, format, build, then every test. Ends with one line `N passed, N failed, N skipped`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const counts = { passed: 0, failed: 0, skipped: 0 };

function npx(title, args, env = {}) {
  const started = Date.now();
  console.log(`\n## ${title}`);
  const { status } = spawnSync("npx", ["--no-install", ...args], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  console.log(`## ${title}: ${status === 0 ? "passed" : "FAILED"} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return status === 0;
}

function check(title, args) {
  if (npx(title, args)) counts.passed++;
  else counts.failed++;
}

check("types", ["tsc", "-p", "tsconfig.json"]);
check("lint", ["oxlint", "--type-aware", "--deny-warnings"]);
check("format", ["biome", "format"]);
const built = spawnSync(process.execPath, [join(root, "scripts", "build.mjs")], { stdio: "inherit", cwd: root });
if (built.status === 0) counts.passed++;
else counts.failed++;

const scratch = mkdtempSync(join(tmpdir(), "underpass-test-"));
const report = join(scratch, "report.json");
const ok = npx("tests", ["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`]);
let broken = 0;
try {
  const result = JSON.parse(readFileSync(report, "utf8"));
  counts.passed += result.numPassedTests;
  counts.failed += result.numFailedTests;
  counts.skipped += result.numPendingTests + (result.numTodoTests ?? 0);
  broken = result.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
} catch (error) {
  console.error(`no test report: ${error.message}`);
}
rmSync(scratch, { recursive: true, force: true });
// A file that could not be loaded, or an unhandled error outside any test, is a failure too.
counts.failed += broken;
if (!ok && counts.failed === 0) counts.failed = 1;

console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;
