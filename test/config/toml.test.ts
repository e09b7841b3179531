import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ConfigFile } from "../../src/config/config-file.ts";
import { checkIngress } from "../../src/config/ingress-check.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { parseTomlConfig } from "../../src/config/toml.ts";
import { locateTomlKeys } from "../../src/config/toml-lines.ts";
import { makeCredentials } from "./make-credentials.ts";

function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/config/${name}`, import.meta.url), "utf8");
}

function values(file: ConfigFile): Record<string, unknown> {
  return Object.fromEntries([...file.layer.values()].map(({ name, value }) => [name, value]));
}

function messageOf(text: string, env = {}): string {
  try {
    parseTomlConfig(text, "underpass.toml", env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "";
}

/** A document with one line under [tunnel.cloudflare], which is line 4. */
function cloudflare(line: string): string {
  return `[tunnel]\nlocal_addr = "127.0.0.1:8080"\n[tunnel.cloudflare]\n${line}\n`;
}

describe("the documented examples", () => {
  it("reads the quick one", () => {
    const file = parseTomlConfig(fixture("quick.toml"), "quick.toml", {});
    expect(values(file)).toEqual({ url: "http://127.0.0.1:8080" });
    expect(file.mode).toEqual({ value: "quick", where: "quick.toml:7: tunnel.cloudflare.mode" });
  });

  it("reads the named one", () => {
    const { token } = makeCredentials();
    const file = parseTomlConfig(fixture("named.toml").replace("TOKEN", token), "named.toml", {});
    expect(file.mode?.value).toBe("named");
    expect(values(file)).toEqual({ url: "http://127.0.0.1:8080", token, hostname: "agent.example.com" });
  });

  it("reads the production one, with its token from the environment", () => {
    const { token } = makeCredentials();
    const file = parseTomlConfig(fixture("production.toml"), "p.toml", { CLOUDFLARE_TUNNEL_TOKEN: token });
    expect(values(file)).toEqual({
      url: "http://127.0.0.1:8080",
      "health-check-interval": 30_000,
      "max-failures": 3,
      token,
      hostname: "agent.mycompany.com",
      protocol: "quic",
      retries: 5,
      "grace-period": 30_000,
      loglevel: "info",
    });
  });

  it("reads every key of the schema", () => {
    const text = `[tunnel]
