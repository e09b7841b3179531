import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readEnvironment } from "../../src/config/environment.ts";
import { loadConfigFile } from "../../src/config/files.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import { type Plan, planTunnel } from "../../src/config/plan.ts";
import { findSetting, isProblem, readSettingText, type Setting, type SettingLayer } from "../../src/config/settings.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { makeCredentials } from "./make-credentials.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "underpass-plan-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function flagLayer(flags: Readonly<Record<string, string>>): SettingLayer {
  const layer = new Map<string, Setting>();
  for (const [name, text] of Object.entries(flags)) {
    const spec = findSetting(name);
    if (spec === undefined) throw new Error(`no flag ${name}`);
    const value = readSettingText(spec, text, `--${name}`);
    if (isProblem(value)) throw new Error(value.text);
    layer.set(name, { name, value, source: "flag", where: `--${name}` });
  }
  return layer;
}

interface Said {
  style?: "native" | "tunnel";
  run?: boolean;
  ref?: string;
  flags?: Record<string, string>;
  env?: Record<string, string>;
  file?: { name: string; text: string };
}

async function plan(said: Said): Promise<Plan> {
  const env = said.env ?? {};
  let file;
  if (said.file !== undefined) {
    const path = join(directory, said.file.name);
    writeFileSync(path, said.file.text, { mode: 0o600 });
    file = await loadConfigFile(path, env, "--config");
  }
  const { layer, problems } = readEnvironment(env);
  expect(problems).toEqual([]);
  return planTunnel({
    style: said.style ?? "native",
    run: said.run ?? false,
    tunnelRef: said.ref,
    settings: new MergedSettings(flagLayer(said.flags ?? {}), layer, file),
    env,
  });
}

async function failure(said: Said): Promise<{ code: string; message: string }> {
  try {
    await plan(said);
  } catch (error) {
    if (error instanceof Error && "code" in error) {
      return { code: String(error.code), message: error.message.replaceAll(`${directory}/`, "") };
    }
    throw error;
  }
  throw new Error("nothing was thrown");
}

function toml(cloudflare: string): { name: string; text: string } {
  return { name: "u.toml", text: `[tunnel]\nlocal_addr = "127.0.0.1:8080"\n[tunnel.cloudflare]\n${cloudflare}\n` };
}

const made = makeCredentials();
const other = makeCredentials();

