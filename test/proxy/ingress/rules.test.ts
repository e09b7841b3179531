import { describe, expect, it } from "vitest";
import { defaultOriginRequest, defaultWarpRouting } from "../../../src/proxy/ingress/defaults.ts";
import { parse, problemsOf, rulesOf, warningsOf } from "./parse.ts";

const last = { service: "http_status:404" };
const service = "http://localhost";

describe("a list of rules", () => {
  it.each([{}, { ingress: [] }, { ingress: null }, { ingress: undefined }])("%j answers 503", (source) => {
    expect(parse(source)).toEqual({
      ingress: {
        rules: [
          {
            hostname: "",
            path: undefined,
            service: { kind: "status", status: 503, unconfigured: true },
            originRequest: defaultOriginRequest,
          },
        ],
        warpRouting: defaultWarpRouting,
      },
      problems: [],
      warnings: [],
    });
  });

  it("keeps hostnames and paths as written, and their order", () => {
    const rules = rulesOf({
      ingress: [
        { hostname: "A.example.com.", path: "^/x", service },
        { hostname: "*.Mañana.com", path: "", service },
        { hostname: "*", path: "/y", service },
        last,
      ],
    });
    expect(rules.map(({ hostname, path }) => [hostname, path])).toEqual([
      ["A.example.com.", "^/x"],
      ["*.Mañana.com", undefined],
      ["*", "/y"],
      ["", undefined],
    ]);
  });

  it.each([
    ["x", 'ingress: found "x"; a list of rules would be right'],
    [{ hostname: "a.com" }, "ingress: found a table; a list of rules would be right"],
    [["x", last], 'ingress.0: rule 1: found "x"; keys and values would be right'],
    [[null, last], "ingress.0: rule 1: found nothing; keys and values would be right"],
    [[[last], last], "ingress.0: rule 1: found a list; keys and values would be right"],
  ])("%j is refused", (ingress, problem) => {
    expect(problemsOf({ ingress })).toEqual([problem]);
  });

  it("tells all that is wrong at once, rule by rule", () => {
    expect(
      problemsOf({
        ingress: [
          { hostname: "a.com:80", service: "localhost" },
          { hostname: "b.com", path: "(", service },
          { hostname: "c.com", service, originRequest: { noTLSVerify: "yes" } },
        ],
      }).map((line) => line.replace(/ found.*/, "")),
    ).toEqual([
      "ingress.0.hostname: rule 1 (a.com:80):",
      "ingress.0.service: rule 1 (a.com:80):",
      "ingress.1.path: rule 2 (b.com):",
      "ingress.2.originRequest.noTLSVerify: rule 3 (c.com):",
      "ingress.2: rule 3 (c.com): the last rule must match every request; one more rule without hostname and path would be right, such as service: http_status:404",
    ]);
  });

  it("gives no ingress when there is a problem", () => {
    expect(parse({ ingress: [{ service: "x" }] }).ingress).toBeUndefined();
  });

  it("takes the number that Cloudflare gives a rule, and no key without a value", () => {
    const source = { ingress: [{ id: "1", hostname: null, path: null, service, originRequest: null }] };
    expect(parse(source).warnings).toEqual([]);
    expect(rulesOf(source)).toHaveLength(1);
  });
});

describe("a hostname", () => {
  it.each([
    "a.com",
    "A.COM",
    "a.com.",
    "*.a.com",
    "*",
    "",
    "localhost",
    "_acme.a_b.com",
    "mañana.com",
    "*.mañana.com",
    "xn--maana-pta.com",
    "10.0.0.1",
    "::1",
    "[::1]",
  ])("may be %j", (hostname) => {
    expect(problemsOf({ ingress: [{ hostname, path: "/", service }, last] })).toEqual([]);
  });

  it.each([
    ["a.com:80", 'found a port in "a.com:80"; "a.com" would be right'],
    ["a.com:", 'found a port in "a.com:"; "a.com" would be right'],
    ["[::1]:80", 'found a port in "[::1]:80"; "[::1]" would be right'],
    ["a.*.com", 'found "a.*.com"; one "*." at the front, as in "*.example.com", would be right'],
    ["*.*.com", 'found "*.*.com"; one "*."'],
    ["**", 'found "**"; one "*."'],
    ["*a.com", 'found "*a.com"; one "*."'],
    ["*.", 'found "*."; one "*."'],
    ["*..com", 'found "*..com"; one "*."'],
    ["https://a.com", 'found "https://a.com"; the host name alone, "a.com", would be right'],
    ["https://a.com:8/x", 'found "https://a.com:8/x"; the host name alone, "a.com:8", would be right'],
    ["a.com/x", 'found "a.com/x"; the host name alone, "a.com", would be right'],
    ["/x", 'found "/x"; a host name alone would be right'],
    ["a b.com", 'found "a b.com"; a host name such as app.example.com would be right'],
    ["a..com", 'found "a..com"; a host name such as'],
    [".a.com", 'found ".a.com"; a host name such as'],
    ["a@b.com", 'found "a@b.com"; a host name such as'],
    [`${"a".repeat(64)}.com`, "a host name such as"],
    [5, "found 5; a text in quotes would be right"],
    [["a.com"], "found a list; a text would be right"],
  ])("can't be %j", (hostname, problem) => {
    const problems = problemsOf({ ingress: [{ hostname, path: "/", service }, last] });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^ingress\.0\.hostname: rule 1.*: found/);
    expect(problems[0]).toContain(problem);
  });
});

