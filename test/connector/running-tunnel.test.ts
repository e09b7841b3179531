/** A whole tunnel over fake connections, in virtual time: its promises, events, health check and end. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import type { TunnelConfig } from "../../src/config/tunnel-config.ts";
import type { TunnelEvents, TunnelRuntime } from "../../src/connector/api.ts";
import { EdgeRecords } from "../../src/connector/edge-records.ts";
import { QuickIdentity } from "../../src/connector/identity.ts";
import type { IdentitySource } from "../../src/connector/parts.ts";
import { RunningTunnel } from "../../src/connector/running-tunnel.ts";
import type { Probe } from "../../src/health/probe.ts";
import type { EdgeRequest, Ingress, RequestObserver } from "../../src/types.ts";
import { credentials, FakeEdge, fakeParts, type LogLine, recordingLogger, refused, registered } from "./fake-edge.ts";
import { FakeResolvers } from "./fake-resolvers.ts";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";

let edge: FakeEdge;
let tunnel: RunningTunnel;
let lines: LogLine[];
let events: [name: string, ...args: unknown[]][];
let probe: ReturnType<typeof vi.fn<Probe>>;
let observer: RequestObserver;
let proxyClosedAt: number | undefined;
const handled: EdgeRequest[] = [];
const rules: Ingress[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  edge = new FakeEdge();
  events = [];
  handled.length = 0;
  rules.length = 0;
  proxyClosedAt = undefined;
  probe = vi.fn<Probe>(() => Promise.resolve({ status: 200, body: "" }));
});

afterEach(async () => {
  const closed = tunnel.close({ grace: 0 });
  await advance(5_000);
  await closed;
  expect(vi.getTimerCount()).toBe(0);
  expect(edge.open).toEqual([]);
  vi.useRealTimers();
});

const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
const named = (name: keyof TunnelEvents): unknown[][] =>
  events.filter(([event]) => event === name).map(([, ...args]) => args);

function start(
  options: {
    config?: Partial<TunnelConfig>;
    runtime?: TunnelRuntime;
    hostname?: string;
    identity?: (announce: (hostname: string) => void) => IdentitySource;
    records?: EdgeRecords;
  } = {},
): void {
  const recording = recordingLogger();
  lines = recording.lines;
  const named: IdentitySource = {
    credentials: () => Promise.resolve({ kind: "credentials", credentials }),
    tunnelId: credentials.tunnelId,
    url: options.hostname === undefined ? undefined : `https://${options.hostname}`,
    replaceable: false,
    registered() {},
    refused() {},
  };
  tunnel = new RunningTunnel(
    {
      ...defaultTunnelConfig,
      identity: { mode: "named", credentials, hostname: options.hostname },
      ingress: singleService({ kind: "status", status: 204 }, defaultOriginRequest),
      ...options.config,
    },
    options.runtime ?? {},
    {
      ...fakeParts(edge),
      version: "1.2.3",
      logger: recording.logger,
      probe,
      protocolChoice: undefined,
      records: options.records,
      createIdentity: options.identity ?? (() => named),
      createProxy: (given) => {
        observer = given.observer;
        return {
          activeRequests: 0,
          update: (ingress) => rules.push(ingress),
          handle: (request) => handled.push(request),
          createDatagrams: () => ({
            activeSessions: 0,
            attach: () => {
              throw new Error("there are none over HTTP/2");
            },
            close() {},
          }),
          close: () => {
            proxyClosedAt ??= Date.now();
            return Promise.resolve();
          },
        };
      },
    },
  );
  const names: (keyof TunnelEvents)[] = [
    "registered",
    "disconnected",
    "retrying",
    "ready",
    "url",
    "degraded",
    "restarting",
    "configuration",
    "request",
    "closed",
  ];
  for (const name of names) tunnel.on(name, (...args: unknown[]) => events.push([name, ...args]));
  tunnel.start();
}

function request(authority: string): EdgeRequest {
  return {
    kind: "http",
    method: "GET",
    path: "/",
    contentLength: undefined,
    headers: [],
    authority,
    stream: {
      bodyless: true,
      sink: { onData() {}, onEnd() {}, onCancel() {}, onWritable() {} },
      consumed() {},
      respond() {},
      write: () => true,
      end() {},
      abort() {},
    },
  };
}

/** What the edge is answered when it pushes a configuration on a connection. */
function push(version: number, config: unknown, connIndex = 0): readonly unknown[] {
  const replies: (readonly unknown[])[] = [];
  edge.open[connIndex]?.onRequest({
    kind: "configuration",
    version,
    config,
    reply: (...reply) => void replies.push(reply),
  });
  const [reply] = replies;
  if (reply === undefined || replies.length > 1) throw new Error(`${replies.length} replies`);
  return reply;
}

