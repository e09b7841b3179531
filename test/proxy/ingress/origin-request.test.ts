import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createAuthority } from "../../../src/mock-edge/ca.ts";
import { defaultOriginRequest } from "../../../src/proxy/ingress/defaults.ts";
import { linesOf, optionsOf, parse, problemsOf, rulesOf, warningsOf } from "./parse.ts";

const problemsOfOptions = (originRequest: unknown): string[] =>
  problemsOf({ ingress: [{ service: "socks-proxy", originRequest }] }).map((line) =>
    line.replace("ingress.0.originRequest", "").replace("rule 1: ", ""),
  );

describe("originRequest", () => {
  it("has cloudflared's defaults", () => {
    expect(optionsOf(undefined)).toEqual(defaultOriginRequest);
    expect(optionsOf({})).toEqual(defaultOriginRequest);
    expect(optionsOf({ connectTimeout: null, access: null })).toEqual(defaultOriginRequest);
  });

  /** Key, values, option and what it becomes. */
  const rows = [
    ["connectTimeout", "5s", "connectTimeoutMs", 5000],
    ["connectTimeout", 5, "connectTimeoutMs", 5000],
    ["connectTimeout", 0.25, "connectTimeoutMs", 250],
    ["connectTimeout", 0, "connectTimeoutMs", 0],
    ["connectTimeout", "0", "connectTimeoutMs", 0],
    ["tlsTimeout", "1m30s", "tlsTimeoutMs", 90_000],
    ["tcpKeepAlive", "1h", "tcpKeepAliveMs", 3_600_000],
    ["tcpKeepAlive", -1, "tcpKeepAliveMs", -1000],
    ["tcpKeepAlive", "-1s", "tcpKeepAliveMs", -1000],
    ["noHappyEyeballs", true, "noHappyEyeballs", true],
    ["keepAliveConnections", 0, "keepAliveConnections", 0],
    ["keepAliveConnections", -1, "keepAliveConnections", -1],
    ["keepAliveTimeout", 9, "keepAliveTimeoutMs", 9000],
    ["httpHostHeader", "app.internal:8080", "httpHostHeader", "app.internal:8080"],
    ["originServerName", "app.internal", "originServerName", "app.internal"],
    ["noTLSVerify", true, "noTLSVerify", true],
    ["matchSNItoHost", true, "matchSNItoHost", true],
    ["disableChunkedEncoding", true, "disableChunkedEncoding", true],
    ["http2Origin", true, "http2Origin", true],
    ["proxyType", "socks", "proxyType", "socks"],
    ["responseHeaderTimeout", "100s", "responseHeaderTimeoutMs", 100_000],
    ["idleTimeout", 30, "idleTimeoutMs", 30_000],
    ["stripPrefix", "/api/", "stripPrefix", "/api"],
    ["addPrefix", "/v1/x", "addPrefix", "/v1/x"],
    ["addPrefix", "/", "addPrefix", undefined],
    ["proxyProtocol", "v2", "proxyProtocol", "v2"],
    [
      "ipRules",
      [{ prefix: "10.0.0.0/8", ports: [80, 443], allow: true }, { prefix: "::/0" }],
      "ipRules",
      [
        { prefix: "10.0.0.0/8", ports: [80, 443], allow: true },
        { prefix: "::/0", ports: [], allow: false },
      ],
    ],
    [
      "requestHeaders",
      { set: { "X-A": "b", "X-N": 5, "X-U": "ü" }, remove: ["X-Gone"] },
      "requestHeaders",
      {
        set: [
          { name: "X-A", value: "b" },
          { name: "X-N", value: "5" },
          { name: "X-U", value: "\xc3\xbc" },
        ],
        remove: ["x-gone"],
      },
    ],
    ["responseHeaders", { remove: ["Server"] }, "responseHeaders", { set: [], remove: ["server"] }],
    [
      "access",
      { required: true, teamName: "team", audTag: ["a", "b"] },
      "access",
      { required: true, teamName: "team", audTag: ["a", "b"], environment: "" },
    ],
  ] as const;

  it.each(rows)("reads %s: %j from the rule and from the top level", (key, value, option, expected) => {
    const wanted = { ...defaultOriginRequest, [option]: expected };
    expect(optionsOf({ [key]: value })).toEqual(wanted);
    expect(optionsOf(undefined, { [key]: value })).toEqual(wanted);
  });

  it.each([
    ["connectTimeout", 9, 0, "connectTimeoutMs", 0],
    ["noTLSVerify", true, false, "noTLSVerify", false],
    ["keepAliveConnections", 5, 0, "keepAliveConnections", 0],
    ["httpHostHeader", "x", "", "httpHostHeader", undefined],
    ["originServerName", "x", "", "originServerName", undefined],
    ["proxyType", "socks", "", "proxyType", ""],
    ["proxyProtocol", "v1", "", "proxyProtocol", undefined],
    ["stripPrefix", "/x", "", "stripPrefix", undefined],
    ["ipRules", [{ prefix: "::/0" }], [], "ipRules", []],
    ["requestHeaders", { remove: ["a"] }, {}, "requestHeaders", { set: [], remove: [] }],
    [
      "access",
      { required: true },
      { required: false },
      "access",
      { required: false, teamName: "", audTag: [], environment: "" },
    ],
  ])("lets a rule take back the top level's %s: %j by %j", (key, top, own, option, expected) => {
    expect(optionsOf({ [key]: own }, { [key]: top })).toEqual({ ...defaultOriginRequest, [option]: expected });
  });

  it("goes by each field, not by the table", () => {
    expect(optionsOf({ tlsTimeout: 1 }, { tlsTimeout: 2, connectTimeout: 3 })).toMatchObject({
      tlsTimeoutMs: 1000,
      connectTimeoutMs: 3000,
      keepAliveTimeoutMs: 90_000,
    });
  });

  it("reaches the rule that stands for none", () => {
    expect(rulesOf({ originRequest: { connectTimeout: 1 } })[0]?.originRequest.connectTimeoutMs).toBe(1000);
  });
});

