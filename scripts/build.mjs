// Builds dist/ from src/, into an empty folder, so that nothing of an older build is packed: the library file by file with its
// types, the command as a bundle, because each module that Node loads costs up to a millisecond of its start.
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve("typescript/package.json")), "bin", "tsc");
const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const packages = Object.keys({ ...dependencies, ...optionalDependencies });

/** What every `run` loads stands in one file; the rest (demo, mock edge, TOML, YAML, the logger) is loaded when it is asked for. */
const RUN_PATH =
  /(\0node:|src\/(errors|types|config\/(?!toml|yaml)|connector|edge|protocol|proxy|rpc|health|cli\/(run|dispatch|load|flags|late-logger|output|start-log|box)))/;

/**
 * Takes Node's own modules without an `import`: for that Node makes a wrapper that lists every export, which for `tls`, `http` and
 * `crypto` together takes as long as loading them.
 */
const builtins = {
  name: "builtins",
  resolveId: (id) => (id.startsWith("node:") ? { id: `\0${id}`, moduleSideEffects: false } : null),
  load(id) {
    if (!id.startsWith("\0node:")) return null;
    const name = id.slice(1);
    const names = Object.keys(process.getBuiltinModule(name)).filter(
      (key) => /^[A-Za-z_$][\w$]*$/.test(key) && key !== "default",
    );
    const module = `process.getBuiltinModule(${JSON.stringify(name)})`;
    const exports = names.map((key) => `export const ${key} = /* @__PURE__ */ (() => builtin.${key})();`);
    return `const builtin = /* @__PURE__ */ (() => ${module})();\nexport default builtin;\n${exports.join("\n")}`;
  },
};

rmSync(join(root, "dist"), { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit", cwd: root });

const bundle = await rolldown({
  input: { main: join(root, "src/cli/main.ts") },
  platform: "node",
  // What the package depends on stays a dependency: updated and audited like any other.
  external: (id) => packages.some((name) => id === name || id.startsWith(`${name}/`)),
  plugins: [builtins],
  // Lazy imports that land in the one file are meant to: the library loads the same modules lazily, file by file.
  checks: { ineffectiveDynamicImport: false },
});
await bundle.write({
  dir: join(root, "dist/cli"),
  format: "esm",
  minify: true,
  entryFileNames: "[name].js",
  chunkFileNames: "[name]-[hash].js",
  codeSplitting: { groups: [{ name: "main", test: RUN_PATH }] },
});
await bundle.close();
chmodSync(join(root, "dist/cli/main.js"), 0o755);
