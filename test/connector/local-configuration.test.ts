/** What the edge is told of rules that are kept on this machine. */
import { describe, expect, it } from "vitest";
import { configurationFlags } from "../../src/config/configuration-flags.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import type { Setting } from "../../src/config/settings.ts";
import { localConfiguration, runningConfiguration } from "../../src/connector/local-configuration.ts";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";
import { type IngressSource, parseIngress } from "../../src/proxy/ingress/parse.ts";
import type { Ingress, Service } from "../../src/types.ts";

function read(ingress: Ingress, flags: Readonly<Record<string, string>> = {}): unknown {
  return JSON.parse(Buffer.from(localConfiguration(ingress, flags)).toString());
}

function parse(source: IngressSource): Ingress {
  const { ingress, problems } = parseIngress(source, { readFile: () => "" });
  if (ingress === undefined) throw new Error(problems.map(({ text }) => text).join("\n"));
  return ingress;
}

describe("the local configuration", () => {
  it.each<[string, Service, string]>([
    ["a URL", { kind: "url", url: new URL("http://user:pass@localhost:8080/path") }, "http://localhost:8080"],
    ["a socket", { kind: "unix", path: "/run/app.sock", tls: false }, "unix:/run/app.sock"],
    ["a socket with TLS", { kind: "unix", path: "/run/app.sock", tls: true }, "unix+tls:/run/app.sock"],
    ["a status", { kind: "status", status: 503 }, "http_status:503"],
    ["a handler", { kind: "fetch", fetch: () => new Response(), upgrade: undefined }, "http://localhost"],
    ["TCP", { kind: "tcp", scheme: "ssh", host: "::1", port: 22 }, "ssh://[::1]:22"],
    ["a jump host", { kind: "bastion" }, "bastion"],
    ["SOCKS", { kind: "socks-proxy" }, "socks-proxy"],
    ["the demonstration", { kind: "hello-world" }, "hello_world"],
    [
      "several origins, of which it names the first",
      {
        kind: "failover",
        origins: [
          { kind: "url", url: new URL("http://one:1") },
          { kind: "url", url: new URL("http://two:2") },
        ],
      },
      "http://one:1",
    ],
  ])("of %s", (_name, service, text) => {
    expect(read(singleService(service, defaultOriginRequest))).toEqual({
      ingress: [{ service: text, originRequest: {} }],
      "warp-routing": {},
    });
  });

  it("folds the options of the whole into each rule, and holds what differs from the defaults alone", () => {
    const ingress = parse({
      ingress: [
        {
          hostname: "a.example.com",
          path: "^/api",
          service: "https://localhost:8443",
          originRequest: {
            connectTimeout: "300ms",
            tcpKeepAlive: "-1s",
            keepAliveTimeout: 90,
            noTLSVerify: false,
            http2Origin: true,
            access: { required: true, teamName: "team", audTag: ["tag"] },
          },
        },
        {
          hostname: "*.example.com",
          service: "socks-proxy",
          originRequest: { ipRules: [{ prefix: "10.0.0.0/8", ports: [80], allow: true }] },
        },
        { service: "http_status:404" },
      ],
      originRequest: { noTLSVerify: true, tlsTimeout: "1m30s", access: { required: false, teamName: "team" } },
      "warp-routing": { connectTimeout: 2.5, maxActiveFlows: 7 },
    });
    expect(read(ingress, { protocol: "http2" })).toEqual({
      __configuration_flags: { protocol: "http2" },
      ingress: [
        {
          hostname: "a.example.com",
          path: "^/api",
          service: "https://localhost:8443",
          originRequest: {
            connectTimeout: 0.3,
            tlsTimeout: 90,
            tcpKeepAlive: -1,
            http2Origin: true,
            access: { required: true, teamName: "team", audTag: ["tag"] },
          },
        },
        {
          hostname: "*.example.com",
          service: "socks-proxy",
          originRequest: {
            tlsTimeout: 90,
            noTLSVerify: true,
            ipRules: [{ prefix: "10.0.0.0/8", ports: [80], allow: true }],
          },
        },
        { service: "http_status:404", originRequest: { tlsTimeout: 90, noTLSVerify: true } },
      ],
      "warp-routing": { connectTimeout: 2.5, maxActiveFlows: 7 },
    });
  });

  it("can be read back as a remote configuration", () => {
    const ingress = parse({
      ingress: [
        { hostname: "a.example.com", path: "x$", service: "tcp://db:5432", originRequest: { proxyType: "socks" } },
        { service: "http://localhost:80", originRequest: { httpHostHeader: "b", keepAliveConnections: 0 } },
      ],
      "warp-routing": { tcpKeepAlive: 1 },
    });
    expect(parse(read(ingress) as IngressSource)).toEqual(ingress);
  });

  it("tells no header that a rule sets, nor certificates", () => {
    const ingress = parse({
      ingress: [
        {
          service: "http://localhost:81",
          originRequest: { requestHeaders: { set: { Authorization: "Basic abc" } }, addPrefix: "/x", idleTimeout: 3 },
        },
      ],
    });
    const [rule] = ingress.rules;
    if (rule === undefined) throw new Error("no rule");
    const withPool = { ...rule, originRequest: { ...rule.originRequest, caPool: "-----BEGIN CERTIFICATE-----" } };
    expect(read({ ...ingress, rules: [withPool] })).toEqual({
      ingress: [{ service: "http://localhost:81", originRequest: {} }],
      "warp-routing": {},
    });
  });
});

