/** The smaller parts of the connector: what it says of itself, its credentials, its addresses, its clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { QuickTunnelError } from "../../src/account/quick-tunnel.ts";
import { architecture, featuresOf } from "../../src/connector/client-info.ts";
import { watchClock } from "../../src/connector/clock-watch.ts";
import { EdgeAddresses } from "../../src/connector/edge-addresses.ts";
import { namedIdentity, QuickIdentity } from "../../src/connector/identity.ts";
import { ProbeWitness } from "../../src/connector/probe-witness.ts";
import { TunnelEmitter } from "../../src/connector/tunnel-emitter.ts";
import type { Resolvers } from "../../src/edge/discovery.ts";
import type { RequestOutcome } from "../../src/types.ts";
import { credentials, recordingLogger, seededRandom } from "./fake-edge.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
});

afterEach(() => {
  vi.useRealTimers();
});

describe("what a connector says of itself", () => {
  const always = [
    "allow_remote_config",
    "serialized_headers",
    "support_datagram_v2",
    "support_quic_eof",
    "management_logs",
  ];

  it.each([
    ["nothing asked for", [], false, always],
    ["post-quantum", [], true, [...always, "postquantum"]],
    ["extra and doubled features", ["x", "management_logs", "x"], false, [...always, "x"]],
    [
      "withdrawn features",
      ["support_datagram_v3", "support_datagram_v3_1", "support_datagram_v3_2"],
      false,
      [...always, "support_datagram_v3_2"],
    ],
  ])("features with %s", (_name, features, postQuantum, expected) => {
    expect(featuresOf({ features, postQuantum })).toEqual(expected);
  });

  it.each([
    ["linux", "x64", "linux_amd64"],
    ["linux", "arm64", "linux_arm64"],
    ["darwin", "arm64", "darwin_arm64"],
    ["win32", "x64", "windows_amd64"],
    ["linux", "ia32", "linux_386"],
    ["linux", "arm", "linux_arm"],
    ["freebsd", "x64", "freebsd_amd64"],
  ])("%s on %s is %s", (platform, arch, expected) => {
    expect(architecture(platform, arch)).toBe(expected);
  });
});

describe("the credentials of a named tunnel", () => {
  it("never change", async () => {
    const identity = namedIdentity(credentials, "agent.example.com");
    identity.refused("for-good");
    expect(identity.replaceable).toBe(false);
    expect(await identity.credentials(new AbortController().signal)).toEqual({ kind: "credentials", credentials });
    expect(identity.url).toBe("https://agent.example.com");
    expect(namedIdentity(credentials, undefined).url).toBeUndefined();
  });
});

describe("the credentials of a quick tunnel", () => {
  const signal = new AbortController().signal;
  const tunnel = (hostname: string) => ({ credentials, hostname });
  const failure = (code: ConstructorParameters<typeof QuickTunnelError>[0], retryAfterMs?: number) =>
    new QuickTunnelError(code, "no", { retryAfterMs });

  function quick(...answers: (string | Error)[]) {
    const request = vi.fn(async () => {
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return await Promise.resolve(tunnel(String(answer)));
    });
    const urls: string[] = [];
    const { logger, lines } = recordingLogger();
    const identity = new QuickIdentity(request, ({ hostname }) => urls.push(hostname), logger);
    return { identity, request, urls, lines };
  }

  it("are asked for once, by however many connections, and kept", async () => {
    const { identity, request, urls } = quick("a.example.com");
    expect(identity.url).toBeUndefined();
    await Promise.all([identity.credentials(signal), identity.credentials(signal)]);
    await identity.credentials(signal);
    expect(request).toHaveBeenCalledTimes(1);
    expect(urls).toEqual(["a.example.com"]);
    expect(identity.url).toBe("https://a.example.com");
    expect(identity.tunnelId).toBe(credentials.tunnelId);
  });

  it("are still asked for when the connection that wanted them first gives up", async () => {
    const { identity, request } = quick("a.example.com");
    const first = new AbortController();
    const both = Promise.all([identity.credentials(first.signal), identity.credentials(signal)]);
    first.abort();
    expect(await both).toMatchObject([{ kind: "unavailable", final: false }, { kind: "credentials" }]);
    expect(request).toHaveBeenCalledTimes(1);
  });

  it("are replaced, with a new URL, when the edge has refused them", async () => {
    const { identity, urls, lines } = quick("a.example.com", "b.example.com");
    await identity.credentials(signal);
    identity.registered();
    identity.refused("for-good");
    expect(identity.url).toBe("https://a.example.com");
    await identity.credentials(signal);
    expect(urls).toEqual(["a.example.com", "b.example.com"]);
    // The new ones are kept like the first.
    await identity.credentials(signal);
    expect(urls).toHaveLength(2);
    expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  it.each<[string, Error, boolean, number]>([
    ["a rate limit", failure("ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", 60_000), true, 60_000],
    ["a refusal", failure("ERR_UNDERPASS_QUICK_TUNNEL_REFUSED"), true, 0],
    ["a wrong answer", failure("ERR_UNDERPASS_QUICK_TUNNEL_INVALID"), true, 0],
    ["no answer", failure("ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE"), false, 0],
  ])("%s at the start: final is right", async (_name, error, final, retryAfterMs) => {
    const { identity } = quick(error, "a.example.com");
    expect(await identity.credentials(signal)).toEqual({ kind: "unavailable", error, final, retryAfterMs });
    expect((await identity.credentials(signal)).kind).toBe("credentials");
  });

  it("can be replaced once before the first registration, which a service that says no ends", async () => {
    const error = failure("ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", 60_000);
    const { identity, urls } = quick(
      "a.example.com",
      failure("ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE"),
      error,
      "b.example.com",
    );
    await identity.credentials(signal);
    expect(identity.replaceable).toBe(true);
    identity.refused("for-good");
    expect(await identity.credentials(signal)).toMatchObject({ final: false });
    expect(await identity.credentials(signal)).toMatchObject({ error, final: true });
    expect(identity.replaceable).toBe(true);
    await identity.credentials(signal);
    expect(identity.replaceable).toBe(false);
    expect(urls).toEqual(["a.example.com", "b.example.com"]);
  });

  it("that were refused as often as may be retried are replaced, and a service that says no is asked again", async () => {
    const { identity } = quick("a.example.com", failure("ERR_UNDERPASS_QUICK_TUNNEL_REFUSED"), "b.example.com");
    await identity.credentials(signal);
    identity.refused("often");
    expect(await identity.credentials(signal)).toMatchObject({ kind: "unavailable", final: false });
    expect((await identity.credentials(signal)).kind).toBe("credentials");
    expect(identity.replaceable).toBe(true);
  });

  it("a rate limit later is waited for, and the old URL stays until there is a new one", async () => {
    const error = failure("ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", 60_000);
    const { identity } = quick("a.example.com", error, "b.example.com");
    await identity.credentials(signal);
    identity.registered();
    identity.refused("for-good");
    expect(await identity.credentials(signal)).toEqual({
      kind: "unavailable",
      error,
      final: false,
      retryAfterMs: 60_000,
    });
    expect(identity.url).toBe("https://a.example.com");
    await identity.credentials(signal);
    expect(identity.url).toBe("https://b.example.com");
  });
});

describe("the addresses of the edge", () => {
  const { signal } = new AbortController();

  function resolvers(regions: () => string[][]): Resolvers & { calls: string[] } {
    const calls: string[] = [];
    return {
      calls,
      srv: (name) => {
        calls.push(name);
        return Promise.resolve(
          regions().map((_addresses, i) => ({ priority: i, weight: 1, port: 7844, target: `region${i}` })),
        );
      },
      addresses: (host) => {
        calls.push(host);
        const ips = regions()[Number(host.slice(-1))] ?? [];
        return Promise.resolve(ips.map((ip) => ({ ip, family: 4 as const })));
      },
      overTls: () => Promise.reject(new Error("no DNS over TLS")),
    };
  }

  const source = (edge: readonly string[], given: Resolvers, region?: string) =>
    new EdgeAddresses({
      config: { edge, edgeIpVersion: "auto" },
      region,
      random: seededRandom(1),
      logger: recordingLogger().logger,
      resolvers: given,
    });

  it("static ones need no look-up at all", async () => {
    const given = resolvers(() => []);
    const addresses = source(["127.0.0.1:1", "[::1]:2", "127.0.0.1:1"], given);
    const assigned = [await addresses.assign(0, signal), await addresses.assign(1, signal)];
    expect(assigned).toContainEqual({ ip: "127.0.0.1", port: 1, family: 4 });
    expect(addresses.size).toBe(3);
    vi.advanceTimersByTime(10 * 3_600_000);
    await addresses.assign(0, signal);
    expect(given.calls).toEqual([]);
  });

  it("are discovered once for all connections, and kept by each", async () => {
    const given = resolvers(() => [
      ["192.0.2.1", "192.0.2.2"],
      ["198.51.100.1", "198.51.100.2"],
    ]);
    const addresses = source([], given);
    expect(addresses.size).toBe(0);
    const assigned = await Promise.all([0, 1, 2, 3].map((index) => addresses.assign(index, signal)));
    expect(new Set(assigned.map(({ ip }) => ip)).size).toBe(4);
    expect(await addresses.assign(2, signal)).toEqual(assigned[2]);
    expect(given.calls).toEqual(["_v2-origintunneld._tcp.argotunnel.com", "region0", "region1"]);
  });

  it("are still discovered for the others when the connection that asked first gives up", async () => {
    const given = resolvers(() => [["192.0.2.1"], ["198.51.100.1"]]);
    const addresses = source([], given);
    const first = new AbortController();
    const gaveUp = addresses.assign(0, first.signal);
    const other = addresses.assign(1, signal);
    first.abort(new Error("stopped"));
    await expect(gaveUp).rejects.toThrow("stopped");
    expect((await other).port).toBe(7844);
    expect(given.calls).toHaveLength(3);
  });

  it("of a region have its name", async () => {
    const given = resolvers(() => [["192.0.2.1"], ["198.51.100.1"]]);
    await source([], given, "us").assign(0, signal);
    expect(given.calls[0]).toBe("_us-v2-origintunneld._tcp.argotunnel.com");
  });

  it("for a duplicate are of the other region", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const given = resolvers(() => [
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"],
        ["198.51.100.1", "198.51.100.2"],
      ]);
      const addresses = new EdgeAddresses({
        config: { edge: [], edgeIpVersion: "auto" },
        region: undefined,
        random: seededRandom(seed),
        logger: recordingLogger().logger,
        resolvers: given,
      });
      const before = await addresses.assign(0, signal);
      addresses.rotate(0, "duplicate");
      const after = await addresses.assign(0, signal);
      expect(after.ip.slice(0, 4)).not.toBe(before.ip.slice(0, 4));
    }
  });

  it("after a failed dial are others, of any region", async () => {
    const addresses = source(
      [],
      resolvers(() => [["192.0.2.1"], ["198.51.100.1"]]),
    );
    const before = await addresses.assign(0, signal);
    addresses.rotate(0, "unreachable");
    expect(await addresses.assign(0, signal)).not.toEqual(before);
  });

  it("a failed discovery is tried again at the next attempt", async () => {
    let down = true;
    const given = resolvers(() => (down ? [] : [["192.0.2.1"], ["198.51.100.1"]]));
    const addresses = source([], given);
    await expect(addresses.assign(0, signal)).rejects.toMatchObject({ code: "ERR_UNDERPASS_EDGE_DISCOVERY" });
    down = false;
    expect((await addresses.assign(0, signal)).port).toBe(7844);
  });

  it("that can't be found are warned of once, until they have been found again", async () => {
    const { logger, lines } = recordingLogger();
    let down = true;
    const given = resolvers(() => [["192.0.2.1"], ["198.51.100.1"]]);
    const found = [0, 1].map((i) => ({ priority: i, weight: 1, port: 7844, target: `region${i}` }));
    given.srv = () => (down ? Promise.reject(new Error("ESERVFAIL")) : Promise.resolve(found));
    const addresses = new EdgeAddresses({
      config: { edge: [], edgeIpVersion: "auto" },
      region: undefined,
      random: seededRandom(1),
      logger,
      resolvers: given,
    });
    const levels = async (): Promise<string[]> => {
      lines.length = 0;
      await addresses.assign(0, signal).catch(() => {});
      await vi.advanceTimersByTimeAsync(1);
      return lines.map(({ level }) => level);
    };
    expect(await levels()).toEqual(["warn", "warn"]);
    expect(await levels()).toEqual(["debug", "debug"]);
    down = false;
    expect(await levels()).toEqual([]);
    down = true;
    vi.advanceTimersByTime(3_700_000);
    // The look-up, and that it fails while the old addresses stay in use.
    expect(await levels()).toEqual(["warn", "warn", "debug"]);
    vi.advanceTimersByTime(3_700_000);
    expect(await levels()).toEqual(["debug", "debug", "debug"]);
  });

  it("are looked up anew after an hour, without delaying the attempt; unchanged ones are kept", async () => {
    const given = resolvers(() => [
      ["192.0.2.1", "192.0.2.2"],
      ["198.51.100.1", "198.51.100.2"],
    ]);
    const addresses = source([], given);
    const before = await addresses.assign(0, signal);
    vi.advanceTimersByTime(3_700_000);
    given.srv = () => {
      given.calls.push("again");
      return new Promise(() => {});
    };
    expect(await addresses.assign(0, signal)).toEqual(before);
    expect(given.calls).toContain("again");
  });

  it("are looked up anew when as many dials failed as there are addresses; changed ones are used", async () => {
    let regions = [["192.0.2.1"], ["198.51.100.1"]];
    const addresses = source(
      [],
      resolvers(() => regions),
    );
    await addresses.assign(0, signal);
    regions = [["203.0.113.1"], ["203.0.113.2"]];
    vi.advanceTimersByTime(61_000);
    await addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(1);
    expect((await addresses.assign(0, signal)).ip).not.toMatch(/^203/);
    addresses.rotate(0, "unreachable");
    addresses.rotate(0, "unreachable");
    await addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(1);
    addresses.rotate(0, "unreachable");
    expect((await addresses.assign(0, signal)).ip).toMatch(/^203/);
  });
});

describe("the clock", () => {
  it("notices that the process stood still, and nothing else", () => {
    const thaws: number[] = [];
    const stop = watchClock((frozenMs) => thaws.push(frozenMs));
    vi.advanceTimersByTime(3_600_000);
    expect(thaws).toEqual([]);
    // The machine sleeps for ten minutes: timers stand still, the wall clock does not.
    vi.setSystemTime(Date.now() + 600_000);
    vi.advanceTimersByTime(5_000);
    expect(thaws).toEqual([600_000]);
    vi.advanceTimersByTime(60_000);
    // Set back, and forth a little.
    vi.setSystemTime(Date.now() - 600_000);
    vi.advanceTimersByTime(5_000);
    vi.setSystemTime(Date.now() + 10_000);
    vi.advanceTimersByTime(5_000);
    expect(thaws).toEqual([600_000]);
    stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the probe's witness", () => {
  const outcome = (host: string, path: string, kind: RequestOutcome["kind"] = "http"): RequestOutcome => ({
    class: "ok",
    kind,
    connIndex: 0,
    method: "GET",
    host,
    path,
    status: 502,
    phase: undefined,
    milliseconds: 1,
    error: undefined,
    ray: undefined,
    ingressRule: 0,
  });

  it.each([
    ["the same request", outcome("Agent.Example.com", "/health?a"), true],
    ["another path", outcome("agent.example.com", "/health"), false],
    ["another host", outcome("other.example.com", "/health?a"), false],
    ["a WebSocket", outcome("agent.example.com", "/health?a", "websocket"), false],
  ])("counts %s: %s", (_name, request, expected) => {
    const witness = new ProbeWitness();
    witness.note(request);
    expect(witness.sawSince(0)).toBe(false);
    witness.watch(new URL("https://agent.example.com/health?a"));
    const since = performance.now();
    witness.note(request);
    expect(witness.sawSince(since)).toBe(expected);
    expect(witness.sawSince(since + 1)).toBe(false);
  });
});

describe("the emitter", () => {
  it("lets no listener end the tunnel or deafen the others", () => {
    const { logger, lines } = recordingLogger();
    const emitter = new TunnelEmitter(logger);
    const heard: string[] = [];
    const once = (url: string): number => heard.push(`once ${url}`);
    emitter.on("url", () => {
      throw new Error("a listener's own");
    });
    emitter.once("url", once);
    emitter.on("url", (url) => heard.push(url));
    emitter.emit("url", "a");
    emitter.emit("url", "b");
    expect(heard).toEqual(["once a", "a", "b"]);
    expect(lines.map(({ level }) => level)).toEqual(["error", "error"]);
    emitter.off("url", once);
    expect(emitter.has("url")).toBe(true);
    expect(emitter.has("ready")).toBe(false);
  });
});