describe("a duration", () => {
  it.each([
    [5_000_000_000, "found 5000000000; a number in seconds, of less than three years, would be right"],
    [30_000_000_000, "found 30000000000; a number in seconds, of less than three years, would be right"],
    [Number.POSITIVE_INFINITY, "a number in seconds"],
    [Number.NaN, 'found NaN; a text such as "30s" or "1m30s", or a number in seconds, would be right'],
    ["30", 'found "30"; a text such as "30s"'],
    ["30x", 'found "30x"; a text such as "30s"'],
    ["9999999999h", "a text such as"],
    [-1, "found -1; a duration that is not negative (0 = no limit) would be right"],
    ["-1ms", "not negative"],
    [true, "found true; a text such as"],
    [[5], "found a list; a text such as"],
  ])("can't be %j", (connectTimeout, problem) => {
    expect(problemsOfOptions({ connectTimeout })).toEqual([expect.stringContaining(problem)]);
  });

  it("beyond what timers can do counts as the longest that they can", () => {
    expect(optionsOf({ connectTimeout: "9000h", tlsTimeout: 90_000_000 })).toMatchObject({
      connectTimeoutMs: 2 ** 31 - 1,
      tlsTimeoutMs: 2 ** 31 - 1,
    });
  });
});

describe("wrong options", () => {
  it.each([
    [{ noTLSVerify: "true" }, '.noTLSVerify: found "true"; true or false would be right'],
    [{ http2Origin: 1 }, ".http2Origin: found 1; true or false would be right"],
    [{ keepAliveConnections: "10" }, '.keepAliveConnections: found "10"; a whole number would be right'],
    [{ keepAliveConnections: 1.5 }, ".keepAliveConnections: found 1.5; a whole number would be right"],
    [{ httpHostHeader: 5 }, ".httpHostHeader: found 5; a text in quotes would be right"],
    [
      { httpHostHeader: "a\r\nX-Evil: 1" },
      '.httpHostHeader: found "a\\r\\nX-Evil: 1"; a host, with its port if need be would be right',
    ],
    [{ httpHostHeader: "http://a" }, ".httpHostHeader: found"],
    [{ originServerName: "mañana.com" }, '.originServerName: found "mañana.com"; a host name in ASCII would be right'],
    [{ proxyType: "http" }, '.proxyType: found "http"; "socks" or "" would be right'],
    [{ proxyPort: 70_000 }, ".proxyPort: found 70000; a whole number from 0 to 65535 would be right"],
    [{ proxyProtocol: "v3" }, '.proxyProtocol: found "v3"; "v1" or "v2" would be right'],
    [{ proxyProtocol: 1 }, '.proxyProtocol: found 1; "v1" or "v2" would be right'],
    [{ stripPrefix: "api" }, '.stripPrefix: found "api"; a path such as "/api"'],
    [{ addPrefix: "/a?b" }, '.addPrefix: found "/a?b"; a path such as "/api"'],
    [{ addPrefix: "/a b" }, '.addPrefix: found "/a b"; a path such as "/api"'],
    [{ ipRules: {} }, ".ipRules: found a table; a list of { prefix, ports, allow } would be right"],
    [{ ipRules: [{}] }, '.ipRules.0: found no prefix; one such as "10.0.0.0/8" would be right'],
    [
      { ipRules: [{ prefix: "10.0.0.1" }] },
      '.ipRules.0.prefix: found "10.0.0.1"; an address and the length of its prefix',
    ],
    [{ ipRules: [{ prefix: "10.0.0.0/33" }] }, ".ipRules.0.prefix: found"],
    [{ ipRules: [{ prefix: "::/129" }] }, ".ipRules.0.prefix: found"],
    [{ ipRules: [{ prefix: "x/8" }] }, ".ipRules.0.prefix: found"],
    [
      { ipRules: [{ prefix: "::/0", ports: [0] }] },
      ".ipRules.0.ports.0: found 0; a whole number from 1 to 65535 would be right",
    ],
    [{ ipRules: [{ prefix: "::/0", ports: 80 }] }, ".ipRules.0.ports: found 80; a list of ports would be right"],
    [
      { ipRules: [{ prefix: "::/0", port: [80] }] },
      '.ipRules.0.port: found the unknown key "port"; ports would be right',
    ],
    [{ access: true }, ".access: found true; keys and values would be right"],
    [{ access: { required: "yes" } }, '.access.required: found "yes"; true or false would be right'],
    [{ access: { required: true, audTag: ["x"] } }, ".access.teamName: found audTag without teamName"],
    [{ access: { audTag: "x" } }, '.access.audTag: found "x"; a list of audience tags would be right'],
    [{ access: { audTag: [""] } }, ".access.audTag.0: found nothing; a text would be right"],
    [
      { access: { teamName: "t.cloudflareaccess.com" } },
      "the team's name without .cloudflareaccess.com would be right",
    ],
    [
      { access: { teamName: "evil.com/" } },
      "the team's name, which stands before .cloudflareaccess.com, would be right",
    ],
    [{ access: { environment: "prod" } }, '.access.environment: found "prod"; "fed", or nothing, would be right'],
    [{ requestHeaders: ["x"] }, ".requestHeaders: found a list; keys and values would be right"],
    [{ requestHeaders: { set: { "X Y": "1" } } }, '.requestHeaders.set.X Y: found the header name "X Y"'],
    [
      { requestHeaders: { set: { "X-A": ["1"] } } },
      ".requestHeaders.set.X-A: the header's value is not a single line of text",
    ],
    [
      { requestHeaders: { set: { "Content-Length": 5 } } },
      "Content-Length belongs to the connection and can't be edited",
    ],
    [{ responseHeaders: { remove: ["Transfer-Encoding"] } }, "Transfer-Encoding belongs to the connection"],
    [{ requestHeaders: { set: { Host: "x" } } }, "Host is not set or removed here; httpHostHeader would be right"],
    [
      { requestHeaders: { set: { a: "1", A: "2" } } },
      ".requestHeaders.set.A: found A a second time; once would be right",
    ],
    [{ requestHeaders: { remove: "x" } }, '.requestHeaders.remove: found "x"; a list of header names would be right'],
    [["x"], ": found a list; keys and values would be right"],
  ])("%j are refused", (originRequest, problem) => {
    expect(problemsOfOptions(originRequest)).toEqual([expect.stringContaining(problem)]);
  });

  it("never shows a header's value", () => {
    const secret = randomUUID();
    const { problems } = parse({ originRequest: { requestHeaders: { set: { Authorization: `${secret}\r\nx` } } } });
    expect(problems).toHaveLength(1);
    expect(linesOf(problems).join()).not.toContain(secret);
  });
});