backend = "cloudflare"
local_addr = "[::1]:3000"
health_check_interval_secs = 10
max_failures = 1
[tunnel.cloudflare]
mode = "named"
token = "x"
hostname = "Agent.Example.com"
cloudflared_path = "/usr/bin/cloudflared"
protocol = "http2"
edge_ip_version = "6"
retries = 0
grace_period_secs = 180
metrics_port = 20241
log_level = "debug"
request_log = "summary"
`;
    const file = parseTomlConfig(text, "u.toml", {});
    expect(values(file)).toEqual({
      url: "http://[::1]:3000",
      "health-check-interval": 10_000,
      "max-failures": 1,
      token: "x",
      hostname: "agent.example.com",
      protocol: "http2",
      "edge-ip-version": "6",
      retries: 0,
      "grace-period": 180_000,
      metrics: "127.0.0.1:20241",
      loglevel: "debug",
      "request-log": "summary",
    });
    expect(file.notes).toEqual([
      "u.toml:10: tunnel.cloudflare.cloudflared_path is ignored: no cloudflared binary is needed",
    ]);
    expect(file.layer.get("retries")?.where).toBe("u.toml:13: tunnel.cloudflare.retries");
  });

  it("takes edge_ip_version as a number and as text", () => {
    for (const text of ["4", '"4"']) {
      expect(values(parseTomlConfig(cloudflare(`edge_ip_version = ${text}`), "u", {}))["edge-ip-version"]).toBe("4");
    }
    for (const text of ["6", '"6"']) {
      expect(values(parseTomlConfig(cloudflare(`edge_ip_version = ${text}`), "u", {}))["edge-ip-version"]).toBe("6");
    }
  });

  it("is quick without a mode", () => {
    expect(parseTomlConfig(cloudflare(""), "u", {}).mode?.value).toBe("quick");
  });
});

describe("wrong values", () => {
  it.each([
    ['mode = "nmed"', 'tunnel.cloudflare.mode: found "nmed"; "quick" or "named" would be right'],
    ["mode = 1", 'tunnel.cloudflare.mode: found 1; "quick" or "named" would be right'],
    [
      'request_log = "all"',
      'tunnel.cloudflare.request_log: found "all"; "off", "errors", "summary" or "headers" would be right',
    ],
    ["request-log = true", "tunnel.cloudflare.request-log: found an unknown key; request_log would be right"],
    ["token = 12", "tunnel.cloudflare.token: found 12; a tunnel token in quotes would be right"],
    [
      'hostname = "https://a.example.com/"',
      'tunnel.cloudflare.hostname: found "https://a.example.com/"; a host name such as "agent.example.com" would be right',
    ],
    ["cloudflared_path = true", "tunnel.cloudflare.cloudflared_path: found true; a path in quotes would be right"],
    ['protocol = "h3"', 'tunnel.cloudflare.protocol: found "h3"; "auto", "quic" or "http2" would be right'],
    ["edge_ip_version = 5", 'tunnel.cloudflare.edge_ip_version: found 5; "auto", 4 or 6 would be right'],
    ['edge_ip_version = "ipv4"', 'tunnel.cloudflare.edge_ip_version: found "ipv4"; "auto", 4 or 6 would be right'],
    ["retries = -1", "tunnel.cloudflare.retries: found -1; a whole number from 0 to 1000000 would be right"],
    ['retries = "5"', 'tunnel.cloudflare.retries: found "5"; a whole number from 0 to 1000000 would be right'],
    ["retries = 5.0", "tunnel.cloudflare.retries: found 5; a whole number from 0 to 1000000 would be right"],
    [
      "grace_period_secs = 181",
      "tunnel.cloudflare.grace_period_secs: found 181; a whole number from 0 to 180 would be right",
    ],
    [
      "metrics_port = 65536",
      "tunnel.cloudflare.metrics_port: found 65536; a port number from 0 (any free one) to 65535 would be right",
    ],
    [
      'log_level = "trace"',
      'tunnel.cloudflare.log_level: found "trace"; "debug", "info", "warn" or "error" would be right',
    ],
    ["log_level = [1]", 'tunnel.cloudflare.log_level: found a list; "debug", "info", "warn" or "error" would be right'],
    [
      "log_level = 1979-05-27",
      'tunnel.cloudflare.log_level: found a date; "debug", "info", "warn" or "error" would be right',
    ],
    ['protcol = "quic"', "tunnel.cloudflare.protcol: found an unknown key; protocol would be right"],
    [
      "max_failures = 3",
      "tunnel.cloudflare.max_failures: found an unknown key; max_failures under [tunnel] would be right",
    ],
  ])("says where, what and what would be right: %s", (line, message) => {
    expect(messageOf(cloudflare(line))).toBe(`underpass.toml:4: ${message}`);
  });

  it.each([
    ['backend = "ngrok"', 'underpass.toml:2: tunnel.backend: found "ngrok"; "cloudflare" would be right'],
    [
      "local_addr = 8080",
      'underpass.toml:2: tunnel.local_addr: found 8080; host:port such as "127.0.0.1:8080" would be right',
    ],
    ['local_addr = "127.0.0.1"', /found "127.0.0.1"; host:port/],
    ['local_addr = "127.0.0.1:99999"', /found "127.0.0.1:99999"; host:port/],
    ['local_addr = "127.0.0.1:0"', /found "127.0.0.1:0"; host:port/],
    ['local_addr = "1.2.3.4.5:80"', /host:port/],
    ['local_addr = ""', /found ""; host:port/],
    ["health_check_interval_secs = 0", /found 0; a whole number from 1 to 86400/],
    ["max_failures = 0", /found 0; a whole number from 1 /],
    ["cloudflare = 3", "underpass.toml:2: tunnel.cloudflare: found 3; a table [tunnel.cloudflare] would be right"],
    [
      'cloudflare = { mode = "x" }',
      'underpass.toml:2: tunnel.cloudflare.mode: found "x"; "quick" or "named" would be right',
    ],
  ])("checks [tunnel] too: %s", (line, message) => {
    expect(messageOf(`[tunnel]\n${line}\n`)).toMatch(message);
  });

  it("refuses other tables, and names the near one", () => {
    expect(messageOf("[tunel]\nx = 1\n")).toContain("underpass.toml:1: tunel: found an unknown key");
    expect(messageOf("tunnel = 3")).toBe("underpass.toml:1: tunnel: found 3; a table [tunnel] would be right");
  });

  it("reports everything that is wrong at once", () => {
    const message = messageOf('[tunnel]\nbackend = "x"\n[tunnel.cloudflare]\nmode = "y"\nretries = -4\n');
    expect(message.split("\n").map((line) => line.split(": ")[0])).toEqual([
      "underpass.toml:2",
      "underpass.toml:4",
      "underpass.toml:5",
    ]);
  });

  it("reports syntax errors with line and column, without quoting the document", () => {
    const { token } = makeCredentials();
    const message = messageOf(`[tunnel]\n[tunnel.cloudflare]\ntoken = "${token}\nmode = "quick"\n`);
    expect(message).toMatch(/^underpass\.toml:3:\d+: not valid TOML: /);
    expect(message).not.toContain(token.slice(0, 20));
    expect(messageOf("[tunnel]\na = 1\na = 2\n")).toMatch(/^underpass\.toml:3:/);
  });

  it("never quotes a token, whichever key it was given to", () => {
    const { token, secret } = makeCredentials();
    for (const key of ["mode", "hostname", "protocol", "log_level", "cloudflared_path", "edge_ip_version", "retries"]) {
      for (const value of [token, secret, token.slice(0, 60)]) {
        expect(messageOf(cloudflare(`${key} = "${value}"`))).not.toContain(value.slice(0, 20));
      }
    }
    expect(messageOf(cloudflare(`"${token}" = 1`))).not.toContain(token.slice(0, 20));
  });
});

