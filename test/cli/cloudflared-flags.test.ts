/** Our settings against the help of a real cloudflared, where CLOUDFLARED_BIN names one. */
import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { parseDuration } from "../../src/proxy/ingress/duration.ts";
import { findSetting } from "../../src/config/settings.ts";

const binary = process.env["CLOUDFLARED_BIN"];

interface HelpFlag {
  readonly names: readonly string[];
  readonly env: readonly string[];
  readonly fallback: string | undefined;
}

function helpFlags(...args: string[]): readonly HelpFlag[] {
  const help = execFileSync(binary ?? "", [...args, "--help"], { encoding: "utf8", env: { HOME: "/nonexistent" } });
  return help
    .split(/\n(?= {2,3}--)/)
    .slice(1)
    .map((entry) => {
      const text = entry.replaceAll("\n", " ");
      const head = /^ *((?:-{1,2}[\w-]+(?: [\w:/-]+)?, )*-{1,2}[\w-]+)/.exec(text)?.[1] ?? "";
      return {
        names: [...head.matchAll(/-{1,2}([A-Za-z][\w-]*)/g)].map((match) => match[1] ?? ""),
        env: [...(/\[(\$[^\]]+)\]/.exec(text)?.[1] ?? "").matchAll(/\$(\w+)/g)].map((match) => match[1] ?? ""),
        fallback: /\(default: "?([^)"]*)"?\)(?: \[\$|\s*$)/.exec(text)?.[1],
      };
    })
    .filter(({ names }) => names[0] !== "help");
}

describe.skipIf(binary === undefined || binary === "")("cloudflared's help", () => {
  it.each([[["tunnel"]], [["tunnel", "run"]]])(
    "every flag of %j is known here, with its variables and default",
    (args) => {
      const flags = helpFlags(...args);
      expect(flags.length).toBeGreaterThan(30);
      for (const { names, env, fallback } of flags) {
        for (const name of names) {
          const spec = findSetting(name);
          expect(spec, name).toBeDefined();
          if (spec?.status.kind !== "dead") expect(spec?.env, name).toEqual(expect.arrayContaining([...env]));
          if (spec?.fallback === undefined || fallback === undefined) continue;
          const [ours, theirs] = [spec.fallback, fallback].map((text) => parseDuration(text) ?? text);
          expect(ours, name).toBe(theirs);
        }
      }
    },
  );
});