describe("the rules' order", () => {
  it.each([
    [[{ hostname: "a.com", service }]],
    [[{ path: "/x", service }]],
    [
      [
        { hostname: "*.a.com", service },
        { hostname: "*", path: "x", service },
      ],
    ],
  ])("needs a last rule for everything: %j", (ingress) => {
    expect(problemsOf({ ingress })).toEqual([
      expect.stringMatching(/^ingress\.\d: rule \d.*: the last rule must match every request/),
    ]);
  });

  it.each([{ service }, { hostname: "*", service }, { hostname: "", path: "", service }])(
    "refuses %j before the end",
    (rule) => {
      expect(problemsOf({ ingress: [{ hostname: "a.com", service }, rule, last] })).toEqual([
        expect.stringMatching(/^ingress\.1: rule 2.*: matches every request, and hides the rules after it/),
      ]);
    },
  );

  it("takes any host with a path anywhere", () => {
    expect(problemsOf({ ingress: [{ hostname: "*", path: "/x", service }, { path: "/y", service }, last] })).toEqual(
      [],
    );
  });

  it("warns of rules that no request reaches", () => {
    expect(
      warningsOf({
        ingress: [
          { hostname: "a.com", path: "/x", service },
          { hostname: "A.com", service },
          { hostname: "*.b.com", service },
          { hostname: "a.com.", path: "/y", service },
          { hostname: "x.y.b.com", service },
          { hostname: "*.c.b.com", service },
          { hostname: "b.com", service },
          { hostname: "*.a.com", service },
          last,
        ],
      }),
    ).toEqual([
      "ingress.3: rule 4 (a.com.): is never reached: rule 2 takes all requests to this hostname",
      "ingress.4: rule 5 (x.y.b.com): is never reached: rule 3 takes all requests to this hostname",
      "ingress.5: rule 6 (*.c.b.com): is never reached: rule 3 takes all requests to this hostname",
    ]);
  });
});

describe("a path", () => {
  it.each([
    [
      "*.html",
      'found "*.html": missing argument to repetition operator: `*`; a regular expression in RE2 syntax would be right, such as \\.html$',
    ],
    ["*", "such as .*"],
    ["(?=x)", "invalid or unsupported Perl syntax: `(?=`"],
    ["(?<!x)y", "would be right"],
    ["(a)\\1", "invalid escape sequence: `\\1`"],
    ["\\u0041", "invalid escape sequence: `\\u`"],
    ["[^]", "missing closing ]"],
    ["a**", "invalid nested repetition operator"],
    ["a++", "invalid nested repetition operator"],
    ["(?>a)", "Perl syntax"],
    ["x{1001}", "invalid repeat count"],
    ["((x{100}){100}){100}", "would be right"],
    ["[[:foo:]]", "invalid character class range"],
    ["(".repeat(1001) + ")".repeat(1001), "nests too deeply"],
  ])("can't be %s", (path, problem) => {
    const problems = problemsOf({ ingress: [{ hostname: "a.com", path, service }, last] });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^ingress\.0\.path: rule 1 \(a\.com\): found /);
    expect(problems[0]).toContain(problem);
  });

  it.each([
    "(?i)x",
    "(?s:.)",
    "(?P<n>x)",
    "\\Ax\\z",
    "\\Qa.b\\E",
    "\\x{10FFFF}",
    "\\a",
    "\\pL",
    "[[:alpha:]]",
    "[]a]",
    "[^]]",
    "\\123",
    "x{1000}",
  ])("may be %s", (path) => {
    expect(problemsOf({ ingress: [{ path, service }, last] })).toEqual([]);
  });
});