describe("ingress rules", () => {
  const text = `[tunnel]
backend = "cloudflare"
[[tunnel.ingress]]
hostname = "app.example.com"
path = "^/api"
service = "http://localhost:\${PORT}"
[tunnel.ingress.originRequest]
connectTimeout = 5
requestHeaders = { set = { "X-From" = "\${NAME}" }, remove = ["cookie"] }
[[tunnel.ingress]]
service = "http_status:404"
[tunnel.originRequest]
noTLSVerify = true
tlsTimeout = "2s"
[tunnel.warp-routing]
maxActiveFlows = 7
`;

  it("have the shape that they have in YAML", () => {
    const file = parseTomlConfig(text, "u.toml", { PORT: "81", NAME: "lab" });
    if (file.ingress === undefined) throw new Error("no rules");
    const { ingress, warnings } = checkIngress(file.ingress, {});
    expect(ingress).toMatchObject({
      rules: [
        {
          hostname: "app.example.com",
          path: "^/api",
          service: { url: new URL("http://localhost:81") },
          originRequest: {
            connectTimeoutMs: 5000,
            tlsTimeoutMs: 2000,
            noTLSVerify: true,
            requestHeaders: { set: [{ name: "X-From", value: "lab" }], remove: ["cookie"] },
          },
        },
        { hostname: "", service: { status: 404 }, originRequest: { connectTimeoutMs: 30_000, noTLSVerify: true } },
      ],
      warpRouting: { maxActiveFlows: 7 },
    });
    expect(warnings).toEqual([]);
  });

  it.each([
    [
      'path = "^/api"',
      'path = "("',
      /^u\.toml:5: tunnel\.ingress\[0\]\.path: rule 1 \(app\.example\.com\): found "\("/,
    ],
    ["connectTimeout = 5", "connectTimeout = -5", /^u\.toml:8: tunnel\.ingress\[0\]\.originRequest\.connectTimeout: /],
    // An unknown key is an error here, as elsewhere in this file.
    [
      "connectTimeout = 5",
      "conectTimeout = 5",
      /^u\.toml:8: .*unknown key "conectTimeout".*did you mean connectTimeout/,
    ],
    ['"http_status:404"', '"http_status:99"', /^u\.toml:11: tunnel\.ingress\[1\]\.service: rule 2: /],
    ["noTLSVerify = true", "noTLSVerify = 1979-05-27", /^u\.toml:13: tunnel\.originRequest\.noTLSVerify: found a date/],
    ["= 7", "= 7.5", /^u\.toml:16: tunnel\.warp-routing\.maxActiveFlows: found 7\.5/],
    ["${PORT}", "${NOPE}", /^u\.toml:6: tunnel\.ingress\[0\]\.service: found \$\{NOPE\}, .* is not set[^\n]*$/],
    ['"cloudflare"', '"x"\nlocal_addr = "a:1"', /u\.toml:3: tunnel\.local_addr: given beside \[\[tunnel\.ingress\]\]/],
  ])("name the line of what is wrong: %s", (from, to, message) => {
    const broken = text.replace(from, to);
    let found = "";
    try {
      const { ingress } = parseTomlConfig(broken, "u.toml", { PORT: "1", NAME: "x" });
      if (ingress !== undefined) checkIngress(ingress, {});
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      found = error.message;
    }
    expect(found).toMatch(message);
  });
});

