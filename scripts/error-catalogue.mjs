// Writes src/error-catalogue.ts from the tables of docs/errors.md: what the command prints with an error is what the page says.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, "src", "error-catalogue.ts");

/** Markdown as a terminal shows it best. */
function plain(markdown) {
  return markdown
    .replace(/\[([^\]]+)\]\(([^)#]*)[^)]*\)/g, (_, text, page) => (text === page ? `docs/${page}` : text))
    .replace(/`([^`]*)`/g, "$1")
    .replaceAll("\\|", "|")
    .trim();
}

const [codes] = readFileSync(join(root, "docs", "errors.md"), "utf8").split("## Outcomes");
const entries = [...codes.matchAll(/^\| `(ERR_UNDERPASS_\w+)` \| ((?:\\\||[^|])+) \| ((?:\\\||[^|])+) \|$/gm)];
const body = entries.map(
  ([, code, cause, remedy]) =>
    `  ${code}: {\n    cause: ${JSON.stringify(plain(cause))},\n    remedy: ${JSON.stringify(plain(remedy))},\n  },\n`,
);

writeFileSync(
  target,
  `/** Cause and remedy of each stable code. Written by scripts/error-catalogue.mjs from docs/errors.md: edit that page. */
export interface CatalogueEntry {
  readonly cause: string;
  readonly remedy: string;
}

export const errorCatalogue: Readonly<Record<string, CatalogueEntry>> = {
${body.join("")}};

/** What to do about an error that carries a stable code. */
export function remedyOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  if (typeof code !== "string" || !Object.hasOwn(errorCatalogue, code)) return undefined;
  return errorCatalogue[code]?.remedy;
}
`,
);
spawnSync("npx", ["--no-install", "biome", "format", "--write", target], { stdio: "inherit", cwd: root });
