/** docs/config.md against what the parser takes and what applies without it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkIngress } from "../../src/config/ingress-check.ts";
import { parseTomlConfig } from "../../src/config/toml.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";
import { defaultOriginRequest, defaultWarpRouting } from "../../src/proxy/ingress/defaults.ts";
import { formatDuration } from "../../src/proxy/ingress/duration.ts";
import { parseIngress } from "../../src/proxy/ingress/parse.ts";

const page = readFileSync(new URL("../../docs/config.md", import.meta.url), "utf8");

function section(title: string): string {
  const from = page.indexOf(`\n${title}\n`);
  expect(from, title).toBeGreaterThan(0);
  const level = title.split(" ")[0] ?? "";
  const rest = page.slice(from + title.length + 2);
  const next = rest.search(new RegExp(`^#{1,${level.length}} `, "m"));
  return next === -1 ? rest : rest.slice(0, next);
}

interface Row {
  readonly key: string;
  readonly takes: string;
  readonly fallback: string;
}

function rows(title: string): readonly Row[] {
  return section(title)
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => {
      const [keys = "", takes = "", fallback = ""] = line.slice(2).split(" | ");
      return keys.split(", ").map((key) => ({ key: key.replaceAll("`", ""), takes, fallback }));
    });
}

/** As the page writes it: `30s`, `false`, none. */
function shown(value: unknown, isTime: boolean): string {
  if (isTime && typeof value === "number") return value === 0 ? "`0`" : `\`${formatDuration(value)}\``;
  if (value === "") return '`""`';
  return typeof value === "number" || typeof value === "boolean" ? `\`${String(value)}\`` : "none";
}

const fields = (defaults: object): readonly (readonly [string, string])[] =>
  Object.entries(defaults).map(([key, value]) => [key.replace(/Ms$/, ""), shown(value, key.endsWith("Ms"))] as const);

describe("docs/config.md", () => {
  it("has every option with its default, and no other", () => {
    const documented = new Map(rows("### Options").map(({ key, fallback }) => [key, fallback]));
    // What no rule says is the visitor's or the service's own.
    const texts: Readonly<Record<string, string>> = {
      httpHostHeader: "the visitor's",
      originServerName: "the service's host",
    };
    for (const [key, fallback] of fields(defaultOriginRequest)) {
      expect([key, documented.get(key)]).toEqual([key, texts[key] ?? fallback]);
      documented.delete(key);
    }
    expect([...documented.keys()]).toEqual(["bastionMode", "proxyAddress", "proxyPort"]);
  });

  it("names keys that are known, and durations that are", () => {
    for (const { key, takes } of rows("### Options")) {
      const warnings = parseIngress({ originRequest: { [key]: null, nosuch: 1 } }, { readFile: String }).warnings;
      expect(warnings.map(({ path }) => path.join("."))).toEqual(["originRequest.nosuch"]);
      const { problems } = parseIngress({ originRequest: { [key]: "1m30s" } }, { readFile: String });
      if (takes === "duration") expect([key, problems]).toEqual([key, []]);
      else expect(takes).not.toContain("duration");
    }
  });

  it("has every limit of the private network with its default", () => {
    const documented = rows("### Private network").map(({ key, fallback }) => [key, fallback]);
    expect(documented).toEqual(fields(defaultWarpRouting));
  });

  it("names services that are taken", () => {
    const services = section("### Services")
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .flatMap((line) => [...(line.split(" | ")[0] ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""));
    expect(services.length).toBeGreaterThan(15);
    for (const text of services) {
      const service = text.startsWith("[") ? text.slice(1, -1).split(", ") : text.replace(":port", ":1");
      const { problems } = parseIngress(
        { ingress: [{ service }] },
        { readFile: String, handlers: { name: { kind: "status", status: 204 } } },
      );
      expect([text, problems]).toEqual([text, []]);
    }
  });

  it("has examples that are right", () => {
    const examples = [...page.matchAll(/^```(yaml|toml)\n(.*?)^```$/gms)];
    expect(examples.length).toBeGreaterThanOrEqual(3);
    for (const [, format, text = ""] of examples) {
      const env = { CLOUDFLARE_TUNNEL_TOKEN: "x" };
      const file = format === "yaml" ? parseYamlConfig(text, "f", env) : parseTomlConfig(text, "f", env);
      expect(file.warnings).toEqual([]);
      if (file.ingress !== undefined) expect(checkIngress(file.ingress, env).warnings).toEqual([]);
    }
  });
});
