// Builds dist/ from src/, into an empty folder, so that nothing of an older build is packed: the library file by file with its
// types, the command as a bundle of few files, because each module that Node loads costs half a millisecond of its start.
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

rmSync(join(root, "dist"), { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit", cwd: root });

const bundle = await rolldown({
  input: { main: join(root, "src/cli/main.ts") },
  platform: "node",
  // What the package depends on stays a dependency: updated and audited like any other.
  external: [/^node:/, ...Object.keys(dependencies)],
});
await bundle.write({
  dir: join(root, "dist/cli"),
  format: "esm",
  minify: true,
  entryFileNames: "[name].js",
  chunkFileNames: "[name]-[hash].js",
});
await bundle.close();
chmodSync(join(root, "dist/cli/main.js"), 0o755);