describe("the configuration that the metrics server shows", () => {
  it("has every option of each rule, by cloudflared's keys, in seconds", () => {
    const ingress = parse({
      ingress: [
        {
          hostname: "a.example.com",
          path: "^/x",
          service: "http://user:pass@localhost:81",
          originRequest: { tlsTimeout: "1m30s", requestHeaders: { set: { Authorization: "Basic abc" } } },
        },
        { service: "bastion", originRequest: { access: { required: true, teamName: "team", audTag: ["tag"] } } },
      ],
      "warp-routing": { maxActiveFlows: 1 },
    });
    const defaults = {
      connectTimeout: 30,
      tlsTimeout: 10,
      tcpKeepAlive: 30,
      keepAliveTimeout: 90,
      noHappyEyeballs: false,
      keepAliveConnections: 100,
      httpHostHeader: "",
      originServerName: "",
      matchSNItoHost: false,
      noTLSVerify: false,
      disableChunkedEncoding: false,
      proxyType: "",
      http2Origin: false,
      caPool: "",
      bastionMode: false,
      ipRules: null,
      access: { teamName: "", audTag: null },
    };
    expect(JSON.parse(runningConfiguration({ version: 4, ingress, lastError: undefined }))).toEqual({
      version: 4,
      config: {
        ingress: [
          {
            hostname: "a.example.com",
            path: "^/x",
            service: "http://localhost:81",
            originRequest: { ...defaults, tlsTimeout: 90 },
          },
          {
            hostname: "",
            path: null,
            service: "bastion",
            originRequest: {
              ...defaults,
              bastionMode: true,
              access: { required: true, teamName: "team", audTag: ["tag"] },
            },
          },
        ],
        "warp-routing": { maxActiveFlows: 1 },
      },
    });
    expect(runningConfiguration({ version: -1, ingress, lastError: "why" })).toMatch(/"lastError":"why"\}$/);
  });
});

describe("the flags that it names", () => {
  const setting = (name: string, value: Setting["value"], source: Setting["source"]): [string, Setting] => [
    name,
    { name, value, source, where: name },
  ];

  it("are cloudflared's, from every source, as a flag takes them", () => {
    const settings = new MergedSettings(
      new Map([
        setting("protocol", "http2", "flag"),
        setting("token", "never", "flag"),
        setting("tag", ["a=b"], "flag"),
      ]),
      new Map([setting("max-active-flows", 5, "environment"), setting("no-autoupdate", true, "environment")]),
      undefined,
    );
    expect(configurationFlags(settings)).toEqual({
      protocol: "http2",
      "max-active-flows": "5",
      "no-autoupdate": "true",
    });
  });

  it("have durations in Go's form, and leave out what is empty", () => {
    const settings = new MergedSettings(
      new Map([setting("autoupdate-freq", 86_400_000, "flag"), setting("metrics", "", "flag")]),
      new Map([setting("metrics", "127.0.0.1:1", "environment")]),
      undefined,
    );
    expect(configurationFlags(settings)).toEqual({ "autoupdate-freq": "24h0m0s" });
  });
});