describe("quick or named", () => {
  it("underpass --url is a quick tunnel with one connection", async () => {
    const { config, warnings, notes } = await plan({ flags: { url: "http://localhost:3000", "ha-connections": "4" } });
    expect(config.identity).toEqual({ mode: "quick", quickService: "https://api.trycloudflare.com" });
    expect(config.ingress.rules[0]?.service).toEqual({ kind: "url", url: new URL("http://localhost:3000") });
    expect(config.haConnections).toBe(1);
    expect(config.metrics?.kind).toBe("default");
    expect([...warnings, ...notes]).toEqual([]);
  });

  it.each([
    [{}, "default"],
    [{ metrics: "off" }, undefined],
    [{ metrics: "127.0.0.1:9" }, "address"],
  ])("with the flags %j the metrics server is %s", async (flags, kind) => {
    const { config } = await plan({ flags: { url: "3000", ...flags } });
    expect(config.metrics?.kind).toBe(kind);
  });

  it("a container's default metrics server is reached from outside", async () => {
    const { config } = await plan({ flags: { url: "3000" }, env: { KUBERNETES_SERVICE_HOST: "10.0.0.1" } });
    expect(config.metrics).toEqual({ kind: "default", host: "0.0.0.0" });
  });

  it("a TOML file without a metrics port has none", async () => {
    const { config } = await plan({ file: toml("") });
    expect(config.metrics).toBeUndefined();
  });

  it("underpass --url ignores a token of the environment, and says so", async () => {
    const { config, warnings } = await plan({ flags: { url: "3000" }, env: { TUNNEL_TOKEN: made.token } });
    expect(config.identity.mode).toBe("quick");
    expect(warnings).toEqual([
      'quick tunnel: mode is "quick", so the token (TUNNEL_TOKEN) is not used; underpass run uses it',
    ]);
  });

  it("a token flag makes it named", async () => {
    const { config } = await plan({ flags: { url: "3000", token: made.token } });
    expect(config.identity).toMatchObject({ mode: "named", credentials: { tunnelId: made.tunnelId } });
    expect(config.haConnections).toBe(4);
  });

  it("the file's mode counts; quick with a token is a warning", async () => {
    const quick = await plan({ file: toml(`token = "${made.token}"`) });
    expect(quick.config.identity.mode).toBe("quick");
    expect(quick.warnings).toHaveLength(1);
    expect(quick.warnings[0]).toMatch(/u\.toml:3: tunnel\.cloudflare\.mode: mode is "quick", so the token .*u\.toml:4/);
    expect(quick.warnings[0]).not.toContain(made.token);
    const named = await plan({ file: toml(`mode = "named"\ntoken = "${made.token}"\nhostname = "a.example.com"`) });
    expect(named.config.identity).toMatchObject({ mode: "named", hostname: "a.example.com" });
    expect(named.warnings).toEqual([]);
  });

  it("a token flag overrides the file's quick mode, with a warning", async () => {
    const { config, warnings } = await plan({ run: true, flags: { token: made.token }, file: toml('mode = "quick"') });
    expect(config.identity.mode).toBe("named");
    expect(warnings[0]).toContain("--token was given");
  });

  it("a hostname is ignored by a quick tunnel, and by underpass tunnel run", async () => {
    const quick = await plan({ file: toml('hostname = "a.example.com"') });
    expect(quick.warnings[0]).toContain("is ignored");
    const tunnel = await plan({
      style: "tunnel",
      run: true,
      flags: { token: made.token, hostname: "a.example.com", url: "1" },
    });
    expect(tunnel.config.identity).toMatchObject({ hostname: undefined });
    expect(tunnel.warnings[0]).toContain("--hostname is ignored");
    const native = await plan({ run: true, flags: { token: made.token, hostname: "A.example.com", url: "1" } });
    expect(native.config.identity).toMatchObject({ hostname: "a.example.com" });
  });

  it("named without a token names both ways to give it", async () => {
    const { code, message } = await failure({ file: toml('mode = "named"') });
    expect(code).toBe("ERR_UNDERPASS_CONFIG");
    expect(message).toMatch(/^u\.toml:4: tunnel\.cloudflare\.mode: /);
    expect(message).toContain('token = "…" under [tunnel.cloudflare]');
    expect(message).toContain("environment variable CLOUDFLARE_TUNNEL_TOKEN");
  });

  it("underpass run without anything, and underpass without a service, say what to do", async () => {
    expect((await failure({ run: true })).message).toContain("--token-file");
    expect((await failure({})).message).toContain("--url http://localhost:3000");
    expect(await failure({ style: "tunnel", run: true })).toMatchObject({
      code: "ERR_UNDERPASS_USAGE",
      message: expect.stringContaining("requires a token"),
    });
  });

  it("underpass tunnel points to run when the file names a tunnel", async () => {
    const file = { name: "c.yml", text: `tunnel: ${made.tunnelId}\n` };
    expect((await failure({ style: "tunnel", file })).message).toContain("underpass tunnel run");
    for (const flags of [{ url: "1" }, { "hello-world": "true" }]) {
      expect((await plan({ style: "tunnel", file, flags })).config.identity.mode).toBe("quick");
    }
    expect((await failure({ style: "tunnel", file, flags: { "hello-world": "false" } })).message).toContain(
      "tunnel run",
    );
  });
});

