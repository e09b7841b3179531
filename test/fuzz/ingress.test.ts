/** Whatever a rule file holds, it gives typed problems or rules that can be served; and the router agrees with a list walked through. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIngress } from "../../src/proxy/ingress/parse.ts";
import { createRouter } from "../../src/proxy/ingress/router.ts";
import type { IngressRule } from "../../src/types.ts";
import { defaultOriginRequest } from "../../src/proxy/ingress/defaults.ts";

const BOX = { interruptAfterTimeLimit: 2500, markInterruptAsFailure: false };

const KEYS = [
  "hostname",
  "path",
  "service",
  "originRequest",
  "id",
  "connectTimeout",
  "tlsTimeout",
  "tcpKeepAlive",
  "keepAliveConnections",
  "caPool",
  "noTLSVerify",
  "httpHostHeader",
  "originServerName",
  "bastionMode",
  "proxyType",
  "proxyPort",
  "ipRules",
  "prefix",
  "ports",
  "allow",
  "access",
  "required",
  "teamName",
  "audTag",
  "environment",
  "requestHeaders",
  "responseHeaders",
  "set",
  "remove",
  "stripPrefix",
  "proxyProtocol",
  "maxActiveFlows",
  "enabled",
  "acces",
  "__proto__",
  "constructor",
  "toString",
  "",
  "\0",
];
const TEXTS = [
  "http://localhost:8080",
  "https://[::1]",
  "tcp://x",
  "ssh://[fe80::1%eth0]:22",
  "unix:/x",
  "unix+tls:",
  "http_status:404",
  "http_status:-1",
  "bastion",
  "socks-proxy",
  "hello_world",
  "handler:x",
  "redis://x",
  "://",
  "http://",
  "http://@",
  "http://[",
  "http://%",
  "http://\u{1F600}",
  "a.com",
  "*.a.com",
  "*",
  "a.com:80",
  "xn--",
  "xn--a.com",
  "mañana.com",
  "::1",
  "[::1]",
  "1.2.3",
  "é",
  "^/x",
  "(",
  "(?=x)",
  "[^/]+",
  "x{1000}",
  "\\pL",
  "(x{50}){20}",
  "\ud800",
  "\0",
  "5s",
  "1e9h",
  "-5s",
  "99999999999h",
  "10.0.0.0/8",
  "::/0",
  "v1",
  "socks",
  "/p",
  "X-A",
  "fed",
  "",
];

const scalar = fc.oneof(
  fc.constantFrom<unknown>(...TEXTS),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.boolean(),
  fc.integer(),
  fc.double(),
  fc.constantFrom<unknown>(null, undefined, 30_000_000_000, 404, 5n, new Date(0), () => 1, Symbol("x"), Number.NaN),
);

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...KEYS) }, { weight: 1, arbitrary: fc.string() }),
      tie("value"),
      { maxKeys: 6, noNullPrototype: false },
    ),
  ),
}));

const option = fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 5 });
const rule = fc.record(
  {
    hostname: fc.oneof(fc.constantFrom<unknown>(...TEXTS), value),
    path: fc.oneof(fc.constantFrom<unknown>(...TEXTS), value),
    service: fc.oneof(fc.constantFrom<unknown>(...TEXTS), value),
    originRequest: option,
  },
  { requiredKeys: [] },
);
const source = fc.record(
  {
    ingress: fc.oneof(value, fc.array(fc.oneof(rule, value), { maxLength: 5 })),
    originRequest: fc.oneof(value, option),
    "warp-routing": value,
  },
  { requiredKeys: [] },
);

const request = fc.tuple(
  fc.oneof(fc.constantFrom(...TEXTS), fc.string({ unit: "binary" })),
  fc.oneof(fc.constantFrom(...TEXTS), fc.string({ unit: "binary" })),
);

describe("a rule file", () => {
  const readFile = (path: string): string => {
    if (path.length % 2 === 0) throw new Error("there is no such file");
    return path;
  };

  it("of any content gives problems with words and places, or rules that can be served", () => {
    fc.assert(
      fc.property(source, request, (given, [host, path]) => {
        const { ingress, problems, warnings } = parseIngress(given, { readFile });
        for (const { path: place, text } of [...problems, ...warnings]) {
          expect(text).toMatch(/^\S.+/s);
          expect(place.length).toBeGreaterThan(0);
          expect(place.every((part) => typeof part === "string" || Number.isInteger(part))).toBe(true);
        }
        expect(ingress === undefined).toBe(problems.length > 0);
        if (ingress === undefined) return;
        const last = ingress.rules.at(-1);
        expect([last?.path, ["", "*"].includes(last?.hostname ?? "x")]).toEqual([undefined, true]);
        const found = createRouter(ingress.rules).match(host, path);
        expect(ingress.rules[found]).toBeDefined();
      }),
      { numRuns: 4000, ...BOX },
    );
  });
});

const HOSTS = [
  "a.com",
  "b.a.com",
  "c.b.a.com",
  "com",
  "x.org",
  "A.com",
  "a.com.",
  "b.A.com:80",
  "a.com:443",
  "",
  "b.x.org",
  "[::1]:8",
  "xa.com",
];
const PATTERNS = ["^/a", "b$", "[0-9]+", "^/(a|b)/c", "/", "^$", "a.c", "(?:ab)+", "c|^/b", "^[^b]*$"];

/** As the documentation says it, without any index. */
function firstMatch(rules: readonly IngressRule[], authority: string, path: string): number {
  const host = authority
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/\.$/, "")
    .toLowerCase();
  const index = rules.findIndex((candidate) => {
    const wanted = candidate.hostname.toLowerCase();
    const hostFits =
      wanted === "" || wanted === "*" || wanted === host || (wanted.startsWith("*.") && host.endsWith(wanted.slice(1)));
    return hostFits && (candidate.path === undefined || new RegExp(candidate.path, "u").test(path));
  });
  return index === -1 ? rules.length - 1 : index;
}

