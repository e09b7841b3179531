/** The library, against the mock edge. */
import { once } from "node:events";
import http from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  AbortError,
  ConfigError,
  connect,
  type ConnectOptions,
  CredentialsError,
  EdgeTlsError,
  MetricsListenError,
  QuickTunnelError,
  RegistrationRefusedError,
  type Tunnel,
  UnderpassError,
} from "../src/index.ts";
import { type MockEdge, startMockEdge } from "../src/mock-edge/index.ts";
import { closedPort } from "./ports.ts";

let edge: MockEdge;
const tunnels: Tunnel[] = [];

beforeAll(async () => {
  edge = await startMockEdge();
});

afterEach(async () => {
  edge.clearFaults();
  await Promise.all(tunnels.splice(0).map((tunnel) => tunnel.close({ grace: 0 })));
  await edge.until(() => edge.connections.length === 0);
});

afterAll(async () => {
  await edge.close();
});

const hello = { fetch: (request: Request) => new Response(`hello from ${new URL(request.url).pathname}`) };

function options(overrides: Partial<ConnectOptions> = {}): ConnectOptions {
  return {
    token: edge.issueToken(),
    edge: Array.from({ length: overrides.haConnections ?? 4 }, () => edge.edgeAddress),
    cacert: edge.caPem,
    origin: hello,
    ...overrides,
  };
}

function withoutToken(given: ConnectOptions): ConnectOptions {
  return Object.fromEntries(Object.entries(given).filter(([name]) => name !== "token"));
}

/** An origin that holds its answer back until it is told. */
function slowOrigin() {
  const arrived = deferred();
  const held = deferred();
  return {
    arrived: arrived.promise,
    release: held.resolve,
    origin: {
      fetch: async () => {
        arrived.resolve();
        await held.promise;
        return new Response("finished");
      },
    },
  };
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

async function open(overrides: Partial<ConnectOptions> = {}): Promise<Tunnel> {
  const tunnel = await connect(options(overrides));
  tunnels.push(tunnel);
  return tunnel;
}

describe("connect", () => {
  it("resolves with a registered tunnel that serves, and gets all its connections", async () => {
    const tunnel = await open();
    expect(tunnel.connections[0]).toMatchObject({
      connIndex: 0,
      state: "registered",
      protocol: "quic",
      edgeAddress: edge.edgeAddress,
      location: "LAB01",
    });
    expect(await (await edge.fetch("/a/path")).text()).toBe("hello from /a/path");
    await edge.registered(4);
    expect(edge.registrations.at(-1)).toMatchObject({ clientId: tunnel.connectorId, tunnelId: tunnel.tunnelId });
  });

  it("takes an origin with a URL", async () => {
    const origin = http.createServer((request, response) => response.end(`origin ${request.url}`));
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    try {
      const { port } = origin.address() as AddressInfo;
      await open({ origin: `http://127.0.0.1:${port}`, haConnections: 1 });
      expect(await (await edge.fetch("/x?y=z")).text()).toBe("origin /x?y=z");
    } finally {
      await Promise.all(tunnels.splice(0).map((tunnel) => tunnel.close({ grace: 0 })));
      origin.close();
    }
  });

  it("tells the logger of an origin's path, which does not count", async () => {
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, warn: (message: string) => void warnings.push(message), error() {} };
    await open({ haConnections: 1, logger, origin: new URL("http://127.0.0.1:1/base?x") });
    expect(warnings).toEqual(['origin: "/base?x" is ignored: requests keep the visitor\'s path']);
  });

  it("takes credentials instead of a token, as an object or a file's text", async () => {
    const issued = edge.issueTunnel();
    const parsed = JSON.parse(issued.credentials) as Record<string, string>;
    const rest = withoutToken(options({ haConnections: 1 }));
    const first = await connect({ ...rest, credentials: issued.credentials });
    tunnels.push(first);
    const second = await connect({
      ...rest,
      credentials: {
        accountTag: String(parsed.AccountTag),
        tunnelSecret: Buffer.from(String(parsed.TunnelSecret), "base64"),
        tunnelId: String(parsed.TunnelID),
      },
    });
    tunnels.push(second);
    expect([first.tunnelId, second.tunnelId]).toEqual([issued.tunnelId, issued.tunnelId]);
  });

  it("knows a named tunnel's URL from its hostname", async () => {
    const tunnel = await open({ hostname: "Agent.Example.com", healthCheck: false, haConnections: 1 });
    expect(tunnel.url).toBe("https://agent.example.com");
  });

  it("runs several tunnels beside each other", async () => {
    const [one, two] = await Promise.all([
      open({ haConnections: 1, origin: () => new Response("one") }),
      open({ haConnections: 1, origin: () => new Response("two") }),
    ]);
    expect(one?.connectorId).not.toBe(two?.connectorId);
    edge.route("one.example.com", String(one?.tunnelId));
    edge.route("two.example.com", String(two?.tunnelId));
    const ask = async (host: string): Promise<string> => await (await edge.fetch("/", { headers: { host } })).text();
    expect([await ask("one.example.com"), await ask("two.example.com")]).toEqual(["one", "two"]);
    await one?.close({ grace: 0 });
    expect(await ask("two.example.com")).toBe("two");
  });

  it("writes nothing to stdout or stderr", async () => {
    const out = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const err = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    let calls: number;
    try {
      const tunnel = await open({ haConnections: 1 });
      await edge.fetch("/");
      await tunnel.close();
      calls = out.mock.calls.length + err.mock.calls.length;
    } finally {
      out.mockRestore();
      err.mockRestore();
    }
    expect(calls).toBe(0);
  });

  it("survives listeners that throw, at once or later", async () => {
    const errors: string[] = [];
    const noted = (message: string): void => void errors.push(message);
    const silent = (): void => {};
    const tunnel = await open({
      haConnections: 1,
      logger: { debug: silent, info: silent, warn: silent, error: noted },
    });
    tunnel.on("request", () => {
      throw new Error("at once");
    });
    tunnel.on("request", async () => {
      await Promise.resolve();
      throw new Error("later");
    });
    await edge.fetch("/");
    await expect.poll(() => errors.length).toBe(2);
    expect(errors.every((message) => message.includes('"request"'))).toBe(true);
  });

  it("survives a logger that throws", async () => {
    const fail = (): never => {
      throw new Error("disk full");
    };
    await open({ haConnections: 1, logger: { debug: fail, info: fail, warn: fail, error: fail } });
    expect(await (await edge.fetch("/")).text()).toBe("hello from /");
  });

  it("is disposed of by `await using`, where the language has it", async () => {
    const tunnel = await open({ haConnections: 1 });
    await tunnel[Symbol.asyncDispose]();
    await expect(tunnel.finished).resolves.toBeUndefined();
    await edge.until(() => edge.connections.length === 0);
  });
});