describe("the token's source", () => {
  it("is flag before environment before file; TUNNEL_TOKEN before CLOUDFLARE_TUNNEL_TOKEN", async () => {
    const path = join(directory, "token");
    writeFileSync(path, `${other.token}\n`);
    const env = { TUNNEL_TOKEN: made.token, CLOUDFLARE_TUNNEL_TOKEN: other.token };
    const idOf = async (said: Said) => (await plan({ run: true, flags: { url: "1" }, ...said })).config.identity;
    const is = (who: { tunnelId: string }) => ({ credentials: { tunnelId: who.tunnelId } });
    expect(await idOf({ env })).toMatchObject(is(made));
    expect(await idOf({ env: { CLOUDFLARE_TUNNEL_TOKEN: other.token } })).toMatchObject(is(other));
    expect(await idOf({ env, flags: { url: "1", token: other.token } })).toMatchObject(is(other));
    expect(await idOf({ env, flags: { url: "1", "token-file": path } })).toMatchObject(is(other));
    expect(await idOf({ flags: { url: "1", token: made.token, "token-file": path } })).toMatchObject(is(made));
    expect(await idOf({ env: { TUNNEL_TOKEN_FILE: path, CLOUDFLARE_TUNNEL_TOKEN: made.token } })).toMatchObject(
      is(other),
    );
    const file = toml(`mode = "named"\ntoken = "${other.token}"`);
    expect(await idOf({ file, env: { CLOUDFLARE_TUNNEL_TOKEN: made.token } })).toMatchObject(is(made));
    expect(await idOf({ file })).toMatchObject(is(other));
  });

  it("an invalid token and an unreadable file are usage errors that name the source", async () => {
    const bad = await failure({ style: "tunnel", run: true, flags: { url: "1", token: made.token.slice(0, -5) } });
    expect(bad).toMatchObject({ code: "ERR_UNDERPASS_USAGE" });
    expect(bad.message).toMatch(/^--token: Provided Tunnel token is not valid/);
    expect(bad.message).not.toContain(made.token.slice(0, 20));
    const missing = await failure({ style: "tunnel", run: true, flags: { url: "1", "token-file": "/nonexistent/t" } });
    expect(missing).toMatchObject({ code: "ERR_UNDERPASS_USAGE" });
    expect(missing.message).toContain("Failed to read token file: can't read /nonexistent/t: no such file");
    const inFile = await failure({ file: toml('mode = "named"\ntoken = "eyJhIjoiNjY..."') });
    expect(inFile.message).toMatch(/^u\.toml:5: tunnel\.cloudflare\.token: Provided Tunnel token is not valid/);
  });

  it("an empty --token hides the environment's", async () => {
    expect((await failure({ run: true, flags: { token: "", url: "1" }, env: { TUNNEL_TOKEN: made.token } })).code).toBe(
      "ERR_UNDERPASS_USAGE",
    );
  });

  it("finds credentials by id: contents, file, beside cert.pem, in HOME", async () => {
    const home = join(directory, "home");
    mkdirSync(join(home, ".cloudflared"), { recursive: true });
    mkdirSync(join(directory, "certs"), { recursive: true });
    writeFileSync(join(home, ".cloudflared", `${made.tunnelId}.json`), made.json);
    writeFileSync(join(directory, "certs", `${other.tunnelId}.json`), other.json);
    writeFileSync(join(directory, "c.json"), made.json);
    const base: Said = { style: "tunnel", run: true, env: { HOME: home } };
    const accountOf = async (said: Said) => {
      const { identity } = (await plan({ ...base, ...said })).config;
      return identity.mode === "named" && identity.credentials.accountTag;
    };
    expect(await accountOf({ ref: made.tunnelId.toUpperCase() })).toBe(made.accountTag);
    expect(await accountOf({ ref: other.tunnelId, flags: { origincert: join(directory, "certs", "cert.pem") } })).toBe(
      other.accountTag,
    );
    expect(await accountOf({ ref: "any-name", flags: { "credentials-file": join(directory, "c.json") } })).toBe(
      made.accountTag,
    );
    expect(await accountOf({ ref: other.tunnelId, flags: { "credentials-contents": other.json } })).toBe(
      other.accountTag,
    );
    expect(await accountOf({ file: { name: "c.yml", text: `tunnel: ${made.tunnelId}\n` } })).toBe(made.accountTag);
    // A tunnel that was named counts before the variable that cloudflared does not know.
    expect(await accountOf({ ref: made.tunnelId, env: { HOME: home, CLOUDFLARE_TUNNEL_TOKEN: other.token } })).toBe(
      made.accountTag,
    );
    expect((await failure({ ...base, ref: other.tunnelId })).message).toContain("tunnel credentials file not found");
    expect((await failure({ ...base, ref: "my-tunnel" })).message).toContain(
      "finding a tunnel by its name is not there yet",
    );
  });

  it("runs by id without any home directory", async () => {
    const file = join(directory, "c2.json");
    writeFileSync(file, made.json);
    chmodSync(file, 0o400);
    const said: Said = { style: "tunnel", run: true, ref: made.tunnelId, flags: { "cred-file": file } };
    // The alias is the same setting.
    said.flags = { "credentials-file": file };
    expect((await plan({ ...said, env: { HOME: "" } })).config.identity.mode).toBe("named");
  });

  it.each(["../x", "US", "a.b", "-us", "u".repeat(60)])(
    "refuses a region that is no part of a name: %s",
    async (region) => {
      const { message } = await failure({ run: true, flags: { token: made.token, region, url: "1" } });
      expect(message).toContain("--region: found");
      expect(message).toContain('"us"');
    },
  );

  it("refuses a region beside a token that has an endpoint", async () => {
    const fed = makeCredentials({ e: "fed" });
    const { code, message } = await failure({
      style: "tunnel",
      run: true,
      flags: { token: fed.token, region: "us", url: "1" },
    });
    expect(code).toBe("ERR_UNDERPASS_CONFIG");
    expect(message).toContain("region provided with a token that has an endpoint");
  });
});

