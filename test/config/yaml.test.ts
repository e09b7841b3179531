import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ConfigFile } from "../../src/config/config-file.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";
import { makeCredentials } from "./make-credentials.ts";

function values(file: ConfigFile): Record<string, unknown> {
  return Object.fromEntries([...file.layer.values()].map(({ name, value }) => [name, value]));
}

function read(text: string): ConfigFile {
  return parseYamlConfig(text, "config.yml");
}

function messageOf(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "";
}

function warningsOf(text: string): readonly string[] {
  return read(text).warnings.map(({ where, text }) => `${where}: ${text}`);
}

describe("parseYamlConfig", () => {
  it("reads a file as cloudflared's users write it", () => {
    const text = readFileSync(new URL("../fixtures/config/cloudflared.yml", import.meta.url), "utf8");
    const file = read(text);
    expect(file.warnings).toEqual([]);
    expect(file.tunnel).toEqual({ value: "6ff42ae2-765d-4adf-8112-31c55c1551ef", where: "config.yml:2: tunnel" });
    expect(file.service).toEqual({ value: "https://localhost:8443", where: "config.yml:21: ingress.service" });
    expect(values(file)).toEqual({
      "credentials-file": "CREDENTIALS",
      "edge-ip-version": "4",
      protocol: "http2",
      retries: 7,
      "grace-period": 45_000,
      loglevel: "debug",
      metrics: "127.0.0.1:20250",
      "no-autoupdate": true,
      tag: ["site=lab"],
      // The rule's own value, over the document's 10s.
      "proxy-connect-timeout": 90_000,
      "proxy-no-happy-eyeballs": true,
      // An explicit 0 counts, which cloudflared drops.
      "proxy-keepalive-connections": 0,
      "no-tls-verify": true,
      "origin-server-name": "app.internal",
    });
  });

  it("honours explicit false and zero", () => {
    expect(values(read("retries: 0\nno-tls-verify: false\ngrace-period: 0s\n"))).toEqual({
      retries: 0,
      "no-tls-verify": false,
      "grace-period": 0,
    });
  });

  it("warns about unknown keys by name and line, with the near one", () => {
    expect(warningsOf("# c\nretires: 3\noriginRequest:\n  connectTimout: 1s\n\nwholly-other: 1\n")).toEqual([
      "config.yml:2: retires: unknown key retires is ignored; did you mean retries?",
      "config.yml:4: originRequest.connectTimout: unknown key connectTimout is ignored; did you mean connectTimeout?",
      "config.yml:6: wholly-other: unknown key wholly-other is ignored",
    ]);
    expect(warningsOf("warp-routing:\n  connectTimeout: 1s\n")[0]).toContain(
      "config.yml:1: warp-routing: is not read yet",
    );
    // An alias is no key in cloudflared either, and `config` in a file means nothing.
    expect(warningsOf("cred-file: x\nconfig: y\n")).toHaveLength(2);
  });

  it.each([
    [
      "grace-period: 30",
      'config.yml:1: grace-period: found 30; a duration such as "30s" or "1m30s" from 0s to 3m0s would be right',
    ],
    ["grace-period: 4m", /found "4m"; a duration .* from 0s to 3m0s/],
    ["\nretries: five", 'config.yml:2: retries: found "five"; a whole number from 0 would be right'],
    ["retries: '5'", /found "5"; a whole number/],
    ["retries: 1.5", /found 1.5; a whole number/],
    ["protocol: 2", "config.yml:1: protocol: found 2; a text would be right"],
    ["no-tls-verify: yes", 'config.yml:1: no-tls-verify: found "yes"; true or false would be right'],
    ["edge: a.example.com:7844", /edge: found "a.example.com:7844"; a list of texts/],
    ["tunnel: 12", "config.yml:1: tunnel: found 12; a tunnel's UUID in quotes would be right"],
    ["originRequest: 3", /originRequest: found 3; keys and values/],
    [
      "originRequest:\n  keepAliveConnections: '10'",
      /config.yml:2: originRequest.keepAliveConnections: found "10"; a whole number/,
    ],
    ["originRequest:\n  connectTimeout: 30", /config.yml:2: originRequest.connectTimeout: found 30; a duration/],
    ["originRequest:\n  access:\n    required: true", /config.yml:2: originRequest.access: access is not there yet/],
    ["originRequest:\n  proxyType: socks", /proxyType is not there yet/],
    ["- a", "config.yml:1: found a list; keys and values would be right"],
    ["ingress: x", /ingress: found "x"; a list of rules/],
    ["ingress: []", /ingress rules are not there yet/],
    [
      "ingress:\n  - hostname: a.example.com\n    service: http://a\n  - service: http_status:404",
      /config.yml:1: ingress: ingress rules are not there yet/,
    ],
    ["ingress:\n  - hostname: a.example.com\n    service: http://a", /config.yml:2: ingress.hostname: ingress rules/],
    ["ingress:\n  - path: /x\n    service: http://a", /config.yml:2: ingress.path: ingress rules/],
  ])("says where, what and what would be right: %j", (text, message) => {
    const found = messageOf(text);
    if (typeof message === "string") expect(found).toBe(message);
    else expect(found).toMatch(message);
  });

  it("leaves fields off that are off", () => {
    const text =
      "originRequest:\n  access: { required: false }\n  proxyType: ''\n  matchSNItoHost: false\n  ipRules: []\n";
    expect(messageOf(text)).toBe("");
  });

  it("takes a catch-all rule with hostname * or empty", () => {
    expect(read('ingress:\n  - hostname: "*"\n    service: http://a:1\n').service?.value).toBe("http://a:1");
    expect(read('ingress:\n  - hostname: ""\n    service: unix:/x\n').service?.value).toBe("unix:/x");
  });

  it("follows anchors and merges; a map's own keys win; an alias inside itself ends", () => {
    const text = "x-base: &b { connectTimeout: 1s, tlsTimeout: 2s }\noriginRequest:\n  connectTimeout: 3s\n  <<: *b\n";
    expect(values(read(text))).toEqual({ "proxy-connect-timeout": 3000, "proxy-tls-timeout": 2000 });
    expect(() => read("originRequest: &a\n  <<: *a\n  tlsTimeout: 1s\n")).not.toThrow(RangeError);
  });

  it("is not blown up by nested aliases", () => {
    const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
    for (let level = 0; level < 12; level++) {
      const [name, inner] = [String.fromCharCode(98 + level), String.fromCharCode(97 + level)];
      bomb.push(`${name}: &${name} [${`*${inner},`.repeat(8)}*${inner}]`);
    }
    bomb.push("tag: *m");
    expect(messageOf(bomb.join("\n"))).toContain("tag: found a list; a list of texts would be right");
  });

  it("an empty file is a warning", () => {
    expect(warningsOf("")).toEqual(["config.yml: the configuration file is empty"]);
    expect(warningsOf("# only a comment\n")).toHaveLength(1);
  });

  it("reports syntax errors and duplicate keys with line and column, without quoting the document", () => {
    const { token } = makeCredentials();
    expect(messageOf(`tunnel: a\n b: c\ntoken: ${token}`)).toMatch(/^config\.yml:\d+:\d+: not valid YAML: /);
    expect(messageOf(`token: "${token}\nx: 1`)).not.toContain(token.slice(0, 20));
    expect(messageOf("a: 1\na: 2")).toMatch(/^config\.yml:2:1: not valid YAML: /);
  });

  it("never quotes a token, whichever key it was given to", () => {
    const { token, secret } = makeCredentials();
    for (const value of [token, secret]) {
      for (const key of ["retries", "no-tls-verify", "grace-period", "edge", "originRequest", "ingress"]) {
        expect(messageOf(`${key}: "${value}"`)).not.toContain(value.slice(0, 20));
      }
      expect(warningsOf(`"${value}": 1`).join()).not.toContain(value.slice(0, 20));
    }
  });
});
