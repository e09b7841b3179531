import { describe, expect, it } from "vitest";
import type { Origin } from "../../../src/types.ts";
import { problemsOf, serviceOf, warningsOf } from "./parse.ts";

describe("a service", () => {
  it.each([
    ["http://localhost:8080", "http://localhost:8080/"],
    ["HTTP://LocalHost:8080", "http://localhost:8080/"],
    ["http://localhost", "http://localhost/"],
    ["http://localhost:80", "http://localhost/"],
    ["http://localhost:", "http://localhost/"],
    ["https://app.internal:8443", "https://app.internal:8443/"],
    ["https://my_app:443", "https://my_app/"],
    ["ws://localhost:1", "ws://localhost:1/"],
    ["wss://localhost", "wss://localhost/"],
    ["http://[::1]:8080", "http://[::1]:8080/"],
    ["http://mañana.local", "http://xn--maana-pta.local/"],
    ["  http://localhost  ", "http://localhost/"],
    ["h2c://grpc_1.local:50051", "h2c://grpc_1.local:50051"],
    ["H2C://GRPC.local", "h2c://grpc.local"],
    ["h2c://[::1]:1", "h2c://[::1]:1"],
  ])("%s is a URL", (text, href) => {
    const service = serviceOf(text);
    expect(service?.kind === "url" ? service.url.href : service).toBe(href);
  });

  it.each([
    ["tcp://localhost", "localhost", 7864],
    ["tcp://localhost:8000", "localhost", 8000],
    ["SSH://Host", "host", 22],
    ["ssh://host:2222", "host", 2222],
    ["rdp://10.0.0.1", "10.0.0.1", 3389],
    ["smb://files", "files", 445],
    ["tcp://[::1]:5", "::1", 5],
    ["ssh://[fe80::1%25eth0]", "fe80::1%eth0", 22],
    ["ssh://[fe80::1%eth0]:1", "fe80::1%eth0", 1],
  ])("%s is TCP", (text, host, port) => {
    const scheme = text.slice(0, 3).toLowerCase();
    expect(serviceOf(text)).toEqual({ kind: "tcp", scheme, host, port });
  });

  it.each([
    ["unix:/run/app.sock", { kind: "unix", path: "/run/app.sock", tls: false }],
    ["unix:relative.sock", { kind: "unix", path: "relative.sock", tls: false }],
    ["unix:///run/app.sock", { kind: "unix", path: "/run/app.sock", tls: false }],
    ["unix+tls:/run/app.sock", { kind: "unix", path: "/run/app.sock", tls: true }],
    ["http_status:404", { kind: "status", status: 404 }],
    ["http_status:999", { kind: "status", status: 999 }],
    ["hello_world", { kind: "hello-world" }],
    ["hello-world", { kind: "hello-world" }],
    ["bastion", { kind: "bastion" }],
    ["socks-proxy", { kind: "socks-proxy" }],
  ])("%s is known", (text, service) => {
    expect(serviceOf(text)).toEqual(service);
  });

  it.each([
    [
      "redis://localhost:6379",
      'found the scheme "redis", which is not known; tcp://localhost:6379 would be right for any protocol over TCP',
    ],
    ["htpp://localhost:1", 'found the scheme "htpp", which is not known; http://localhost:1 would be right'],
    ["grpc://localhost:1", 'found the scheme "grpc", which is not known; h2c://localhost:1 would be right'],
    ["grpcs://localhost:1", 'found the scheme "grpcs", which is not known; https://localhost:1 would be right'],
    ["http://localhost/", 'found the path "/" in the service; http://localhost would be right'],
    ["http://localhost:1/a/b?c", 'found the path "/a/b" in the service; http://localhost:1 would be right'],
    ["localhost:8080", 'found "localhost:8080"; a scheme before it, as in http://localhost:8080, would be right'],
    ["8080", 'found "8080"; a scheme before it, as in http://localhost:8080, would be right'],
    [":8080", "http://localhost:8080"],
    ["", "found no service; http://"],
    ["hello_wrld", 'found "hello_wrld"; hello_world would be right'],
    ["socks_proxy", 'found "socks_proxy"; socks-proxy would be right'],
    ["//host", 'found "//host"; http://'],
    ["http://", "http:// with a host"],
    ["http://:80", "http:// with a host"],
    ["http://host:0", "a port from 1 to 65535"],
    ["http://host:65536", "a port from 1 to 65535"],
    ["http://host:http", "a port from 1 to 65535"],
    ["http://ho st", "http:// with a host"],
    ["http://[::1", "http:// with a host"],
    ["http://[::1::2]", "http:// with a host"],
    ["http://300.1.1.1", "http:// with a host"],
    ["http://[fe80::1%25eth0]", "an address without a zone"],
    ["unix:", "the path of a socket, as in unix:/run/app.sock, would be right"],
    ["http_status:", 'found the status ""; http_status: and a number from 200 to 999 would be right'],
    ["http_status:abc", 'found the status "abc"'],
    ["http_status:101", 'found the status "101"'],
    ["http_status:1000", 'found the status "1000"'],
    ["http_status:404 ", undefined],
    ["http_status:40.4", 'found the status "40.4"'],
    [8080, "found 8080; http://"],
    [true, "found true; http://"],
    [{ url: "http://x" }, "found a table; http://"],
    [null, "found no service; http://"],
  ])("%j is refused in words", (service, expected) => {
    const problems = problemsOf({ ingress: [{ service }] });
    if (expected === undefined) return expect(problems).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^ingress\.0\.service: rule 1: found /);
    expect(problems[0]).toContain(expected);
  });

  it("warns of what it ignores, and never shows a password", () => {
    const source = { ingress: [{ service: "http://user:hunter2@localhost:1?a=b#c" }] };
    expect(warningsOf(source)).toEqual([
      "ingress.0.service: rule 1: the user name and password in the service are ignored",
      'ingress.0.service: rule 1: "?a=b#c" in the service is ignored: requests keep the visitor\'s query',
    ]);
    const wrong = [
      "http://u:hunter2@h:99999",
      "http://u:hunter2@h/x",
      "foo://u:hunter2@h",
      "u:hunter2@h",
      "http://u:1/hunter2@h",
      "http://u:hunter2/@h",
      "http://u:p@h ?hunter2@",
    ];
    for (const service of wrong) {
      const problems = problemsOf({ ingress: [{ service }] });
      expect(problems).toHaveLength(1);
      expect(problems.join()).not.toContain("hunter2");
    }
  });
});

