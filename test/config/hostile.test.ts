/** Whatever the input, reading it ends in a value or in the one kind of error that it may throw. Seeded. */
import fc from "fast-check";
import { stringify } from "smol-toml";
import { describe, it } from "vitest";
import { readCommandLine } from "../../src/cli/flags.ts";
import type { ConfigFile } from "../../src/config/config-file.ts";
import { CredentialsError, parseCredentials } from "../../src/config/credentials.ts";
import { checkIngress } from "../../src/config/ingress-check.ts";
import type { KeyPath } from "../../src/config/key-path.ts";
import { formatDuration, parseDuration } from "../../src/proxy/ingress/duration.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { Scrubber } from "../../src/proxy/ingress/redact.ts";
import { settingNames } from "../../src/config/settings.ts";
import { parseToken } from "../../src/config/token.ts";
import { parseTomlConfig } from "../../src/config/toml.ts";
import { locateTomlKeys } from "../../src/config/toml-lines.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";

const runs = { seed: 20_260_101, numRuns: 400 };

function onlyThrows(kind: abstract new (...args: never[]) => Error, run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof kind)) throw error;
  }
}

function readRules({ ingress }: ConfigFile): void {
  if (ingress === undefined) return;
  // Everything that is found has a place.
  for (const warning of checkIngress(ingress, {}).warnings) {
    if (!/^f:\d+(?::\d+)?: /.test(warning)) throw new Error(`no place in ${warning}`);
  }
}

/** A document made of plausible pieces, so that many get past the syntax. */
function document(pieces: readonly string[]): fc.Arbitrary<string> {
  const piece = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...pieces) }, { weight: 1, arbitrary: fc.string() });
  return fc.array(piece, { maxLength: 25 }).map((parts) => parts.join(""));
}

const TOML = [
  "[tunnel]\n",
  "[tunnel.cloudflare]\n",
  "[[tunnel.ingress]]\n",
  "[tunnel.ingress.originRequest]\n",
  "service = 'http://a'\n",
  "ingress",
  "[[x]]\n",
  "mode",
  "token",
  "tunnel",
  "cloudflare",
  ".",
  " = ",
  '"quick"',
  '"${A}"',
  "'''",
  '"""',
  "{",
  "}",
  "[",
  "]",
  ",",
  "\n",
  "\\",
  '"',
  "'",
  "#",
  "1",
  "true",
  "1979-05-27",
  "\r\n",
  "\0",
  "é",
];
const YAML = [
  "tunnel",
  "ingress",
  "originRequest",
  "service",
  "hostname",
  "path",
  "ingress:\n  - service: http://a\n    originRequest: {",
  "access",
  "tag",
  "retries",
  ": ",
  "- ",
  "\n",
  "  ",
  "{",
  "}",
  "[",
  "]",
  ",",
  "&a ",
  "*a",
  "<<: *a",
  "? ",
  "!!binary x",
  "!!set {a}",
  "|",
  ">",
  "'",
  '"',
  "1",
  "30s",
  "true",
  "null",
  "#",
  "---\n",
  "%",
  "@",
];

describe("whatever is read", () => {
  it("TOML", () => {
    fc.assert(
      fc.property(document(TOML), (text) =>
        onlyThrows(ConfigError, () => readRules(parseTomlConfig(text, "f", { A: "x" }))),
      ),
      runs,
    );
  });

  it("YAML", () => {
    fc.assert(
      fc.property(document(YAML), (text) => onlyThrows(ConfigError, () => readRules(parseYamlConfig(text, "f", {})))),
      runs,
    );
  });

  it("tokens and credentials", () => {
    const content = fc.oneof(
      fc.json(),
      fc.string(),
      fc.record({ a: fc.anything(), s: fc.anything(), t: fc.uuid() }).map((value) => JSON.stringify(value) ?? ""),
    );
    fc.assert(
      fc.property(content, fc.boolean(), (text, encoded) => {
        onlyThrows(CredentialsError, () => parseToken(encoded ? Buffer.from(text).toString("base64") : text));
        onlyThrows(CredentialsError, () => parseCredentials(text, "f"));
      }),
      runs,
    );
  });

  it("command lines, which never throw", () => {
    const names = [...settingNames(), "help", "json", "nosuch", ""];
    const flag = fc
      .tuple(
        fc.constantFrom("-", "--", "---"),
        fc.constantFrom(...names),
        fc.constantFrom("", "=", "=1", "=true", "=30s"),
      )
      .map((parts) => parts.join(""));
    const arg = fc.oneof(flag, fc.string(), fc.constantFrom("run", "tunnel", "--", "1", "true", "30s"));
    fc.assert(
      fc.property(fc.array(arg, { maxLength: 12 }), (args) => {
        readCommandLine(args, new Scrubber());
      }),
      runs,
    );
  });

  it("durations, which survive being printed", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (milliseconds) => {
        const read = parseDuration(formatDuration(milliseconds));
        return read !== undefined && Math.abs(read - milliseconds) < 1e-3;
      }),
      runs,
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseDuration(text);
      }),
      runs,
    );
  });
});

describe("locateTomlKeys", () => {
  it("finds every key of any document on a line that names it", () => {
    const key = fc.oneof(
      fc.constantFrom("a", "b-c", "d_1", "mode"),
      fc.string({ minLength: 1, unit: fc.constantFrom("x", " ", "é", "#", "=", "[") }),
    );
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string(), { maxLength: 3 }));
    const { table } = fc.letrec((tie) => ({
      table: fc.dictionary(key, fc.oneof({ weight: 3, arbitrary: leaf }, tie("table")), { maxKeys: 4 }),
    }));
    fc.assert(
      fc.property(table, (value) => {
        const text = stringify(value as Parameters<typeof stringify>[0]);
        const rows = text.split("\n");
        const lines = locateTomlKeys(text);
        const visit = (node: unknown, above: KeyPath): boolean =>
          Object.entries(node as Record<string, unknown>).every(([name, child]) => {
            const path = [...above, name];
            if (typeof child === "object" && !Array.isArray(child)) return visit(child, path);
            const line = lines.get(path);
            return line !== undefined && (rows[line - 1] ?? "").includes(name);
          });
        return visit(value, []);
      }),
      runs,
    );
  });
});
