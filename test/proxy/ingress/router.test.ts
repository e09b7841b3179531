import { describe, expect, it } from "vitest";
import { PathSet } from "../../../src/proxy/ingress/paths.ts";
import { createRouter } from "../../../src/proxy/ingress/router.ts";
import { rulesOf } from "./parse.ts";

const service = "http_status:200";

interface Given {
  readonly hostname?: string;
  readonly path?: string;
}

/** Rules in the order given, and a last one for everything. */
function router(...rules: readonly Given[]): (host: string, path?: string) => number {
  const given = rulesOf({ ingress: [...rules.map((rule) => ({ ...rule, service })), { service }] });
  const built = createRouter(given);
  return (host, path = "/") => built.match(host, path);
}

/** UTF-8 as the edge gives it. */
const bytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

describe("a single rule", () => {
  it("takes everything", () => {
    const match = router();
    for (const host of ["a.com", "", "[", "\xff"]) expect(match(host, "%")).toBe(0);
  });
});

describe("a hostname", () => {
  it.each([
    ["app.example.com", 0],
    ["APP.Example.COM", 0],
    ["app.example.com:443", 0],
    ["app.example.com.", 0],
    ["app.example.com.:443", 0],
    ["app.example.com:", 0],
    ["x.app.example.com", 1],
    ["example.com", 1],
    ["", 1],
    ["app.example.com..", 1],
    ["[app.example.com]", 1],
    ["[app.example.com]:80", 0],
    ["[app.example.com", 1],
  ])("app.example.com, for %j", (host, index) => {
    expect(router({ hostname: "app.Example.com." })(host)).toBe(index);
  });

  it.each([
    ["a.example.com", 0],
    ["a.b.c.example.com", 0],
    ["A.EXAMPLE.COM.:80", 0],
    ["a..example.com", 0],
    [".example.com", 0],
    ["example.com", 1],
    ["aexample.com", 1],
    ["a.example.com.evil.org", 1],
    [`${"x.".repeat(5000)}example.com`, 0],
  ])("*.example.com, for %.40j", (host, index) => {
    expect(router({ hostname: "*.example.com" })(host)).toBe(index);
  });

  it("has its punycode form both ways, behind a wildcard and beside underscores too", () => {
    const unicode = router({ hostname: "mañana.com" }, { hostname: "*.Mañana.com" }, { hostname: "_x.faß.de" });
    const punycode = router(
      { hostname: "xn--maana-pta.com" },
      { hostname: "*.XN--maana-pta.com" },
      { hostname: "_x.xn--fa-hia.de" },
    );
    for (const match of [unicode, punycode]) {
      expect(match("xn--maana-pta.com")).toBe(0);
      expect(match("XN--MAANA-PTA.COM:443")).toBe(0);
      expect(match("mañana.com")).toBe(0);
      expect(match(bytes("MAÑANA.com"))).toBe(0);
      expect(match("a.b.xn--maana-pta.com")).toBe(1);
      expect(match(bytes("a.mañana.com"))).toBe(1);
      expect(match("_x.xn--fa-hia.de")).toBe(2);
      expect(match("manana.com")).toBe(3);
    }
  });

  it("may be an IP address", () => {
    const match = router({ hostname: "10.0.0.1" }, { hostname: "::1" }, { hostname: "[2001:DB8::0:2]" });
    expect(match("10.0.0.1:80")).toBe(0);
    expect(match("[::1]:80")).toBe(1);
    expect(match("[::1]")).toBe(1);
    expect(match("::1")).toBe(1);
    expect(match("[0:0:0::1]")).toBe(1);
    expect(match("[2001:db8::2]:443")).toBe(2);
    expect(match("[::2]")).toBe(3);
    expect(match("[::1")).toBe(3);
    expect(match("[fe80::1%25eth0]")).toBe(3);
  });

  it("that is * or empty is any, also with a path", () => {
    const match = router({ hostname: "*", path: "^/a" }, { hostname: "", path: "^/b" });
    expect(match("x.com", "/a")).toBe(0);
    expect(match("x.com", "/b")).toBe(1);
    expect(match("x.com", "/c")).toBe(2);
  });
});