describe("${NAME}", () => {
  it("is read from the environment, in any text", () => {
    const env = { T: "secret-token", H: "example.com", PORT: "9000" };
    const text =
      '[tunnel]\nlocal_addr = "127.0.0.1:${PORT}"\n[tunnel.cloudflare]\ntoken = "${T}"\nhostname = "a.${H}"\n';
    expect(values(parseTomlConfig(text, "u", env))).toEqual({
      url: "http://127.0.0.1:9000",
      token: "secret-token",
      hostname: "a.example.com",
    });
  });

  it("may stand for a number", () => {
    expect(values(parseTomlConfig(cloudflare('metrics_port = "${P}"'), "u", { P: "20241" }))["metrics"]).toBe(
      "127.0.0.1:20241",
    );
    expect(messageOf(cloudflare('retries = "${P}"'), { P: "many" })).toContain('found "many"; a whole number');
  });

  it("unset or empty is an error that names the variable, in quick mode too", () => {
    expect(messageOf(cloudflare('token = "${NOPE}"'))).toBe(
      "underpass.toml:4: tunnel.cloudflare.token: found ${NOPE}, and the environment variable NOPE is not set; " +
        "a value for NOPE (export NOPE=…), or the value itself in the file, would be right",
    );
    expect(messageOf(cloudflare('token = "${NOPE}"'), { NOPE: "" })).toContain("NOPE is empty");
  });

  it("must name a variable", () => {
    for (const text of ["${}", "${1X}", "${A", "${A-B}"]) {
      expect(messageOf(cloudflare(`token = "${text}"`), { A: "x" })).toContain("${NAME} would be right");
    }
  });

  it("does not look into what it filled in", () => {
    expect(values(parseTomlConfig(cloudflare('token = "${A}"'), "u", { A: "${B}", B: "x" }))["token"]).toBe("${B}");
  });
});

describe("locateTomlKeys", () => {
  it("finds keys behind comments, long strings, lists, inline tables and quoted keys", () => {
    const text = [
      "# a = 1", // 1
      'top = """', // 2
      "fake = 1", // 3
      '""" # x', // 4
      "list = [ # [no]", // 5
      '  "]", 1,', // 6
      "]", // 7
      "[a . 'b.c']", // 8
      "x.y = { k = 1, l = [{ m = 2 }] }", // 9
      "s = '''", // 10
      "it's '''''", // 11
      "after = 1979-05-27T07:32:00Z", // 12
      "[[arr]]", // 13
      'n = "a\\"b" ', // 14
      "[[arr]]", // 15
      "last = 1", // 16
      "[[arr.sub]]", // 17
      "x = 1", // 18
      "[[arr.sub]]", // 19
      "[arr.sub.deep]", // 20
      "y = 1", // 21
    ].join("\n");
    const expected: readonly [string, number][] = [
      ["top", 2],
      ["list", 5],
      ["list/0", 6],
      ["a", 8],
      ["a/b.c", 8],
      ["a/b.c/x/y", 9],
      ["a/b.c/x/y/k", 9],
      ["a/b.c/x/y/l/0/m", 9],
      ["a/b.c/s", 10],
      ["a/b.c/after", 12],
      ["arr", 13],
      ["arr/0/n", 14],
      ["arr/1", 15],
      ["arr/1/last", 16],
      ["arr/1/sub/0/x", 18],
      ["arr/1/sub/1/deep/y", 21],
      // What is not there is found above.
      ["arr/1/sub/1/deep/z/zz", 20],
    ];
    const lines = locateTomlKeys(text);
    const found = expected.map(([path]) => {
      return [path, lines.find(path.split("/").map((part) => (/^\d$/.test(part) ? Number(part) : part)))] as const;
    });
    expect(found).toEqual(expected);
  });
});