describe("the service", () => {
  it.each([
    ["localhost:3000", "http://localhost:3000"],
    ["3000", "http://localhost:3000"],
    [":3000", "http://localhost:3000"],
    ["127.0.0.1", "http://127.0.0.1"],
    ["::1", "http://[::1]"],
    ["[::1]:81", "http://[::1]:81"],
    ["HTTPS://Host:8443", "https://host:8443"],
  ])("takes %s", async (url, expected) => {
    const { config } = await plan({ flags: { url } });
    expect(config.ingress.rules[0]?.service).toEqual({ kind: "url", url: new URL(expected) });
  });

  it("drops a path, user name and query, with a warning for the path", async () => {
    const { config, warnings } = await plan({ flags: { url: "http://u:p@localhost:1/api?x=1" } });
    expect(config.ingress.rules[0]?.service).toEqual({ kind: "url", url: new URL("http://localhost:1") });
    expect(warnings).toEqual(['--url: "/api?x=1" is ignored: requests keep the visitor\'s path']);
  });

  it("takes unix sockets and fixed answers", async () => {
    expect((await plan({ flags: { "unix-socket": "/run/x.sock" } })).config.ingress.rules[0]?.service).toEqual({
      kind: "unix",
      path: "/run/x.sock",
      tls: false,
    });
    expect((await plan({ flags: { url: "unix+tls:/x" } })).config.ingress.rules[0]?.service).toEqual({
      kind: "unix",
      path: "/x",
      tls: true,
    });
    expect((await plan({ flags: { url: "http_status:404" } })).config.ingress.rules[0]?.service).toEqual({
      kind: "status",
      status: 404,
    });
  });

  it.each([
    ["tcp://localhost:22", { kind: "tcp", scheme: "tcp", host: "localhost", port: 22 }],
    ["ssh://localhost/path", { kind: "tcp", scheme: "ssh", host: "localhost", port: 22 }],
    ["hello_world", { kind: "hello-world" }],
    ["socks-proxy", { kind: "socks-proxy" }],
    ["h2c://localhost:1", { kind: "url", url: new URL("h2c://localhost:1") }],
  ])("takes what rules take: %s", async (url, service) => {
    expect((await plan({ flags: { url } })).config.ingress.rules[0]?.service).toEqual(service);
  });

  it.each(["ftp://x", "http://", "http://a:99999", "localhost:0", "a b"])("refuses %s", async (url) => {
    expect((await failure({ flags: { url } })).message).toContain("--url: found ");
  });

  it("is --url or --unix-socket, not both; a flag hides the environment and the file", async () => {
    expect((await failure({ flags: { url: "1", "unix-socket": "/x" } })).message).toBe(
      "--unix-socket: can't be used together with --url",
    );
    const { config } = await plan({
      flags: { "unix-socket": "/x" },
      env: { TUNNEL_URL: "http://e:1" },
      file: toml(""),
    });
    expect(config.ingress.rules[0]?.service).toMatchObject({ kind: "unix" });
    expect(
      (await plan({ env: { TUNNEL_URL: "http://e:1" }, file: toml("") })).config.ingress.rules[0]?.service,
    ).toMatchObject({
      url: new URL("http://e:1"),
    });
  });

  it("is missing: 503 for a named tunnel, an error for the others", async () => {
    // The tunnel of a token mostly has its rules at Cloudflare; credentials are those of a tunnel without.
    const remote = await plan({ run: true, flags: { token: made.token } });
    expect(remote.config.ingress.rules).toMatchObject([{ hostname: "", service: { kind: "status", status: 503 } }]);
    expect(remote.warnings).toEqual([]);
    const local = await plan({ run: true, flags: { "credentials-contents": made.json } });
    expect(local.config.ingress.rules).toMatchObject([{ service: { kind: "status", status: 503 } }]);
    expect(local.warnings).toEqual([
      "No ingress rules were defined in provided config (if any) nor from the cli, underpass will return 503 for all incoming HTTP requests",
    ]);
    const file = { name: "u.toml", text: '[tunnel]\nbackend = "cloudflare"\n' };
    expect((await failure({ file })).message).toBe(
      'u.toml:1: tunnel.local_addr: found nothing; host:port such as "127.0.0.1:8080", or rules in [[tunnel.ingress]], would be right',
    );
    expect((await plan({ file, flags: { url: "1" } })).config.ingress.rules[0]?.service).toMatchObject({ kind: "url" });
  });
});

