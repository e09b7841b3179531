/** Which rules a tunnel starts with, of all those who can say something. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConfigFile } from "../../src/config/config-file.ts";
import { readEnvironment } from "../../src/config/environment.ts";
import { planIngress, type PlannedIngress } from "../../src/config/ingress.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { findSetting, isProblem, readSettingText, type Setting } from "../../src/config/settings.ts";
import { parseTomlConfig } from "../../src/config/toml.ts";
import { parseYamlConfig } from "../../src/config/yaml.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { defaultOriginRequest, defaultWarpRouting } from "../../src/proxy/ingress/defaults.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-ingress-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Said {
  mode?: "quick" | "named";
  flags?: Record<string, string>;
  env?: Record<string, string>;
  yaml?: string;
  toml?: string;
}

function flag([name, text]: readonly [string, string]): readonly [string, Setting] {
  const spec = findSetting(name);
  if (spec === undefined) throw new Error(`no flag ${name}`);
  const value = readSettingText(spec, text, `--${name}`);
  if (isProblem(value)) throw new Error(value.text);
  return [name, { name, value, source: "flag", where: `--${name}` }];
}

function plan({ mode = "named", flags = {}, env = {}, yaml, toml }: Said): PlannedIngress {
  let file: ConfigFile | undefined;
  if (yaml !== undefined) file = parseYamlConfig(yaml, "c.yml", env);
  if (toml !== undefined) file = parseTomlConfig(toml, "u.toml", env);
  const layer = new Map(Object.entries(flags).map(flag));
  return planIngress({ settings: new MergedSettings(layer, readEnvironment(env).layer, file), mode, env });
}

function failure(said: Said): string {
  try {
    plan(said);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const RULES = "ingress:\n  - hostname: a.example.com\n    service: http://a:1\n  - service: http_status:404\n";

describe("the file's rules", () => {
  it("count before flags, variables and the file's own url, which are named", () => {
    const { ingress, from, warnings } = plan({
      flags: { url: "http://x", "no-tls-verify": "true", "hello-world": "false", retries: "3" },
      env: { TUNNEL_HTTP_HOST_HEADER: "h" },
      yaml: `url: http://y\nproxy-connect-timeout: 1s\n${RULES}`,
    });
    expect(from).toBe("rules");
    expect(ingress.rules).toMatchObject([
      { hostname: "a.example.com", service: { url: new URL("http://a:1") }, originRequest: defaultOriginRequest },
      { hostname: "", service: { kind: "status", status: 404 } },
    ]);
    expect(warnings).toEqual([
      "ignored beside the rules at c.yml:3:1: ingress, which have options of their own: " +
        "TUNNEL_HTTP_HOST_HEADER, --no-tls-verify, c.yml:2:1: proxy-connect-timeout, --url",
    ]);
    expect(plan({ yaml: RULES }).warnings).toEqual([]);
  });

  it("count in quick tunnels too, unless a flag or variable names the service", () => {
    const only = plan({ mode: "quick", yaml: `url: http://y\n${RULES}` });
    expect(only.ingress.rules).toHaveLength(2);
    for (const said of [{ flags: { url: "http://x:1" } }, { env: { TUNNEL_URL: "http://x:1" } }]) {
      const { ingress, from, warnings } = plan({
        mode: "quick",
        yaml: `${RULES}originRequest: { tlsTimeout: 3s }`,
        ...said,
      });
      expect(from).toBe("service");
      expect(ingress.rules).toMatchObject([
        { hostname: "", service: { url: new URL("http://x:1") }, originRequest: { tlsTimeoutMs: 3000 } },
      ]);
      expect(warnings[0]).toMatch(/^(?:--url|TUNNEL_URL) is used, and not the rules at c\.yml:1:1: ingress$/);
    }
  });

  it("that are wrong stop the start, also beside a flag", () => {
    const yaml = "ingress:\n  - hostname: a.example.com\n    service: http://a:1\n";
    expect(failure({ yaml, flags: { url: "http://x" } })).toMatch(/^c\.yml:2:5: ingress\[0\]: .*the last rule/);
  });

  it("are none when the list is empty", () => {
    expect(plan({ yaml: "ingress: []\nurl: http://y:1\n" })).toMatchObject({
      from: "service",
      ingress: { rules: [{ service: { url: new URL("http://y:1") } }] },
    });
    expect(plan({ yaml: "ingress:\nwarp-routing: { maxActiveFlows: 5 }\n" })).toMatchObject({
      from: "nothing",
      ingress: { rules: [{ service: { kind: "status", status: 503 } }], warpRouting: { maxActiveFlows: 5 } },
    });
  });
});

describe("one service", () => {
  it("is the first of hello-world, bastion, url and unix-socket that the strongest source names", () => {
    const service = (said: Said) => plan(said).ingress.rules[0]?.service;
    expect(service({ flags: { "hello-world": "true", bastion: "true", url: "http://x" } })).toEqual({
      kind: "hello-world",
    });
    const { ingress, warnings } = plan({ flags: { bastion: "true", url: "http://x", socks5: "false" } });
    expect(ingress.rules[0]?.service).toEqual({ kind: "bastion" });
    expect(warnings).toEqual(["--url is ignored beside --bastion"]);
    expect(service({ flags: { "unix-socket": "/run/x" } })).toEqual({ kind: "unix", path: "/run/x", tls: false });
    // A flag for one service counts before a variable or key for another.
    expect(service({ flags: { url: "http://x:1" }, env: { TUNNEL_HELLO_WORLD: "true" } })).toMatchObject({
      kind: "url",
    });
    expect(service({ flags: { url: "http://x:1" }, yaml: "bastion: true\n" })).toMatchObject({ kind: "url" });
    expect(service({ yaml: "hello-world: true\n" })).toEqual({ kind: "hello-world" });
    // Off is off, whoever had it on.
    expect(service({ flags: { bastion: "false" }, yaml: "bastion: true\nurl: http://y\n" })).toMatchObject({
      kind: "url",
    });
    expect(failure({ flags: { url: "http://x", "unix-socket": "/y" } })).toBe(
      "--unix-socket: can't be used together with --url",
    );
  });

  it("is a SOCKS5 server's client where --socks5 says so", () => {
    expect(plan({ flags: { url: "tcp://localhost:22", socks5: "true" } }).ingress.rules[0]).toMatchObject({
      service: { kind: "tcp", port: 22 },
      originRequest: { proxyType: "socks" },
    });
  });

  it("has an option for each flag", () => {
    const pool = join(directory, "pool.pem");
    const certPem = createAuthority().certPem.trimEnd();
    writeFileSync(pool, certPem);
    const flags = {
      url: "https://x",
      "proxy-connect-timeout": "1s",
      "proxy-tls-timeout": "2s",
      "proxy-tcp-keepalive": "-1s",
      "proxy-no-happy-eyeballs": "true",
      "proxy-keepalive-connections": "-1",
      "proxy-keepalive-timeout": "1m30.5s",
      "http-host-header": "h.example.com",
      "origin-server-name": "s.example.com",
      "origin-ca-pool": pool,
      "no-tls-verify": "true",
      "no-chunked-encoding": "true",
      "http2-origin": "true",
    };
    const expected = {
      connectTimeoutMs: 1000,
      tlsTimeoutMs: 2000,
      tcpKeepAliveMs: -1000,
      noHappyEyeballs: true,
      keepAliveConnections: -1,
      keepAliveTimeoutMs: 90_500,
      httpHostHeader: "h.example.com",
      originServerName: "s.example.com",
      caPool: certPem,
      noTLSVerify: true,
      disableChunkedEncoding: true,
      http2Origin: true,
    };
    expect(plan({ flags }).ingress.rules[0]?.originRequest).toEqual({ ...defaultOriginRequest, ...expected });
    // And for each key of that name, and each variable that there is.
    const { url, ...rest } = flags;
    const yaml = Object.entries(rest).map(([name, value]) => `${name}: ${value}\n`);
    expect(plan({ flags: { url }, yaml: yaml.join("") }).ingress.rules[0]?.originRequest).toMatchObject(expected);
    const env = {
      TUNNEL_URL: "https://x",
      TUNNEL_HTTP_HOST_HEADER: "h.example.com",
      TUNNEL_ORIGIN_SERVER_NAME: "s.example.com",
      NO_TLS_VERIFY: "true",
      TUNNEL_NO_CHUNKED_ENCODING: "1",
      TUNNEL_ORIGIN_ENABLE_HTTP2: "t",
    };
    expect(plan({ env }).ingress.rules[0]?.originRequest).toMatchObject({
      httpHostHeader: "h.example.com",
      originServerName: "s.example.com",
      noTLSVerify: true,
      disableChunkedEncoding: true,
      http2Origin: true,
    });
  });

  it("takes the file's originRequest below flags and variables, above the file's flags", () => {
    const yaml =
      "proxy-connect-timeout: 1s\nproxy-tls-timeout: 1s\nno-tls-verify: true\nhttp-host-header: a\n" +
      "originRequest: { connectTimeout: 2s, noTLSVerify: true, matchSNItoHost: true, httpHostHeader: b }\n";
    const flags = { url: "http://x", "no-tls-verify": "false", "http-host-header": "" };
    expect(plan({ flags, yaml }).ingress.rules[0]?.originRequest).toMatchObject({
      connectTimeoutMs: 2000,
      tlsTimeoutMs: 1000,
      noTLSVerify: false,
      matchSNItoHost: true,
      // An empty text hides the weaker ones.
      httpHostHeader: undefined,
    });
  });

  it("says which flag, variable or key is wrong", () => {
    expect(failure({ flags: { url: "ftp://x" } })).toMatch(/^--url: found the scheme "ftp"/);
    expect(failure({ env: { TUNNEL_URL: "http://" } })).toMatch(/^TUNNEL_URL: found /);
    expect(failure({ flags: { url: "1", "origin-server-name": "a b" } })).toMatch(/^--origin-server-name: found "a b"/);
    expect(failure({ flags: { url: "1", "origin-ca-pool": "/nonexistent" } })).toBe(
      "--origin-ca-pool: can't read /nonexistent: no such file",
    );
    expect(failure({ yaml: "url: http://x\noriginRequest:\n  caPool: /nonexistent\n" })).toBe(
      "c.yml:3:3: originRequest.caPool: can't read /nonexistent: no such file",
    );
    expect(failure({ flags: { url: "1" }, yaml: "originRequest: 3\n" })).toMatch(/^c\.yml:1:1: originRequest: found 3/);
    expect(plan({ flags: { url: "1" }, yaml: "originRequest: { nosuch: 1 }\n" }).warnings).toEqual([
      'c.yml:1:18: originRequest.nosuch: unknown key "nosuch" is ignored',
    ]);
    expect(failure({ toml: '[tunnel]\nlocal_addr = "a:1"\n[tunnel.originRequest]\nnosuch = 1\n' })).toMatch(
      /^u\.toml:4: tunnel\.originRequest\.nosuch: unknown key/,
    );
  });
});

describe("nothing", () => {
  it("is 503 for everything", () => {
    expect(plan({ flags: { "no-tls-verify": "true" } })).toEqual({
      from: "nothing",
      whereOption: expect.any(Function),
      ingress: {
        rules: [
          {
            hostname: "",
            path: undefined,
            service: { kind: "status", status: 503, unconfigured: true },
            originRequest: { ...defaultOriginRequest, noTLSVerify: true },
          },
        ],
        warpRouting: defaultWarpRouting,
      },
      warnings: [],
    });
  });
});