describe("a list of services", () => {
  it("is tried in its order", () => {
    const service = serviceOf(["http://a:1", "https://b", "unix:/c"]);
    expect(
      service?.kind === "failover" &&
        service.origins.map((origin) => (origin.kind === "url" ? origin.url.href : origin.path)),
    ).toEqual(["http://a:1/", "https://b/", "/c"]);
  });

  it("of one is that service", () => {
    expect(serviceOf(["unix:/c"])).toEqual({ kind: "unix", path: "/c", tls: false });
  });

  it("holds only what speaks HTTP", () => {
    expect(problemsOf({ ingress: [{ service: [] }] })).toEqual([
      "ingress.0.service: rule 1: found an empty list; at least one service would be right",
    ]);
    expect(
      problemsOf({ ingress: [{ service: ["http://a", "tcp://u:hunter2@b", 5, "foo://c", ["http://d"]] }] }),
    ).toEqual([
      'ingress.0.service.1: rule 1: found "tcp://…@b"; an http, https or unix service would be right',
      "ingress.0.service.2: rule 1: found 5; an http, https or unix service would be right",
      'ingress.0.service.3: rule 1: found the scheme "foo", which is not known; tcp://c would be right for any protocol over TCP',
      "ingress.0.service.4: rule 1: found a list; an http, https or unix service would be right",
    ]);
  });
});

describe("handler:<name>", () => {
  const app: Origin = { kind: "fetch", fetch: () => new Response(""), upgrade: undefined };

  it("is the handler that the program gave", () => {
    expect(serviceOf("handler:app", { handlers: { app } })).toBe(app);
  });

  it("names those that are there", () => {
    expect(problemsOf({ ingress: [{ service: "handler:ap" }] }, { handlers: { app, api: app } })).toEqual([
      'ingress.0.service: rule 1: found "ap"; one of the handlers "app", "api" would be right',
    ]);
    expect(problemsOf({ ingress: [{ service: "handler:toString" }] })).toEqual([
      'ingress.0.service: rule 1: found the handler "toString"; only programs that give handlers to the library can name them',
    ]);
  });
});