describe("the other settings", () => {
  it("have cloudflared's defaults", async () => {
    const { config } = await plan({ style: "tunnel", run: true, flags: { token: made.token, url: "1" } });
    expect(config).toMatchObject({
      protocol: "auto",
      edge: [],
      region: undefined,
      edgeIpVersion: "auto",
      haConnections: 4,
      retries: 5,
      gracePeriodMs: 30_000,
      rpcTimeoutMs: 5000,
      postQuantum: false,
      healthCheck: { intervalMs: 30_000, maxFailures: 3, path: "/" },
      metrics: { kind: "default" },
      ingress: {
        rules: [{ originRequest: { connectTimeoutMs: 30_000, keepAliveConnections: 100, noTLSVerify: false } }],
      },
    });
  });

  it("come from flags, variables and files, in this order", async () => {
    const file = toml(
      'retries = 3\ngrace_period_secs = 10\nmetrics_port = 20241\nedge_ip_version = 4\nrequest_log = "off"',
    );
    const env = { TUNNEL_RETRIES: "4", TUNNEL_GRACE_PERIOD: "20s" };
    const { config } = await plan({ file, env, flags: { retries: "5" } });
    expect(config).toMatchObject({
      retries: 5,
      gracePeriodMs: 20_000,
      metrics: { kind: "address", host: "127.0.0.1", port: 20241 },
      edgeIpVersion: "4",
      requestLog: "off",
    });
    const flagged = await plan({ file, flags: { "request-log": "headers" } });
    expect(flagged.config.requestLog).toBe("headers");
  });

  it("the protocol is what was chosen; h2mux warns and is HTTP/2", async () => {
    for (const protocol of ["auto", "quic", "http2"]) {
      expect(await plan({ flags: { url: "1", protocol } })).toMatchObject({ config: { protocol }, warnings: [] });
    }
    const { config, warnings } = await plan({ flags: { url: "1", protocol: "h2mux" } });
    expect(config.protocol).toBe("http2");
    expect(warnings).toEqual([expect.stringContaining("using HTTP/2")]);
    expect((await failure({ flags: { url: "1", protocol: "h3" } })).message).toBe(
      '--protocol: found "h3"; "auto", "quic" or "http2" would be right',
    );
  });

  it("ICMP sources are addresses of their family", async () => {
    const flags = { url: "1", "icmpv4-src": "192.0.2.1", "icmpv6-src": "fe80::1%eth0" };
    expect((await plan({ flags })).config).toMatchObject({ icmpv4Src: "192.0.2.1", icmpv6Src: "fe80::1%eth0" });
    expect((await failure({ flags: { url: "1", "icmpv4-src": "::1" } })).message).toBe(
      '--icmpv4-src: found "::1"; an IPv4 address of this machine would be right',
    );
    expect((await failure({ flags: { url: "1", "icmpv6-src": "eth0" } })).message).toBe(
      '--icmpv6-src: found "eth0"; an IPv6 address of this machine would be right',
    );
  });

  it("takes a limit of flows, over what the file says, and at most ten resolvers", async () => {
    const file = { name: "w.yml", text: "url: http://a\nwarp-routing: { maxActiveFlows: 5, connectTimeout: 1 }\n" };
    const of = async (said: Said) => (await plan({ file, ...said })).config;
    expect((await of({})).maxActiveFlows).toBeUndefined();
    expect((await of({})).ingress.warpRouting).toMatchObject({ maxActiveFlows: 5, connectTimeoutMs: 1000 });
    for (const flags of [{ "max-active-flows": "0" }, { "max-active-flows": "7" }]) {
      const limit = Number(flags["max-active-flows"]);
      expect(await of({ flags })).toMatchObject({
        maxActiveFlows: limit,
        ingress: { warpRouting: { maxActiveFlows: limit } },
      });
    }
    const many = Array.from({ length: 11 }, () => "192.0.2.1:53").join();
    expect((await failure({ flags: { url: "1", "dns-resolver-addrs": many } })).message).toBe(
      "--dns-resolver-addrs: found 11 resolvers; at most 10 would be right",
    );
  });

  it("warns of a jump host that anybody can use", async () => {
    expect((await plan({ flags: { bastion: "true" } })).warnings[0]).toContain("bastion on a quick tunnel");
    expect((await plan({ flags: { bastion: "true", token: made.token } })).warnings).toEqual([]);
  });

  it("a bind address decides the IP version", async () => {
    const flags = { url: "1", "edge-bind-address": "127.0.0.1" };
    expect((await plan({ flags })).config).toMatchObject({ edgeIpVersion: "4", edgeBindAddress: "127.0.0.1" });
    const { config, warnings } = await plan({ flags: { ...flags, "edge-ip-version": "6" } });
    expect(config.edgeIpVersion).toBe("4");
    expect(warnings[0]).toContain("Overriding edge-ip-version");
  });

  it("keeps its state where the flag says, or where systemd does", async () => {
    const of = async (said: Said) =>
      (await plan({ ...said, flags: { url: "1", ...said.flags } })).config.stateDirectory;
    const systemd = { STATE_DIRECTORY: "/var/lib/underpass:/var/lib/other", HOME: "/home/me" };
    expect(await of({})).toBeUndefined();
    expect(await of({ env: systemd })).toBe("/var/lib/underpass");
    expect(await of({ env: { STATE_DIRECTORY: "" } })).toBeUndefined();
    expect(await of({ env: { ...systemd, TUNNEL_STATE_DIRECTORY: "/srv/state" } })).toBe("/srv/state");
    expect(await of({ env: systemd, flags: { "state-directory": "~/state" } })).toBe("/home/me/state");
    const toml = '[tunnel]\nlocal_addr = "127.0.0.1:1"\n[tunnel.cloudflare]\nstate_directory = "/srv/b"\n';
    expect((await plan({ file: { name: "s.toml", text: toml } })).config.stateDirectory).toBe("/srv/b");
  });

  it("keeps trying unless it is told to give up", async () => {
    const of = async (said: Said) => (await plan({ ...said, flags: { url: "1", ...said.flags } })).config.exitOnFailure;
    expect(await of({})).toBe(false);
    expect(await of({ flags: { "exit-on-failure": "true" } })).toBe(true);
    expect(await of({ env: { TUNNEL_EXIT_ON_FAILURE: "true" } })).toBe(true);
  });

  it("all that is wrong is reported at once", async () => {
    const flags = {
      url: "ftp://x",
      protocol: "spdy",
      "edge-ip-version": "5",
      "edge-bind-address": "eth0",
      edge: "a.example.com",
      metrics: "20241",
      tag: "a b=c",
      "dns-resolver-addrs": "localhost:53",
      "quick-service": "x",
      "health-check-path": "x",
    };
    const { message } = await failure({ flags });
    for (const name of Object.keys(flags)) expect(message).toContain(`--${name}: found `);
  });

  it.each(["127.0.0.1:0", ":7844", "edge.example", "[::1]", "a:b"])(
    "%s is no place where an edge could be dialled",
    async (edge) => {
      const { message } = await failure({ flags: { url: "1", edge } });
      expect(message).toContain(`--edge: found "${edge}"; host:port`);
    },
  );

  it("an empty quick service is no wish for the default one", async () => {
    const { message } = await failure({ flags: { url: "1", "quick-service": "" } });
    expect(message).toContain('--quick-service: found ""');
  });

  it("tags, features, edges and PEM files are read", async () => {
    const pem = join(directory, "ca.pem");
    writeFileSync(pem, createAuthority().certPem);
    const flags = {
      url: "1",
      tag: "a=b,c=d=e",
      features: "x,y",
      "dns-resolver-addrs": "192.0.2.1:53,[2001:db8::1]:5353",
      edge: "127.0.0.1:1,[::1]:2",
      cacert: pem,
      "origin-ca-pool": pem,
    };
    const { config } = await plan({ flags });
    expect(config).toMatchObject({
      tags: [
        { name: "a", value: "b" },
        { name: "c", value: "d=e" },
      ],
      features: ["x", "y"],
      dnsResolvers: ["192.0.2.1:53", "[2001:db8::1]:5353"],
      edge: ["127.0.0.1:1", "[::1]:2"],
      cacert: expect.stringContaining("BEGIN"),
      ingress: { rules: [{ originRequest: { caPool: expect.stringContaining("BEGIN") } }] },
    });
    expect((await failure({ flags: { url: "1", cacert: "/nonexistent" } })).message).toBe(
      "--cacert: can't read /nonexistent: no such file",
    );
    writeFileSync(pem, "nothing");
    expect((await failure({ flags: { url: "1", cacert: pem } })).message).toContain("holds no certificate");
  });
});