describe("access", () => {
  it("may be asked for before it is complete, and then refuses everyone", () => {
    const source = { ingress: [{ service: "http://x", originRequest: { access: { required: true } } }] };
    expect(warningsOf(source)).toEqual([
      "ingress.0.originRequest.access: rule 1: every request is refused until both teamName and audTag are there",
    ]);
    expect(rulesOf(source)[0]?.originRequest.access).toEqual({
      required: true,
      teamName: "",
      audTag: [],
      environment: "",
    });
  });

  it("at the top level counts for every rule", () => {
    const access = { required: true, teamName: "t", audTag: ["x"], environment: "fed" };
    const rules = rulesOf({
      originRequest: { access },
      ingress: [{ hostname: "a.com", service: "ssh://x" }, { service: "http_status:404" }],
    });
    expect(rules.map(({ originRequest }) => originRequest.access)).toEqual([access, access]);
  });
});

describe("caPool", () => {
  it("is read once it is named, and holds certificates alone", () => {
    const pem = createAuthority().certPem;
    const text = `# comment\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n${pem}`;
    const files = { readFile: (path: string) => (path === "/ca.pem" ? text : "") };
    const [rule] = rulesOf({ ingress: [{ service: "https://x", originRequest: { caPool: "/ca.pem" } }] }, files);
    expect(rule?.originRequest.caPool?.trim()).toBe(pem.trim());
    const [other] = rulesOf(
      { originRequest: { caPool: "/nowhere" }, ingress: [{ service: "https://x", originRequest: { caPool: "" } }] },
      { readFile: () => pem },
    );
    expect(other?.originRequest.caPool).toBeUndefined();
  });

  it.each([
    [() => "", 'found "/ca.pem"; a PEM file with at least one certificate would be right'],
    [
      () => "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "certificate 1 of /ca.pem can't be read; PEM text would be right",
    ],
    [
      () => {
        throw new Error("there is no /ca.pem");
      },
      "there is no /ca.pem",
    ],
  ])("that can't be used is a problem", (readFile, problem) => {
    expect(problemsOf({ originRequest: { caPool: "/ca.pem" } }, { readFile })).toEqual([
      `originRequest.caPool: ${problem}`,
    ]);
  });
});

