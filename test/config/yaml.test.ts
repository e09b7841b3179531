import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ConfigFile } from "../../src/config/config-file.ts";
import { checkIngress } from "../../src/config/ingress-check.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";
import type { IngressRule } from "../../src/types.ts";
import { makeCredentials } from "./make-credentials.ts";

function values(file: ConfigFile): Record<string, unknown> {
  return Object.fromEntries([...file.layer.values()].map(({ name, value }) => [name, value]));
}

function read(text: string): ConfigFile {
  return parseYamlConfig(text, "config.yml", {});
}

/** Its rules are read too, where it has any. */
function messageOf(text: string): string {
  try {
    const { ingress } = read(text);
    if (ingress !== undefined) checkIngress(ingress, {});
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "";
}

function rulesOf(text: string): readonly IngressRule[] {
  return checkIngress(present(read(text).ingress), {}).ingress.rules;
}

function ruleWarnings(text: string): readonly string[] {
  return checkIngress(present(read(text).ingress), {}).warnings;
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("it is not there");
  return value;
}

function warningsOf(text: string): readonly string[] {
  return read(text).warnings.map(({ where, text }) => `${where}: ${text}`);
}

describe("parseYamlConfig", () => {
  it("reads a file as cloudflared's users write it", () => {
    const text = readFileSync(new URL("../fixtures/config/cloudflared.yml", import.meta.url), "utf8");
    const file = read(text);
    expect(file.warnings).toEqual([]);
    expect(file.tunnel).toEqual({ value: "6ff42ae2-765d-4adf-8112-31c55c1551ef", where: "config.yml:2:1: tunnel" });
    expect(file.ingress?.where(["ingress", 0, "service"])).toBe("config.yml:21:5: ingress[0].service");
    expect(checkIngress(present(file.ingress), {})).toMatchObject({
      ingress: {
        rules: [
          {
            service: { kind: "url", url: new URL("https://localhost:8443") },
            originRequest: {
              // The rule's own value, over the document's 10s.
              connectTimeoutMs: 90_000,
              noHappyEyeballs: true,
              // An explicit 0 counts.
              keepAliveConnections: 0,
              noTLSVerify: true,
              originServerName: "app.internal",
            },
          },
        ],
      },
      warnings: [],
    });
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
    });
  });

  it("honours explicit false and zero", () => {
    expect(values(read("retries: 0\nno-tls-verify: false\ngrace-period: 0s\n"))).toEqual({
      retries: 0,
      "no-tls-verify": false,
      "grace-period": 0,
    });
  });

  it.each([
    "originrequest",
    "origin-request",
    "origin_request",
    "originRequests",
    "OriginRequest",
    "ingres",
    "Ingress",
  ])("refuses %s: with a slip there Access would be lost", (key) => {
    expect(messageOf(`${key}: {}\ningress:\n  - service: http://a\n`)).toMatch(
      new RegExp(`config.yml:1:1: ${key}: found the unknown key .*; (originRequest|ingress) would be right`),
    );
  });

  it("warns about unknown keys by name and line, with the near one", () => {
    expect(warningsOf("# c\nretires: 3\n\nwholly-other: 1\nwarp-rooting: 1\n")).toEqual([
      "config.yml:2:1: retires: unknown key retires is ignored; did you mean retries?",
      "config.yml:4:1: wholly-other: unknown key wholly-other is ignored",
      "config.yml:5:1: warp-rooting: unknown key warp-rooting is ignored; did you mean warp-routing?",
    ]);
    expect(
      ruleWarnings(
        "originRequest:\n  connectTimout: 1s\ningress:\n  - service: http://a\n    originRequest: { nosuch: 1 }\nwarp-routing:\n  conectTimeout: 1s\n",
      ),
    ).toEqual([
      'config.yml:2:3: originRequest.connectTimout: unknown key "connectTimout" is ignored; did you mean connectTimeout?',
      'config.yml:5:22: ingress[0].originRequest.nosuch: rule 1: unknown key "nosuch" is ignored',
      'config.yml:7:3: warp-routing.conectTimeout: unknown key "conectTimeout" is ignored; did you mean connectTimeout?',
    ]);
    // Where people keep what they merge in.
    expect(warningsOf("x-anything: 1\n")).toEqual([]);
    // An alias is no key in cloudflared either, and `config` in a file means nothing.
    expect(warningsOf("cred-file: x\nconfig: y\n")).toHaveLength(2);
  });

  it.each([
    [
      "grace-period: 30",
      'config.yml:1:1: grace-period: found 30; a duration such as "30s" or "1m30s" from 0s to 3m0s would be right',
    ],
    ["grace-period: 4m", /found "4m"; a duration .* from 0s to 3m0s/],
    ["\nretries: five", 'config.yml:2:1: retries: found "five"; a whole number from 0 would be right'],
    ["retries: '5'", /found "5"; a whole number/],
    ["retries: 1.5", /found 1.5; a whole number/],
    ["protocol: 2", "config.yml:1:1: protocol: found 2; a text would be right"],
    ["no-tls-verify: yes", 'config.yml:1:1: no-tls-verify: found "yes"; true or false would be right'],
    ["edge: a.example.com:7844", /edge: found "a.example.com:7844"; a list of texts/],
    ["tunnel: 12", "config.yml:1:1: tunnel: found 12; a tunnel's UUID in quotes would be right"],
    ["- a", "config.yml:1:1: found a list; keys and values would be right"],
  ])("says where, what and what would be right: %j", (text, message) => {
    const found = messageOf(text);
    if (typeof message === "string") expect(found).toBe(message);
    else expect(found).toMatch(message);
  });

  it.each([
    ["originRequest: 3", "config.yml:1:1: originRequest: found 3; keys and values would be right"],
    ["ingress: x", 'config.yml:1:1: ingress: found "x"; a list of rules would be right'],
    [
      "ingress:\n  - hostname: a.example.com\n    service: http://a",
      /^config\.yml:2:5: ingress\[0\]: rule 1 \(a\.example\.com\): the last rule must match every request/,
    ],
    [
      "ingress:\n- service: http_status:404\n  originRequest:\n    keepAliveConnections: '10'",
      /^config\.yml:4:5: ingress\[0\]\.originRequest\.keepAliveConnections: rule 1: found "10"; a whole number/,
    ],
    [
      "originRequest: {tlsTimeout: 1s, connectTimeout: soon}\ningress: []",
      /^config\.yml:1:33: originRequest\.connectTimeout: found "soon"; a text such as "30s"/,
    ],
    ["warp-routing:\n  tcpKeepAlive: 1x", /^config\.yml:2:3: warp-routing\.tcpKeepAlive: found "1x"/],
    ["ingress:\n  - ", /^config\.yml:2:5: ingress\[0\]: rule 1: found nothing; keys and values/],
    // All of it at once, with what is wrong elsewhere.
    [
      "retries: x\ningress:\n  - hostname: a.b\n    service: localhost:80\n  - path: (\n    service: http://b\n",
      /^config\.yml:1:1: retries: .*\nconfig\.yml:4:5: ingress\[0\]\.service: rule 1 .*\nconfig\.yml:5:5: ingress\[1\]\.path/,
    ],
  ])("names the line and column of what is wrong with rules: %j", (text, message) => {
    const found = messageOf(text);
    if (typeof message === "string") expect(found).toBe(message);
    else expect(found).toMatch(message);
  });

  it("reads scalars as Go does where the field is a text or a boolean", () => {
    const text =
      "ingress:\n  - service: http://a\n    hostname:\n    path: ~\n    originRequest:\n      noTLSVerify: yes\n      http2Origin: off\n" +
      "      httpHostHeader: 123\n      access: { required: on, teamName: 0x1f, audTag: [1e3, abc] }\n";
    expect(rulesOf(text)).toMatchObject([
      {
        hostname: "",
        path: undefined,
        originRequest: {
          noTLSVerify: true,
          http2Origin: false,
          httpHostHeader: "123",
          access: { required: true, teamName: "0x1f", audTag: ["1e3", "abc"] },
        },
      },
    ]);
    // Not where somebody put quotes.
    expect(messageOf('ingress:\n  - service: http://a\n    originRequest: { noTLSVerify: "yes" }')).toContain(
      'found "yes"; true or false',
    );
  });

  it("honours explicit false, zero and empty texts of a rule over the document's", () => {
    const text =
      "originRequest: { noTLSVerify: true, connectTimeout: 5, keepAliveTimeout: 1.5, httpHostHeader: a, proxyType: socks }\n" +
      "ingress:\n  - service: tcp://a\n    originRequest: { noTLSVerify: false, connectTimeout: 0, httpHostHeader: '', proxyType: '' }\n";
    expect(rulesOf(text)[0]?.originRequest).toMatchObject({
      noTLSVerify: false,
      connectTimeoutMs: 0,
      keepAliveTimeoutMs: 1500,
      httpHostHeader: undefined,
      proxyType: "",
    });
  });

  it("follows anchors and merges; a map's own keys win, then the first that is merged in", () => {
    const text = [
      "x-base: &b { connectTimeout: 1s, tlsTimeout: 2s }", // 1
      "x-more: &m { tlsTimeout: 9s, idleTimeout: 4s, nosuch: 1 }", // 2
      "ingress:", // 3
      "  - hostname: a.example.com", // 4
      "    service: &s http://a", // 5
      "    originRequest: &o", // 6
      "      connectTimeout: 3s", // 7
      "      <<: [*b, *m]", // 8
      "  - service: *s", // 9
      "    originRequest: *o", // 10
    ].join("\n");
    const expected = { connectTimeoutMs: 3000, tlsTimeoutMs: 2000, idleTimeoutMs: 4000 };
    expect(rulesOf(text)).toMatchObject([{ originRequest: expected }, { originRequest: expected }]);
    // What is merged in is named where it stands.
    expect(ruleWarnings(text)[0]).toMatch(/^config\.yml:2:47: ingress\[0\]\.originRequest\.nosuch: /);
  });

  it("ends where an alias is inside itself", () => {
    expect(messageOf("originRequest: &a\n  <<: *a\n  tlsTimeout: 1s\n")).toBe("");
    expect(messageOf("ingress: &a\n  - *a\n")).toContain("is nested too deep");
    expect(messageOf("ingress:\n  - &r\n    service: http://a\n    originRequest: *r\n")).toContain("too deep");
  });

  it("is not blown up by nested aliases", () => {
    const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
    for (let level = 0; level < 12; level++) {
      const [name, inner] = [String.fromCharCode(98 + level), String.fromCharCode(97 + level)];
      bomb.push(`${name}: &${name} [${`*${inner},`.repeat(8)}*${inner}]`);
    }
    expect(messageOf([...bomb, "tag: *m"].join("\n"))).toContain("tag: found a list; a list of texts would be right");
    expect(messageOf([...bomb, "ingress: *m"].join("\n"))).toContain("has too many values");
  });

  it("an empty file is a warning", () => {
    expect(warningsOf("")).toEqual(["config.yml: the configuration file is empty"]);
    expect(warningsOf("# only a comment\n")).toHaveLength(1);
  });

  it("reports syntax errors and duplicate keys with line and column, without quoting the document", () => {
    const { token } = makeCredentials();
    expect(messageOf(`tunnel: a\n b: c\ntoken: ${token}`)).toMatch(/^config\.yml:\d+:\d+: not valid YAML: /);
    expect(messageOf(`token: "${token}\nx: 1`)).not.toContain(token.slice(0, 20));
    expect(messageOf("a: 1\na: 2")).toBe("config.yml:2:1: not valid YAML: this key stands there twice");
    expect(messageOf("ingress:\n  - service: http://a\n    service: http://b")).toMatch(/^config\.yml:3:5: .* twice$/);
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
