import { describe, expect, it } from "vitest";
import { changesForRestart, ingressChanges } from "../../src/config/changes.ts";
import { checkIngress } from "../../src/config/ingress-check.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import { parseTomlConfig } from "../../src/config/toml.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";
import type { Ingress } from "../../src/types.ts";

function rules(...lines: readonly string[]): Ingress {
  const { ingress } = parseYamlConfig(`ingress:\n${lines.map((line) => `  - {${line}}\n`).join("")}`, "c.yml", {});
  if (ingress === undefined) throw new Error("no rules");
  return checkIngress(ingress, {}).ingress;
}

const A = "hostname: a.example.com, service: http://a";
const AX = "hostname: a.example.com, path: ^/x, service: http://x";
const REST = "service: http_status:404";

describe("ingressChanges", () => {
  it("names rules by what they match", () => {
    expect(ingressChanges(rules(A, REST), rules(A, REST))).toEqual([]);
    expect(ingressChanges(rules(A, REST), rules(AX, A, REST))).toEqual(["added a.example.com ^/x"]);
    expect(ingressChanges(rules(AX, A, REST), rules(A, REST))).toEqual(["removed a.example.com ^/x"]);
    expect(ingressChanges(rules(A, REST), rules(A.replace("http://a", "http://b"), REST))).toEqual([
      "changed a.example.com",
    ]);
    expect(ingressChanges(rules(REST), rules(`${REST}, originRequest: {tlsTimeout: 1s}`))).toEqual(["changed *"]);
  });

  it("sees another order, and the same rule twice", () => {
    expect(ingressChanges(rules(AX, A, REST), rules(A, AX, REST))).toEqual(["another order"]);
    expect(ingressChanges(rules(A, REST), rules(A, A, REST))).toEqual(["added a.example.com (2)"]);
  });

  it("sees the private network's limits", () => {
    const ingress = rules(REST);
    const other = { ...ingress, warpRouting: { ...ingress.warpRouting, maxActiveFlows: 1 } };
    expect(ingressChanges(ingress, other)).toEqual(["changed warp-routing"]);
  });
});

describe("changesForRestart", () => {
  const yaml = (text: string) => new MergedSettings(new Map(), new Map(), parseYamlConfig(text, "c.yml", {}));

  it("names what only counts from the start on, and where it stands or stood", () => {
    const before = yaml("tunnel: a\nprotocol: http2\nretries: 3\ntag: [a=b]\nurl: http://a\n");
    expect(changesForRestart(before, before)).toEqual([]);
    expect(changesForRestart(before, yaml("tunnel: b\nretries: 3\n\ntag: [a=c]\nurl: http://b\n"))).toEqual([
      "c.yml:1:1: tunnel",
      "c.yml:2:1: protocol",
      "c.yml:4:1: tag",
    ]);
  });

  it("knows the mode of a TOML file, and says nothing of what a flag hides", () => {
    const toml = (text: string) => parseTomlConfig(`[tunnel.cloudflare]\n${text}\n`, "u.toml", {});
    const flags = new Map([["retries", { name: "retries", value: 9, source: "flag", where: "--retries" }] as const]);
    const merged = (text: string) => new MergedSettings(flags, new Map(), toml(text));
    expect(changesForRestart(merged("retries = 1"), merged('mode = "named"'))).toEqual([
      "u.toml:2: tunnel.cloudflare.mode",
    ]);
  });
});