describe("bastionMode", () => {
  const kindOf = (own: unknown, service: unknown, top?: unknown): string | undefined =>
    rulesOf({ originRequest: top, ingress: [{ service, originRequest: own }] })[0]?.service.kind;

  it("makes a rule's URL a jump host, whatever stands there", () => {
    expect(kindOf({ bastionMode: true }, "http://localhost")).toBe("bastion");
    expect(kindOf({ bastionMode: true }, "localhost:8080")).toBe("bastion");
    expect(kindOf({ bastionMode: true }, undefined)).toBe("bastion");
    expect(kindOf({ bastionMode: false }, "http://localhost")).toBe("url");
  });

  it("leaves other services, and says so", () => {
    for (const service of ["unix:/x", "http_status:404", "hello_world", "socks-proxy"]) {
      expect(kindOf({ bastionMode: true }, service)).not.toBe("bastion");
      expect(warningsOf({ ingress: [{ service, originRequest: { bastionMode: true } }] })).toEqual([
        "ingress.0.originRequest.bastionMode: rule 1: has no effect on this service; it is for URLs",
      ]);
    }
  });

  it("at the top level opens nothing, and says so", () => {
    expect(kindOf(undefined, "http://localhost", { bastionMode: true })).toBe("url");
    expect(warningsOf({ originRequest: { bastionMode: true } })).toEqual([
      expect.stringMatching(/^originRequest\.bastionMode: has no effect here/),
    ]);
  });
});

describe("options without effect", () => {
  it("are warned of where a rule sets them itself", () => {
    const own = { proxyAddress: "0.0.0.0", proxyPort: 5, proxyType: "socks", proxyProtocol: "v1", ipRules: [] };
    expect(
      warningsOf({ ingress: [{ service: "http://x", originRequest: own }] }).map((line) =>
        line.replace(/: rule 1: .*/, ""),
      ),
    ).toEqual([
      "ingress.0.originRequest.proxyAddress",
      "ingress.0.originRequest.proxyPort",
      "ingress.0.originRequest.proxyType",
      "ingress.0.originRequest.proxyProtocol",
      "ingress.0.originRequest.ipRules",
    ]);
    expect(warningsOf({ ingress: [{ service: "unix:/x", originRequest: { httpHostHeader: "a" } }] })).toEqual([
      expect.stringMatching(/^ingress\.0\.originRequest\.httpHostHeader: .*it is for http, https, ws and wss$/),
    ]);
    expect(
      warningsOf({
        ingress: [
          {
            service: "tcp://x:1",
            originRequest: { proxyAddress: "127.0.0.1", proxyPort: 0, proxyType: "socks", proxyProtocol: "v1" },
          },
        ],
      }),
    ).toEqual([]);
  });
});