describe("the management service", () => {
  const of = async (flags: Record<string, string>, env = {}) =>
    (await plan({ flags: { url: "1", ...flags }, env })).config.management;

  it("is there as cloudflared has it", async () => {
    const expected = {
      hostname: "management.argotunnel.com",
      diagnostics: true,
      label: undefined,
      serviceAddress: "198.41.200.113:80",
    };
    expect(await of({})).toEqual(expected);
    expect(await of({ "management-diagnostics": "false", label: "attic" })).toEqual({
      ...expected,
      diagnostics: false,
      label: "attic",
    });
  });

  it("has the host name of the flag or the variable, without a port; off turns it off", async () => {
    expect(await of({ "management-hostname": "Logs.example.com:8443" })).toMatchObject({
      hostname: "logs.example.com",
    });
    expect(await of({}, { TUNNEL_MANAGEMENT_HOSTNAME: "localhost" })).toMatchObject({ hostname: "localhost" });
    expect(await of({ "management-hostname": "off" })).toBeUndefined();
    await expect(of({ "management-hostname": "https://x" })).rejects.toThrow(/--management-hostname.*host name/);
  });

  it("finds out this machine's address by an ip:port alone, also where it is off", async () => {
    for (const address of ["192.0.2.1:443", "[2001:db8::1]:80"]) {
      expect(await of({ "service-op-ip": address })).toMatchObject({ serviceAddress: address });
    }
    for (const address of [
      "192.0.2.1",
      "192.0.2.1:0",
      "192.0.2.1:65536",
      "2001:db8::1",
      "example.com:80",
      "nonsense",
    ]) {
      const wrong = of({ "service-op-ip": address, "management-hostname": "off" });
      await expect(wrong).rejects.toThrow(`--service-op-ip: found "${address}"; ip:port such as`);
    }
    await expect(of({}, { TUNNEL_SERVICE_OP_IP: "x" })).rejects.toThrow("TUNNEL_SERVICE_OP_IP");
  });
});