describe("the router", () => {
  const rules = fc
    .array(
      fc.tuple(
        fc.constantFrom("", "*", "a.com", "*.a.com", "b.a.com", "*.b.a.com", "*.com", "com", "x.org", "*.X.org", "::1"),
        fc.option(fc.constantFrom(...PATTERNS), { nil: undefined, freq: 3 }),
      ),
      { maxLength: 14 },
    )
    .map((list): IngressRule[] =>
      [...list, ["", undefined] as const].map(([hostname, path]) => ({
        hostname,
        path,
        service: { kind: "status", status: 200 },
        originRequest: defaultOriginRequest,
      })),
    );
  const paths = fc
    .array(fc.constantFrom("/", "a", "b", "c", "7", "ab", "%-", "é"), { maxLength: 8 })
    .map((parts) => `/${parts.join("")}`);

  it("finds the rule that walking through the list finds", () => {
    fc.assert(
      fc.property(
        rules,
        fc.array(fc.tuple(fc.constantFrom(...HOSTS), paths), { minLength: 1, maxLength: 8 }),
        (list, requests) => {
          const router = createRouter(list);
          for (const [host, path] of requests) {
            const bytes = Buffer.from(path, "utf8").toString("latin1");
            expect(router.match(host, bytes), `${host}${path}`).toBe(firstMatch(list, host, path));
          }
        },
      ),
      { numRuns: 3000, ...BOX },
    );
  });

  it("has a rule for requests of any bytes", () => {
    const router = createRouter([
      {
        hostname: "a.com",
        path: "\\bx|[^a]é$|(?i)K",
        service: { kind: "status", status: 200 },
        originRequest: defaultOriginRequest,
      },
      {
        hostname: "*.mañana.com",
        path: "\\PL",
        service: { kind: "status", status: 200 },
        originRequest: defaultOriginRequest,
      },
      { hostname: "", path: undefined, service: { kind: "status", status: 200 }, originRequest: defaultOriginRequest },
    ]);
    const byteString = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array).toString("latin1"));
    const host = fc.oneof(byteString, fc.constantFrom("a.com", "x.xn--maana-pta.com"), fc.string({ unit: "binary" }));
    fc.assert(
      fc.property(host, fc.oneof(byteString, fc.string({ unit: "binary" })), (authority, path) => {
        expect([0, 1, 2]).toContain(router.match(authority, path));
      }),
      { numRuns: 5000, ...BOX },
    );
  });
});