describe("unknown keys", () => {
  it("are named, with the nearest that is known", () => {
    expect(
      warningsOf({
        originRequest: { noTlsVerify: true, zzz: 1 },
        ingress: [{ ...last, comment: "x", originRequest: { conectTimeout: 5 } }],
        "warp-routing": { maxActiveFlow: 5 },
      }),
    ).toEqual([
      'originRequest.noTlsVerify: unknown key "noTlsVerify" is ignored; did you mean noTLSVerify?',
      'originRequest.zzz: unknown key "zzz" is ignored',
      'ingress.0.originRequest.conectTimeout: rule 1: unknown key "conectTimeout" is ignored; did you mean connectTimeout?',
      'ingress.0.comment: rule 1: unknown key "comment" is ignored',
      'warp-routing.maxActiveFlow: unknown key "maxActiveFlow" is ignored; did you mean maxActiveFlows?',
    ]);
  });

  it("are problems where a slip would let in more than was meant", () => {
    expect(
      problemsOf({
        originRequest: { Access: { required: true } },
        ingress: [
          { hostnam: "a.com", path: "/", service },
          { pth: "/admin", hostname: "a.com", service },
          { originRequests: { access: {} }, hostname: "b.com", service },
          { ...last, originRequest: { acess: {}, access: { require: true, audTags: ["x"] } } },
        ],
      }),
    ).toEqual([
      'originRequest.Access: found the unknown key "Access"; access would be right',
      'ingress.0.hostnam: rule 1: found the unknown key "hostnam"; hostname would be right',
      'ingress.1.pth: rule 2 (a.com): found the unknown key "pth"; path would be right',
      'ingress.2.originRequests: rule 3 (b.com): found the unknown key "originRequests"; originRequest would be right',
      'ingress.3.originRequest.access.require: rule 4: found the unknown key "require"; required would be right',
      'ingress.3.originRequest.access.audTags: rule 4: found the unknown key "audTags"; audTag would be right',
      'ingress.3.originRequest.acess: rule 4: found the unknown key "acess"; access would be right',
    ]);
  });

  it("don't come from what a table inherits", () => {
    expect(parse({ ingress: [Object.create({ service: "http://evil" }) as object] }).ingress).toBeUndefined();
  });
});

describe("warp-routing", () => {
  it("has cloudflared's defaults and takes seconds, fractions and Go's form", () => {
    expect(
      parse({ "warp-routing": { connectTimeout: 1.5, tcpKeepAlive: "-1s", maxActiveFlows: 7 } }).ingress?.warpRouting,
    ).toEqual({
      connectTimeoutMs: 1500,
      tcpKeepAliveMs: -1000,
      maxActiveFlows: 7,
    });
    expect(parse({ "warp-routing": { connectTimeout: 0, maxActiveFlows: null } }).ingress?.warpRouting).toEqual({
      ...defaultWarpRouting,
      connectTimeoutMs: 0,
    });
  });

  it.each([
    [{ connectTimeout: -1 }, "connectTimeout: found -1; a duration that is not negative (0 = no limit) would be right"],
    [{ maxActiveFlows: -1 }, "maxActiveFlows: found -1; a whole number from 0 on would be right"],
    [{ maxActiveFlows: 1.5 }, "maxActiveFlows: found 1.5; a whole number from 0 on would be right"],
    [{ maxActiveFlows: "5" }, 'maxActiveFlows: found "5"; a whole number from 0 on would be right'],
  ])("can't be %j", (given, problem) => {
    expect(problemsOf({ "warp-routing": given })).toEqual([`warp-routing.${problem}`]);
  });

  it("says that enabled is obsolete", () => {
    expect(warningsOf({ "warp-routing": { enabled: true } })).toEqual([
      expect.stringContaining("warp-routing.enabled: is obsolete"),
    ]);
    expect(problemsOf({ "warp-routing": "x" })).toEqual(['warp-routing: found "x"; keys and values would be right']);
  });
});

describe("what could open a rule by a slip", () => {
  const access = { required: true, teamName: "team", audTag: ["a"] };
  const service = "http://a";

  it.each(["originrequest", "origin-request", "originRequests", "Ingress", "ingres"])("is the key %s", (key) => {
    expect(problemsOf({ ingress: [{ service }], [key]: {} })).toEqual([
      expect.stringMatching(
        new RegExp(`^${key}: found the unknown key "${key}"; (originRequest|ingress) would be right$`),
      ),
    ]);
  });

  it("is an access without required below one that requires a token", () => {
    const rule = (own: object): string[] =>
      problemsOf({ originRequest: { access }, ingress: [{ service, originRequest: { access: own } }] });
    for (const own of [{}, { audTag: ["b"] }, { required: null }]) {
      expect(rule(own)).toEqual([expect.stringContaining("ingress.0.originRequest.access: rule 1: found no required")]);
    }
    expect(rule({ required: false })).toEqual([]);
    expect(rule({ ...access, audTag: ["b"] })).toEqual([]);
  });
});