describe("features that are not there", () => {
  it("may be turned off", async () => {
    const flags = {
      url: "1",
      "no-autoupdate": "true",
      "no-prechecks": "true",
      "autoupdate-freq": "0s",
      "write-stream-timeout": "0s",
      "trace-output": "",
    };
    expect((await plan({ flags })).notes).toEqual([]);
  });

  it.each([
    [
      "no-autoupdate",
      "false",
      "--no-autoupdate: found false, but self-update is not there yet; true, or nothing, would be right",
    ],
    [
      "autoupdate-freq",
      "24h",
      "--autoupdate-freq: found 24h0m0s, but self-update is not there yet; nothing would be right",
    ],
    ["name", "x", '--name: found "x", but creating a tunnel is not there yet; nothing would be right'],
  ])("can't be turned on: --%s=%s", async (name, value, message) => {
    expect(await failure({ flags: { url: "1", [name]: value } })).toEqual({ code: "ERR_UNDERPASS_CONFIG", message });
  });

  it("can't be turned on by the environment or a file either", async () => {
    expect((await failure({ flags: { url: "1" }, env: { TUNNEL_TRACE_OUTPUT: "x" } })).message).toMatch(
      /^TUNNEL_TRACE_OUTPUT: /,
    );
    const file = { name: "c.yml", text: "url: http://a\nno-autoupdate: false\n" };
    expect((await failure({ file })).message).toMatch(/^c\.yml:2:1: no-autoupdate: found false, but self-update/);
  });

  it("what has no effect is named on one line", async () => {
    const flags = {
      url: "1",
      ui: "true",
      "heartbeat-count": "5",
      "proxy-dns-port": "53",
      id: "x",
      "transport-loglevel": "warn",
    };
    expect((await plan({ flags })).notes).toEqual([
      "Accepted, without effect as in cloudflared: --heartbeat-count, --proxy-dns-port, --ui",
      "Accepted, not used by this version: --id, --transport-loglevel",
    ]);
    const auto = await plan({ flags: { url: "1", "no-autoupdate": "true", "autoupdate-freq": "24h" } });
    expect(auto.notes).toEqual(["Accepted, not used by this version: --autoupdate-freq"]);
  });
});
