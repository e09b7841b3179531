/** Rules as programs give them. */
import http from "node:http";
import { describe, expect, it } from "vitest";
import { parseRouting, type RoutingOptions } from "../../src/config/ingress-option.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { defaultOriginRequest, defaultWarpRouting, singleService } from "../../src/proxy/ingress/defaults.ts";

function failure(options: unknown): string {
  try {
    parseRouting(options as RoutingOptions);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const fetch = (): Response => new Response("x");

describe("origin", () => {
  it("is one service for everything, with its options", () => {
    const { ingress, warnings, handlers } = parseRouting({
      origin: "ssh://localhost",
      originRequest: { connectTimeoutMs: 1500, keepAliveConnections: 3 },
    });
    expect(ingress).toEqual(
      singleService(
        { kind: "tcp", scheme: "ssh", host: "localhost", port: 22 },
        { ...defaultOriginRequest, connectTimeoutMs: 1500, keepAliveConnections: 3 },
      ),
    );
    expect([warnings, handlers]).toEqual([[], {}]);
    const server = http.createServer();
    expect(
      parseRouting({ ingress: [{ service: new URL("http://a/b") }], handlers: { h: "http://c/d" } }).warnings,
    ).toEqual([
      'handlers.h: "/d" is ignored: requests keep the visitor\'s path',
      'ingress[0].service: "/b" is ignored: requests keep the visitor\'s path',
    ]);
    expect(parseRouting({ origin: server }).ingress.rules[0]?.service).toEqual({ kind: "server", server });
  });

  it("takes its options in milliseconds or by the keys of a file", () => {
    const certPem = createAuthority().certPem.trimEnd();
    const both = [
      {
        tlsTimeoutMs: 250,
        tcpKeepAliveMs: -1,
        caPool: certPem,
        httpHostHeader: undefined,
        requestHeaders: { set: [{ name: "X-A", value: "b" }], remove: ["x-c"] },
      },
      {
        tlsTimeout: "250ms",
        tcpKeepAlive: -0.001,
        caPool: certPem,
        requestHeaders: { set: { "X-A": "b" }, remove: ["X-C"] },
      },
    ];
    for (const originRequest of both) {
      expect(parseRouting({ origin: "1", originRequest }).ingress.rules[0]?.originRequest).toEqual({
        ...defaultOriginRequest,
        tlsTimeoutMs: 250,
        tcpKeepAliveMs: -1,
        caPool: certPem,
        requestHeaders: { set: [{ name: "X-A", value: "b" }], remove: ["x-c"] },
      });
    }
  });

  it("has its options checked, and an unknown one is an error", () => {
    expect(failure({ origin: "1", originRequest: { connectTimeoutMs: -1 } })).toMatch(
      /^originRequest\.connectTimeoutMs: found "-1ms"; a duration that is not negative/,
    );
    expect(failure({ origin: "1", originRequest: { connectTimeoutMs: Number.NaN } })).toMatch(
      /connectTimeoutMs: found/,
    );
    expect(failure({ origin: "1", originRequest: { noTlsVerify: true } })).toBe(
      'originRequest.noTlsVerify: unknown key "noTlsVerify" is ignored; did you mean noTLSVerify?',
    );
    expect(failure({ origin: "1", originRequest: 5 })).toMatch(/^originRequest: found 5; keys and values/);
    expect(failure({ origin: "1", warpRouting: { maxActiveFlows: -1 } })).toMatch(
      /^warpRouting\.maxActiveFlows: found -1/,
    );
    const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect(failure({ origin: "1", originRequest: { caPool: broken } })).toBe(
      "originRequest.caPool: certificate 1 of PEM text 1 can't be read; PEM text would be right",
    );
    expect(failure({ origin: "1", originRequest: { caPool: "/nonexistent" } })).toBe(
      "originRequest.caPool: can't read /nonexistent: no such file",
    );
  });

  it("and ingress exclude each other, and one is needed", () => {
    expect(failure({ origin: "1", ingress: [{ service: "http://a" }] })).toMatch(/^ingress: given beside origin; one/);
    expect(failure({})).toBe("origin: found nothing; origin or ingress would be right");
    expect(failure({ ingress: [] })).toBe("ingress: found no rules; at least one would be right");
    expect(failure({ ingress: "http://a" })).toBe('ingress: found "http://a"; a list of rules would be right');
  });
});

describe("ingress", () => {
  it("has the rules of a file, and services of the program", () => {
    const server = http.createServer();
    const { ingress, handlers } = parseRouting({
      ingress: [
        { hostname: "a.example.com", path: "^/x", service: "http://a:1", originRequest: { connectTimeout: 5 } },
        { hostname: "b.example.com", service: ["http://b:1", "http://b:2"] },
        { hostname: "c.example.com", service: server },
        { hostname: "d.example.com", service: { fetch } },
        { hostname: "e.example.com", service: new URL("ssh://e") },
        { hostname: "f.example.com", service: { unix: "/run/f" } },
        { service: "handler:main" },
      ],
      handlers: { main: fetch, other: "http://o:1" },
      originRequest: { noTLSVerify: true, connectTimeoutMs: 1 },
      warpRouting: { connectTimeout: "1s", maxActiveFlows: 9 },
    });
    expect(ingress.rules.map(({ service }) => service)).toEqual([
      { kind: "url", url: new URL("http://a:1") },
      {
        kind: "failover",
        origins: [
          { kind: "url", url: new URL("http://b:1") },
          { kind: "url", url: new URL("http://b:2") },
        ],
      },
      { kind: "server", server },
      { kind: "fetch", fetch: expect.any(Function), upgrade: undefined },
      { kind: "tcp", scheme: "ssh", host: "e", port: 22 },
      { kind: "unix", path: "/run/f", tls: false },
      { kind: "fetch", fetch, upgrade: undefined },
    ]);
    expect(ingress.rules[0]?.originRequest).toEqual({
      ...defaultOriginRequest,
      noTLSVerify: true,
      connectTimeoutMs: 5000,
    });
    expect(ingress.rules[1]?.originRequest).toMatchObject({ noTLSVerify: true, connectTimeoutMs: 1 });
    expect(ingress.warpRouting).toEqual({ ...defaultWarpRouting, connectTimeoutMs: 1000, maxActiveFlows: 9 });
    // Not the unnamed ones.
    expect(Object.keys(handlers)).toEqual(["main", "other"]);
  });

  it.each([
    [{ ingress: [{ service: "handler:nope" }], handlers: { main: fetch } }, /^ingress\[0\]\.service: .*"nope".*"main"/],
    [{ ingress: [{ service: 5 }] }, /^ingress\[0\]\.service: found 5; an http or https URL, \{ unix: path \}/],
    [{ ingress: [{ service: {} }] }, /^ingress\[0\]\.service: found an object with neither unix, listener nor fetch/],
    [{ ingress: [{}] }, /^ingress\[0\]\.service: rule 1: found no service/],
    [{ ingress: [null] }, /^ingress\[0\]: rule 1: found nothing; keys and values/],
    [{ ingress: [{ service: "http://a", pth: "/" }] }, /^ingress\[0\]\.pth: .*unknown key "pth"; path/],
    [{ ingress: [{ service: "http://a", foo: "/" }] }, /^ingress\[0\]\.foo: .*unknown key "foo"/],
    [
      { ingress: [{ service: "http://a", originRequest: { idleTimeoutMs: -5 } }] },
      /^ingress\[0\]\.originRequest\.idleTimeoutMs: rule 1: found "-5ms"/,
    ],
    [
      { ingress: [{ hostname: "a.example.com", service: fetch }] },
      /^ingress\[0\]: rule 1 \(a\.example\.com\): the last rule must match every request/,
    ],
    [{ ingress: [{ service: "http://a" }], handlers: { x: "tcp://a:1" } }, /^handlers\.x: found tcp:\/\/a:1; a rule/],
    [{ ingress: [{ service: "http://a" }], handlers: { x: {} } }, /^handlers\.x: found an object/],
  ])("names what is wrong: %#", (options, message) => {
    expect(failure(options)).toMatch(message);
  });
});