describe("exitOnFailure", () => {
  it("ends a tunnel that can't reach its edge after `retries` attempts, with the last error", async () => {
    const port = await closedPort();
    const failed = connect(options({ edge: `127.0.0.1:${port}`, exitOnFailure: true, retries: 2, protocol: "http2" }));
    await expect(failed).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("wrong options", () => {
  const wrong: [string, Partial<ConnectOptions> & Record<string, unknown>, string][] = [
    ["an origin that is none", { origin: 7 as never }, "origin"],
    ["an origin's URL of another scheme", { origin: "ftp://localhost" }, "origin"],
    ["token and credentials", { credentials: "{}" }, "credentials"],
    ["quick beside a token", { quick: true }, "quick"],
    ["neither token nor credentials, and not quick", { token: undefined as never, quick: false }, "quick"],
    ["a hostname with a scheme", { hostname: "https://example.com" }, "hostname"],
    ["an edge without port", { edge: ["127.0.0.1"] }, "edge"],
    ["an unknown protocol", { protocol: "h3" as never }, "protocol"],
    ["an unknown IP version", { edgeIpVersion: 5 as never }, "edgeIpVersion"],
    ["a bind address that is none", { edgeBindAddress: "eth0" }, "edgeBindAddress"],
    ["a grace period over three minutes", { gracePeriod: 180_001 }, "gracePeriod"],
    ["a grace period that is no number", { gracePeriod: "30s" as never }, "gracePeriod"],
    ["no connections", { haConnections: 0 }, "haConnections"],
    ["half a connection", { haConnections: 1.5 }, "haConnections"],
    ["a memory limit that nothing fits in", { memoryLimit: 1000 }, "memoryLimit"],
    ["negative retries", { retries: -1 }, "retries"],
    ["a metrics port that is none", { metrics: 70_000 }, "metrics"],
    ["a metrics address without port", { metrics: "localhost" }, "metrics"],
    ["a health check's path without slash", { healthCheck: { path: "health" } }, "healthCheck.path"],
    ["a health check's URL of another scheme", { healthCheck: { url: "file:///x" } }, "healthCheck.url"],
    ["a health check that never fails", { healthCheck: { maxFailures: 0 } }, "healthCheck.maxFailures"],
    ["a tag with a line end", { tags: { a: "b\r\nc" } }, "tags.a"],
    ["a tag's name with a blank", { tags: { "a b": "c" } }, "tags"],
    ["no entry of the edge, which would mean the public one", { edge: [] }, "edge"],
    ["an edge that is a number", { edge: 5 as never }, "edge"],
    ["a token that is a number", { token: 5 as never }, "token"],
    ["a hostname that is a number", { hostname: 5 as never }, "hostname"],
    ["a certificate that is a number", { cacert: 5 as never }, "cacert"],
    ["a signal that is none", { signal: {} as never }, "signal"],
    ["a logger without methods", { logger: {} as never }, "logger"],
    ["a resolver that is a name", { dnsResolvers: ["dns.example:53"] }, "dnsResolvers"],
    ["a resolver without a port", { dnsResolvers: ["192.0.2.1"] }, "dnsResolvers"],
    ["eleven resolvers", { dnsResolvers: Array.from({ length: 11 }, () => "192.0.2.1:53") }, "dnsResolvers"],
    ["features that are a text", { features: "abc" as never }, "features"],
    ["a feature that is a number", { features: [5] as never }, "features"],
    ["tags that are a number", { tags: 5 as never }, "tags"],
    ["a region that is a number", { region: 5 as never }, "region"],
    ["a region that is no part of a name", { region: "../x" }, "region"],
    ["a state directory without a name", { stateDirectory: "" }, "stateDirectory"],
    ["a state directory that is a number", { stateDirectory: 5 as never }, "stateDirectory"],
    ["exitOnFailure that is a text", { exitOnFailure: "yes" as never }, "exitOnFailure"],
    ["management that is true", { management: true as never }, "management"],
    ["a management hostname that is a URL", { management: { hostname: "https://x" } }, "management.hostname"],
    ["a label that is a number", { management: { label: 5 as never } }, "management.label"],
    ["diagnostics that are a text", { management: { diagnostics: "no" as never } }, "management.diagnostics"],
    ["an unknown key of management", { management: { zzz: 1 } as never }, "management.zzz"],
    ["a health check that is true", { healthCheck: true as never }, "healthCheck"],
    ["a probe that is none", { healthCheck: { probe: 5 as never } }, "healthCheck.probe"],
    ["an originRequest that is a number", { originRequest: 5 as never }, "originRequest"],
    [
      "a time-out that is a text",
      { originRequest: { connectTimeoutMs: "x" as never } },
      "originRequest.connectTimeoutMs",
    ],
    ["an unknown key of originRequest", { originRequest: { zzz: 1 } as never }, "originRequest.zzz"],
    ["a misspelt option", { cacerts: "x" }, "cacerts"],
  ];

  it.each(wrong)("%s: the error names the option", async (_name, overrides, option) => {
    const given = options({ haConnections: 4, ...overrides });
    const error: unknown = await connect(given.token === undefined ? withoutToken(given) : given).then(
      (tunnel) => tunnel.close({ grace: 0 }),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({
      code: "ERR_UNDERPASS_CONFIG",
      problems: expect.arrayContaining([expect.objectContaining({ where: option })]),
    });
    expect(edge.connections).toHaveLength(0);
  });

  it("are told all at once", async () => {
    const wrongOnes = { haConnections: -1, retries: -1, gracePeriod: 1e9, cacerts: "x", origin: "ftp://x" } as const;
    const error: unknown = await connect({ ...options({}), ...wrongOnes }).catch((reason: unknown) => reason);
    const found = (error as ConfigError).problems.map(({ where }) => where);
    expect(found.sort()).toEqual(["cacerts", "gracePeriod", "haConnections", "origin", "retries"]);
    expect(String(error)).toContain("did you mean cacert?");
  });

  it("no options at all", async () => {
    await expect((connect as (given?: unknown) => Promise<unknown>)()).rejects.toMatchObject({
      code: "ERR_UNDERPASS_CONFIG",
    });
  });

  it.each(["nope", "", "http://127.0.0.1:6000"])("a quick service that can't be asked: %j", async (quickService) => {
    await expect(connect({ origin: hello, quickService })).rejects.toMatchObject({
      problems: [{ where: "quickService" }],
    });
  });

  it("a token that is none is not shown", async () => {
    const token = `${edge.issueToken().slice(0, -8)}!`;
    const error: unknown = await connect(options({ token })).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CredentialsError);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(token.slice(0, 20));
  });

  it("a token that is none beside rules that are none: both are told", async () => {
    const ingress = [{ service: "gopher://x" }];
    const error: unknown = await connect({ token: "nope", ingress }).catch((reason: unknown) => reason);
    const found = (error as ConfigError).problems.map(({ where }) => where);
    expect(found).toContain("token");
    expect(found.some((where) => where.startsWith("ingress"))).toBe(true);
  });

  it("a cacert that holds no certificate", async () => {
    await expect(connect(options({ cacert: "hello" }))).rejects.toBeInstanceOf(EdgeTlsError);
  });

  it("a metrics port that is taken leaves nothing behind", async () => {
    const blocker = createServer();
    blocker.listen(0, "127.0.0.1");
    await once(blocker, "listening");
    try {
      const { port } = blocker.address() as AddressInfo;
      await expect(connect(options({ metrics: port }))).rejects.toBeInstanceOf(MetricsListenError);
      await edge.until(() => edge.connections.length === 0);
    } finally {
      blocker.close();
    }
  });
});

describe("an edge that refuses", () => {
  it("for good, rejects with its own words", async () => {
    edge.fail({ kind: "refuse", cause: "Tunnel is being deleted" });
    const error: unknown = await connect(options()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RegistrationRefusedError);
    expect(error).toBeInstanceOf(UnderpassError);
    expect(error).toMatchObject({ reason: "Tunnel is being deleted", shouldRetry: false });
    await edge.until(() => edge.connections.length === 0);
  });

  it("for now, is tried again, without a word to the caller", async () => {
    edge.fail({ kind: "exception", reason: "not yet" });
    const retries: unknown[] = [];
    const logger = {
      debug() {},
      info() {},
      warn: (message: string, fields?: object) => retries.push([message, fields]),
      error() {},
    };
    await open({ haConnections: 1, logger });
    expect(retries).toMatchObject([[expect.stringContaining("Retrying connection"), { connIndex: 0, event: 0 }]]);
  });

  it("with Unauthorized, is tried again", async () => {
    const before = edge.registrations.length;
    edge.fail({ kind: "refuse", cause: "Unauthorized: Failed to get tunnel" });
    await open({ haConnections: 1 });
    expect(edge.registrations.length - before).toBe(2);
  });
});

describe("the signal", () => {
  it("that was aborted before rejects at once", async () => {
    const error: unknown = await connect(options({ signal: AbortSignal.abort("too late") })).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ name: "AbortError", cause: "too late" });
    expect(edge.connections).toHaveLength(0);
  });

  it("ends the wait for a registration that never comes", async () => {
    edge.fail({ kind: "never-answer" });
    const abort = new AbortController();
    const attempt = connect(options({ signal: abort.signal }));
    await edge.until(() => edge.connections.some(({ state }) => state === "registering"));
    abort.abort();
    await expect(attempt).rejects.toBeInstanceOf(AbortError);
    await edge.until(() => edge.connections.length === 0);
  });

  it("at any moment of the start leaves nothing behind", async () => {
    for (const ticks of [0, 1, 2, 5, 10, 20, 40, 80, 160]) {
      const abort = new AbortController();
      const attempt = connect(options({ signal: abort.signal, haConnections: 1 })).then(
        (tunnel) => {
          tunnels.push(tunnel);
          return "registered";
        },
        (error: unknown) => error,
      );
      for (let i = 0; i < ticks; i++) await new Promise((resolve) => setImmediate(resolve));
      abort.abort();
      const outcome = await attempt;
      if (outcome !== "registered") expect(outcome).toBeInstanceOf(AbortError);
      await Promise.all(tunnels.splice(0).map((tunnel) => tunnel.finished));
      await edge.until(() => edge.connections.length === 0);
    }
  });

  it("afterwards closes the tunnel gracefully", async () => {
    const abort = new AbortController();
    const { arrived, origin, release } = slowOrigin();
    const tunnel = await open({ haConnections: 1, signal: abort.signal, origin });
    const answer = edge.fetch("/slow");
    await arrived;
    abort.abort();
    await edge.until(() => edge.connections.some(({ state }) => state === "draining"));
    release();
    expect(await (await answer).text()).toBe("finished");
    await expect(tunnel.finished).resolves.toBeUndefined();
  });
});

describe("a quick tunnel", () => {
  function quick(overrides: Partial<ConnectOptions> = {}): ConnectOptions {
    const rest = withoutToken(options({ haConnections: 1, ...overrides }));
    return { ...rest, quickService: edge.quickUrl, healthCheck: false };
  }

  it("needs no token, has its own URL, and serves there", async () => {
    const tunnel = await connect(quick());
    tunnels.push(tunnel);
    const host = new URL(String(tunnel.url)).host;
    const answer = await edge.fetch("/", { headers: { host } });
    expect(await answer.text()).toBe("hello from /");
    expect(edge.connections).toHaveLength(1);
  });

  it("keeps its URL over a lost connection", async () => {
    const tunnel = await connect(quick());
    tunnels.push(tunnel);
    const { url } = tunnel;
    const again = new Promise((resolve) => tunnel.once("registered", resolve));
    edge.dropConnections();
    await again;
    expect(tunnel.url).toBe(url);
  });

  it("gets a new URL when the edge refuses the old one, and says so", async () => {
    const tunnel = await connect(quick());
    tunnels.push(tunnel);
    const { tunnelId, url } = tunnel;
    const announced = new Promise<string>((resolve) => tunnel.once("url", resolve));
    const again = new Promise((resolve) => tunnel.once("registered", resolve));
    edge.fail({ kind: "refuse", cause: "Unauthorized: Tunnel not found" });
    edge.dropConnections();
    const next = await announced;
    await again;
    expect(next).not.toBe(url);
    expect(tunnel.url).toBe(next);
    expect(tunnel.tunnelId).not.toBe(tunnelId);
  });

  it.each([
    ["a rate limit", { kind: "rate-limit", retryAfterSeconds: 60 }, "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", 60_000],
    ["error 1015", { kind: "error-1015", retryAfterSeconds: 7 }, "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", 7_000],
    ["a page", { kind: "not-json" }, "ERR_UNDERPASS_QUICK_TUNNEL_INVALID", undefined],
    ["a refusal", { kind: "refuse" }, "ERR_UNDERPASS_QUICK_TUNNEL_REFUSED", undefined],
  ] as const)("that is answered with %s rejects", async (_name, fault, code, retryAfterMs) => {
    edge.failQuick(fault);
    const error: unknown = await connect(quick()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(QuickTunnelError);
    expect(error).toMatchObject({ code, retryAfterMs });
    expect(edge.connections).toHaveLength(0);
  });

  it("whose service can't be reached is waited for", async () => {
    const blocker = createServer();
    blocker.listen(0, "127.0.0.1");
    await once(blocker, "listening");
    const { port } = blocker.address() as AddressInfo;
    await new Promise((resolve) => blocker.close(resolve));
    const abort = new AbortController();
    const warnings: string[] = [];
    const logger = {
      debug() {},
      info() {},
      warn: (message: string) => {
        warnings.push(message);
        abort.abort();
      },
      error() {},
    };
    const attempt = connect({ ...quick(), quickService: `http://127.0.0.1:${port}`, logger, signal: abort.signal });
    await expect(attempt).rejects.toBeInstanceOf(AbortError);
    expect(warnings[0]).toContain("Retrying connection");
  });
});

describe("metrics", () => {
  it("are served beside the tunnel until its end", async () => {
    const { arrived, origin, release } = slowOrigin();
    const tunnel = await open({ haConnections: 1, metrics: 0, origin });
    const ready = async (): Promise<unknown> => (await fetch(`${tunnel.metricsUrl}/ready`)).json();
    expect(await ready()).toEqual({ status: 200, readyConnections: 1, connectorId: tunnel.connectorId });
    const answer = edge.fetch("/");
    await arrived;
    const text = await (await fetch(`${tunnel.metricsUrl}/metrics`)).text();
    expect(text).toContain("\ncloudflared_tunnel_total_requests 1\n");
    expect(text).toContain("\ncloudflared_tunnel_concurrent_requests_per_tunnel 1\n");
    const closed = tunnel.close();
    // Off at once, while requests are still served.
    expect(await ready()).toMatchObject({ status: 503, readyConnections: 0 });
    expect((await fetch(`${tunnel.metricsUrl}/live`)).status).toBe(200);
    release();
    expect(await (await answer).text()).toBe("finished");
    await closed;
    await expect(fetch(`${tunnel.metricsUrl}/live`)).rejects.toThrow();
  });
});