describe("the rules of a tunnel", () => {
  const other = singleService({ kind: "status", status: 201 }, defaultOriginRequest);
  const remote = { ingress: [{ service: "http_status:418" }] };
  const told = (connIndex = 0): unknown => JSON.parse(edge.open[connIndex]?.client.configuration ?? "null");

  it("are those of Cloudflare, whichever connection brings them", async () => {
    start();
    await advance(5_000);
    expect(push(0, remote, 3)).toEqual([0, undefined]);
    expect(push(0, {}, 0)).toEqual([0, undefined]);
    expect(push(1, { ingress: 1 }, 1)).toEqual([0, expect.stringMatching(/^ingress: /)]);
    expect(rules.map(({ rules: [rule] }) => rule?.service)).toEqual([{ kind: "status", status: 418 }]);
    expect(handled).toEqual([]);
    expect(named("configuration")).toEqual([[0, "remote"]]);
    expect(edge.open.map(({ client }) => client.configuration)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it("may be replaced by this machine, and the edge is told again", async () => {
    edge.onRegister = () => registered(false);
    start({ config: { flags: { protocol: "http2" } } });
    await advance(5_000);
    expect(tunnel.updateIngress(other)).toEqual({ result: "applied" });
    await advance(1_000);
    expect(rules).toEqual([other]);
    expect(named("configuration")).toEqual([[-1, "local"]]);
    expect(told()).toEqual({
      __configuration_flags: { protocol: "http2" },
      ingress: [{ service: "http_status:201", originRequest: {} }],
      "warp-routing": {},
    });
    // A connection that takes the place of the first one tells what is in effect.
    edge.open[0]?.drop();
    await advance(60_000);
    expect(edge.open.flatMap(({ client }) => client.configuration ?? [])).toEqual([
      expect.stringMatching(/http_status:201/),
    ]);
  });

  it("are not replaced by this machine once Cloudflare has given some, nor at the end", async () => {
    start();
    await advance(100);
    push(7, remote);
    expect(tunnel.updateIngress(other)).toMatchObject({ result: "refused" });
    tunnel.reloadFailed();
    expect(rules).toHaveLength(1);
    const [last] = edge.open;
    if (last === undefined) throw new Error("no connection");
    void tunnel.close();
    // While it drains requests still come.
    expect(push(8, {})).toEqual([8, undefined]);
    await advance(5_000);
    const reply = vi.fn();
    last.onRequest({ kind: "configuration", version: 9, config: {}, reply });
    expect(reply.mock.calls).toEqual([[8, expect.stringMatching(/already been shut down/)]]);
    expect(tunnel.updateIngress(other)).toMatchObject({ result: "refused" });
  });
});

describe("a tunnel", () => {
  it("is registered with its first connection", async () => {
    start();
    const resolved = vi.fn();
    void tunnel.registered.then(resolved);
    await advance(29);
    expect(resolved).not.toHaveBeenCalled();
    await advance(2);
    expect(resolved).toHaveBeenCalled();
    expect(tunnel.connections).toHaveLength(2);
    expect(tunnel.tunnelId).toBe(credentials.tunnelId);
    expect(edge.registrations[0]?.clientId).toBe(tunnel.connectorId);
  });

  it("tells the edge its configuration on connection 0, where it is managed locally", async () => {
    edge.onRegister = () => registered(false);
    start();
    await advance(5_000);
    expect(edge.open.map(({ client }) => client.configuration !== undefined)).toEqual([true, false, false, false]);
    expect(JSON.parse(edge.open[0]?.client.configuration ?? "")).toMatchObject({
      ingress: [{ service: "http_status:204" }],
    });
  });

  it("does not where it is managed remotely", async () => {
    start();
    await advance(5_000);
    expect(edge.open.every(({ client }) => client.configuration === undefined)).toBe(true);
  });

  it("only logs that the edge did not take the configuration", async () => {
    edge.onRegister = () => registered(false);
    edge.takesConfiguration = false;
    start();
    await advance(5_000);
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(tunnel.connections.every(({ state }) => state === "registered")).toBe(true);
  });

  it("survives listeners that throw", async () => {
    start();
    tunnel.on("registered", () => {
      throw new Error("mine");
    });
    await advance(5_000);
    expect(tunnel.connections).toHaveLength(4);
  });

  it("emits requests, and hands them to its proxy", async () => {
    start();
    await advance(1_000);
    const asked = request("example.com");
    edge.open[0]?.onRequest(asked);
    expect(handled).toEqual([asked]);
    const outcome = {
      class: "ok",
      kind: "http",
      connIndex: 0,
      method: "GET",
      host: "example.com",
      path: "/",
      status: 200,
      phase: undefined,
      milliseconds: 1,
      error: undefined,
      ray: undefined,
      ingressRule: 0,
    } as const;
    observer.started();
    observer.finished(outcome);
    expect(named("request")).toEqual([[outcome]]);
  });
});

describe("the end of a tunnel", () => {
  it("that gave up rejects both promises with the cause, and closes all", async () => {
    edge.onRegister = () => refused("Tunnel is deleted");
    start();
    const failures: unknown[] = [];
    tunnel.registered.catch((error: unknown) => failures.push(error));
    tunnel.finished.catch((error: unknown) => failures.push(error));
    await advance(100);
    expect(failures).toHaveLength(2);
    expect(failures[0]).toBe(failures[1]);
    expect(failures[0]).toMatchObject({ code: "ERR_UNDERPASS_REGISTRATION_REFUSED" });
    expect(named("closed")).toEqual([[failures[0]]]);
    expect(proxyClosedAt).toBeDefined();
    await expect(tunnel.close()).resolves.toBeUndefined();
  });

  it("nobody needs to look at its promises", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    edge.onRegister = () => refused("Tunnel is deleted");
    start();
    await advance(100);
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
    vi.useFakeTimers();
  });

  it("drains: proxy and promises end after the connections", async () => {
    start();
    await advance(5_000);
    const [first] = edge.open;
    if (first !== undefined) first.openStreams = 1;
    const begun = Date.now();
    const closed = vi.fn();
    void tunnel.close({ grace: 6_000 }).then(closed);
    await advance(5_900);
    expect(proxyClosedAt).toBeUndefined();
    expect(closed).not.toHaveBeenCalled();
    // A request that comes during the drain is served.
    first?.onRequest(request("example.com"));
    expect(handled).toHaveLength(1);
    await advance(200);
    expect(closed).toHaveBeenCalled();
    expect(proxyClosedAt).toBe(begun + 6_000);
    await expect(tunnel.finished).resolves.toBeUndefined();
    expect(named("closed")).toEqual([[undefined]]);
  });

  it("uses the configured grace period, and a second close with less hurries it", async () => {
    start({ config: { gracePeriodMs: 60_000 } });
    await advance(5_000);
    for (const connection of edge.open) connection.openStreams = 1;
    const closed = vi.fn();
    void tunnel.close().then(closed);
    await advance(30_000);
    expect(closed).not.toHaveBeenCalled();
    void tunnel.close({ grace: 100_000 });
    void tunnel.close({ grace: 1_000 });
    await advance(1_010);
    expect(closed).toHaveBeenCalled();
  });

  it.each([Number.NaN, -1])("takes a grace of %d for the configured one", async (grace) => {
    start({ config: { gracePeriodMs: 5_000 } });
    await advance(5_000);
    for (const connection of edge.open) connection.openStreams = 1;
    const closed = vi.fn();
    void tunnel.close({ grace }).then(closed);
    await advance(4_900);
    expect(closed).not.toHaveBeenCalled();
    await advance(200);
    expect(closed).toHaveBeenCalled();
  });

  // Dial 10 ms, registration 20 ms: before, at and after each stage.
  it.each([0, 5, 10, 15, 30, 35, 300, 1_000])(
    "by its signal after %i ms is graceful and leaves nothing",
    async (delay) => {
      const abort = new AbortController();
      start({ runtime: { signal: abort.signal } });
      const outcome = tunnel.registered.then(
        () => "registered",
        (error: unknown) => error,
      );
      await advance(delay);
      const reason = new Error("enough");
      abort.abort(reason);
      await advance(2_000);
      await expect(tunnel.finished).resolves.toBeUndefined();
      if (delay < 30)
        expect(await outcome).toMatchObject({ name: "AbortError", code: "ERR_UNDERPASS_ABORTED", cause: reason });
      else expect(await outcome).toBe("registered");
      expect(edge.open).toEqual([]);
      expect(edge.unregistered.length).toBe(edge.connections.filter(({ client }) => client.unregisterCalls > 0).length);
    },
  );

  it("by a signal that was aborted before is at once, without a dial", async () => {
    start({ runtime: { signal: AbortSignal.abort() } });
    await advance(1);
    await expect(tunnel.finished).resolves.toBeUndefined();
    await expect(tunnel.registered).rejects.toMatchObject({ name: "AbortError" });
    expect(edge.dials).toEqual([]);
  });

  it("by disposal is a close", async () => {
    start();
    await advance(1_000);
    const disposed = tunnel[Symbol.asyncDispose]();
    await advance(3_000);
    await disposed;
    expect(edge.open).toEqual([]);
  });

  it("logs nothing but what happens", async () => {
    start();
    await advance(5_000);
    lines.length = 0;
    void tunnel.close();
    await advance(5_000);
    const told = lines.filter(({ level }) => level !== "debug");
    expect(new Set(told.map(({ message }) => message))).toEqual(new Set(["Unregistered tunnel connection"]));
  });
});

describe("the health check of a tunnel", () => {
  const hostname = "agent.example.com";

  it("probes the public hostname with the configured path", async () => {
    start({
      hostname,
      config: {
        healthCheck: { intervalMs: 30_000, maxFailures: 3, path: "//a?b", serviceToken: undefined, origins: false },
      },
    });
    await advance(31_000);
    expect(probe.mock.calls[0]?.[0].href).toBe("https://agent.example.com//a?b");
  });

  it("probes another URL where one is given", async () => {
    start({ hostname, runtime: { probeUrl: "http://127.0.0.1:1/x" } });
    await advance(31_000);
    expect(probe.mock.calls[0]?.[0].href).toBe("http://127.0.0.1:1/x");
  });

  it("emits ready once, when the probe has come back", async () => {
    probe.mockImplementation(() => Promise.resolve({ status: Date.now() < 3_000 ? 530 : 200, body: "" }));
    start({ hostname });
    await advance(500);
    expect(named("registered").length).toBeGreaterThan(0);
    expect(named("ready")).toEqual([]);
    await advance(100_000);
    expect(named("ready")).toEqual([["https://agent.example.com"]]);
  });

  it("emits ready when a visitor came through the public hostname", async () => {
    probe.mockImplementation(() => Promise.reject(new Error("no way out")));
    start({ hostname });
    await advance(500);
    edge.open[0]?.onRequest(request("other.example.com"));
    expect(named("ready")).toEqual([]);
    edge.open[0]?.onRequest(request("Agent.Example.com"));
    edge.open[0]?.onRequest(request("agent.example.com"));
    expect(named("ready")).toEqual([["https://agent.example.com"]]);
  });

  it("restarts the tunnel, new connections first, and says so", async () => {
    probe.mockImplementation(() => Promise.resolve({ status: 530, body: "error code: 1033" }));
    start({ hostname });
    await advance(90_000);
    const before = [...edge.open];
    expect(before).toHaveLength(4);
    expect(named("restarting")).toMatchObject([[5_000, { code: "ERR_UNDERPASS_HEALTH_CHECK" }]]);
    const warning = lines.find(({ message }) => message.startsWith("Restarting the tunnel in 5s"));
    expect(warning?.level).toBe("warn");
    await advance(10_000);
    expect(before.every(({ closeReason }) => closeReason?.kind === "replaced")).toBe(true);
    expect(edge.open).toHaveLength(4);
  });

  it("reports a degraded hostname when it changes, and does not restart", async () => {
    let status = 302;
    probe.mockImplementation(() => Promise.resolve({ status, body: "" }));
    start({ hostname });
    await advance(200_000);
    status = 404;
    await advance(60_000);
    status = 200;
    await advance(60_000);
    expect(named("degraded")).toMatchObject([
      [{ hostname, status: 302, message: expect.stringContaining("302") }],
      [{ hostname, status: 404 }],
    ]);
    expect(named("restarting")).toEqual([]);
    expect(lines.filter(({ message }) => message === "Health check passes again")).toHaveLength(1);
    expect(edge.connections).toHaveLength(4);
  });

  it("knows an origin's 502 from the edge's by having carried the probe", async () => {
    probe.mockImplementation((url) => {
      observer.started();
      observer.finished({
        class: "origin-refused",
        kind: "http",
        connIndex: 0,
        method: "GET",
        host: url.host,
        path: "/",
        status: 502,
        phase: "connect",
        milliseconds: 1,
        error: undefined,
        ray: undefined,
        ingressRule: 0,
      });
      return Promise.resolve({ status: 502, body: "error code: 502" });
    });
    start({ hostname });
    await advance(300_000);
    expect(named("restarting")).toEqual([]);
    expect(named("degraded")).toHaveLength(1);
  });
});

describe("a process that stood still", () => {
  it("opens new connections at once, and has no timer to catch up with", async () => {
    start();
    await advance(5_000);
    const before = [...edge.open];
    // The machine slept for ten minutes.
    vi.setSystemTime(Date.now() + 600_000);
    await advance(5_000);
    await advance(1_500);
    expect(edge.connections).toHaveLength(8);
    await advance(5_000);
    expect(before.every(({ closeReason }) => closeReason?.kind === "replaced")).toBe(true);
    expect(edge.open).toHaveLength(4);
    await advance(60_000);
    expect(edge.connections).toHaveLength(8);
  });

  it("does not wait out what is left of a long back-off", async () => {
    edge.onDial = () => new Error("no route");
    start({ config: { retries: 1 } });
    await advance(700_000);
    const dials = edge.dials.length;
    edge.onDial = () => undefined;
    vi.setSystemTime(Date.now() + 600_000);
    await advance(6_000);
    expect(edge.dials.length).toBeGreaterThan(dials);
    expect(edge.open).toHaveLength(4);
  });
});

describe("a quick tunnel", () => {
  function startQuick(hostnames: string[]): () => number {
    let asked = 0;
    start({
      config: { haConnections: 1, identity: { mode: "quick", quickService: "https://quick.example.com" } },
      identity: (announce) =>
        new QuickIdentity(
          async () => {
            const hostname = hostnames[asked++];
            if (hostname === undefined) throw new Error("no more");
            return await Promise.resolve({ credentials, hostname });
          },
          (given) => announce(given.hostname),
          recordingLogger().logger,
        ),
    });
    return () => asked;
  }

  it("announces its URL, has one connection, and keeps both over losses and restarts", async () => {
    probe.mockImplementation(() => Promise.resolve({ status: 530, body: "" }));
    const asked = startQuick(["a.example.com", "b.example.com"]);
    await advance(1_000);
    expect(tunnel.url).toBe("https://a.example.com");
    expect(named("url")).toEqual([["https://a.example.com"]]);
    edge.open[0]?.drop();
    await advance(300_000);
    expect(named("restarting").length).toBeGreaterThan(0);
    expect(asked()).toBe(1);
    expect(edge.open).toHaveLength(1);
  });

  it("asks for a new URL when the edge refuses the old one, and announces it", async () => {
    const asked = startQuick(["a.example.com", "b.example.com"]);
    await advance(1_000);
    let gone = true;
    edge.onRegister = () => {
      if (!gone) return registered();
      gone = false;
      return refused("Unauthorized: Tunnel not found");
    };
    edge.open[0]?.drop();
    await advance(20_000);
    expect(asked()).toBe(2);
    expect(tunnel.url).toBe("https://b.example.com");
    expect(named("url")).toEqual([["https://a.example.com"], ["https://b.example.com"]]);
    expect(edge.open).toHaveLength(1);
  });

  it("whose first registration is refused for good asks for one other URL, and registers that", async () => {
    const asked = startQuick(["a.example.com", "b.example.com", "c.example.com"]);
    edge.onRegister = () => (asked() === 1 ? refused("Tunnel is deleted") : registered());
    await advance(10_000);
    expect(asked()).toBe(2);
    expect(named("url")).toEqual([["https://a.example.com"], ["https://b.example.com"]]);
    await expect(tunnel.registered).resolves.toBeUndefined();
    // From now on nothing is final.
    edge.onRegister = () => (asked() === 2 ? refused("Tunnel is deleted") : registered());
    edge.open[0]?.drop();
    await advance(20_000);
    expect(tunnel.url).toBe("https://c.example.com");
    expect(edge.open).toHaveLength(1);
  });

  it("whose second URL is refused for good as well ends with the cause", async () => {
    const asked = startQuick(["a.example.com", "b.example.com", "c.example.com"]);
    edge.onRegister = () => refused("Tunnel is deleted");
    await advance(60_000);
    expect(asked()).toBe(2);
    expect(edge.registrations).toHaveLength(2);
    await expect(tunnel.registered).rejects.toMatchObject({ reason: "Tunnel is deleted" });
    expect(named("closed")).toMatchObject([[{ code: "ERR_UNDERPASS_REGISTRATION_REFUSED" }]]);
  });

  it("that the edge does not know yet keeps its URL for as many attempts as may fail in a row", async () => {
    const asked = startQuick(["a.example.com", "b.example.com"]);
    edge.onRegister = () =>
      edge.registrations.length < 5 ? refused("Unauthorized: Failed to get tunnel") : registered();
    await advance(120_000);
    expect(asked()).toBe(1);
    expect(edge.open).toHaveLength(1);
  });
});

describe("what Cloudflare's records say", () => {
  const FEATURES = "cfd-features.argotunnel.com";
  const PROTOCOLS = "protocol-v2.argotunnel.com";

  it("counts for the connections that register afterwards, and is asked for no more after the end", async () => {
    const resolvers = new FakeResolvers();
    const records = new EdgeRecords({ random: () => 0.5, logger: recordingLogger().logger, resolvers });
    resolvers.txts = { [FEATURES]: '{"dv3_2":0,"skip_prechecks":true}', [PROTOCOLS]: "[]" };
    start({
      records,
      config: { haConnections: 1, healthCheck: { ...defaultTunnelConfig.healthCheck, intervalMs: 0 } },
    });
    await advance(1_000);
    expect(edge.registrations.at(-1)?.features).not.toContain("support_datagram_v3_2");
    expect(tunnel.skipsPrechecks).toBe(true);
    resolvers.txts = { [FEATURES]: '{"dv3_2":100}', [PROTOCOLS]: "[]" };
    await advance(3_600_000);
    expect(edge.registrations).toHaveLength(1);
    edge.open[0]?.drop();
    await advance(10_000);
    expect(edge.registrations).toHaveLength(2);
    expect(edge.registrations.at(-1)?.features).toContain("support_datagram_v3_2");
    const closed = tunnel.close({ grace: 0 });
    await advance(1_000);
    await closed;
    const asked = resolvers.asked.length;
    await advance(10 * 3_600_000);
    expect(resolvers.asked).toHaveLength(asked);
  });

  it("is not waited for", async () => {
    const resolvers = new FakeResolvers();
    resolvers.system = "silent";
    start({ records: new EdgeRecords({ random: () => 0.5, logger: recordingLogger().logger, resolvers }) });
    await advance(100);
    expect(tunnel.connections[0]?.state).toBe("registered");
  });
});