describe("the first rule that matches", () => {
  it("wins, whatever kind of hostname it has", () => {
    const match = router(
      { hostname: "*.example.com", path: "^/first" },
      { hostname: "app.example.com", path: "^/(first|second)" },
      { hostname: "*", path: "^/(second|third)" },
      { hostname: "*.app.example.com" },
      { hostname: "app.example.com" },
      { hostname: "*.example.com" },
      { hostname: "late.example.com" },
    );
    expect(match("app.example.com", "/first")).toBe(0);
    expect(match("app.example.com", "/second")).toBe(1);
    expect(match("app.example.com", "/third")).toBe(2);
    expect(match("app.example.com", "/")).toBe(4);
    expect(match("x.app.example.com", "/first")).toBe(0);
    expect(match("x.app.example.com", "/second")).toBe(2);
    expect(match("x.app.example.com", "/")).toBe(3);
    expect(match("late.example.com", "/")).toBe(5);
    expect(match("other.com", "/third")).toBe(2);
    expect(match("other.com", "/first")).toBe(7);
  });

  it("wins among many of one hostname", () => {
    const rules = Array.from({ length: 200 }, (_, index) => ({ hostname: "a.com", path: `^/p${index}(/|$)` }));
    const match = router(...rules);
    for (const index of [0, 1, 99, 199]) expect(match("a.com", `/p${index}/x`)).toBe(index);
    expect(match("a.com", "/p200/x")).toBe(200);
    expect(match("b.com", "/p1/x")).toBe(200);
  });

  it("wins where the patterns are too large to be matched together", () => {
    const large = `(?:${"ab".repeat(360)}){1000}`;
    const patterns = ["a", "b"].map((letter, index) => ({ index: index + 7, pattern: `^/${letter}$|${large}` }));
    const set = new PathSet(patterns, 1);
    expect(["/a", "/b", "/c"].map((path) => set.first(path))).toEqual([7, 8, undefined]);
  });
});

describe("a path", () => {
  it.each([
    // Searched for anywhere, case-sensitive, without the query.
    ["/api", "/api", true],
    ["/api", "/x/api2", true],
    ["^/api$", "/api?x=/y", true],
    ["x", "/?x", false],
    ["/API", "/api", false],
    ["(?i)/API", "/api", true],
    // Decoded once, never normalised.
    ["^/a b$", "/a%20b", true],
    ["^/a%20b$", "/a%2520b", true],
    ["^/a/b$", "/a%2Fb", true],
    ["^/a/b$", "/a//b", false],
    ["^/a/\\.\\./b$", "/a/../b", true],
    ["^/a\\+b$", "/a+b", true],
    ["^/a\\?b$", "/a%3Fb", true],
    // UTF-8, by code points.
    ["^/mañana$", "/ma%C3%B1ana", true],
    ["^/mañana$", bytes("/mañana"), true],
    ["^/.$", "/%F0%9F%98%80", true],
    ["^/\\pL$", "/%C3%B1", true],
    // What is no escape stays; what is no UTF-8 is U+FFFD.
    ["^/%$", "/%", true],
    ["^/%zz/a$", "/%zz/%61", true],
    ["^/%2$", "/%2", true],
    ["^/\\x{FFFD}$", "/%FF", true],
    ["^/%é$", bytes("/%é"), true],
    // RE2's own.
    ["^/a$", "/a%0A", false],
    ["^/.$", "/%0A", false],
    ["(?s)^/.$", "/%0A", true],
    ["^/\\s$", "/%C2%A0", false],
    ["\\.(jpg|png)$", "/x.png", true],
    ["^[[:digit:]/]+$", "/123", true],
    ["^$", "", true],
    ["^\\*$", "*", true],
  ])("%s finds %j: %s", (pattern, path, found) => {
    expect(router({ path: pattern })("a.com", path)).toBe(found ? 0 : 1);
  });

  it("costs time in proportion to its length, whatever the patterns", () => {
    const match = router({ hostname: "a.com", path: "^/(a+)+$" }, { hostname: "a.com", path: "(x|xx)*y(.*a.{12}b)+$" });
    expect(match("a.com", `/${"a".repeat(20_000)}!`)).toBe(2);
    expect(match("a.com", `/${"xa".repeat(10_000)}`)).toBe(2);
  });
});
