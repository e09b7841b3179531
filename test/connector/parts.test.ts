/** The smaller parts of the connector: what it says of itself, its credentials, its clock. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { QuickTunnelError } from "../../src/account/quick-tunnel.ts";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { architecture, datagramVersion, featuresOf } from "../../src/connector/client-info.ts";
import { watchClock } from "../../src/connector/clock-watch.ts";
import { namedIdentity, QuickIdentity } from "../../src/connector/identity.ts";
import { ProbeWitness } from "../../src/connector/probe-witness.ts";
import { TunnelEmitter } from "../../src/connector/tunnel-emitter.ts";
import type { RequestOutcome } from "../../src/types.ts";
import { credentials, recordingLogger } from "./fake-edge.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
});

afterEach(() => {
  vi.useRealTimers();
});

describe("what a connector says of itself", () => {
  const { management } = defaultTunnelConfig;
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
    expect(featuresOf({ features, postQuantum, management }, false)).toEqual(expected);
  });

  it("a connector without the management service does not announce it", () => {
    const features = featuresOf({ features: ["management_logs"], postQuantum: false, management: undefined }, false);
    expect(features).toEqual(always.filter((feature) => feature !== "management_logs"));
  });

  it.each([
    ["by nobody's wish", [], 3, "support_datagram_v3_2"],
    ["that were asked for anyway", ["support_datagram_v3_2"], 3, "support_datagram_v3_2"],
    ["against the owner's wish", ["support_datagram_v2"], 2, undefined],
  ] as const)("datagrams of version 3 that Cloudflare has on, %s", (_name, features, version, last) => {
    const announced = featuresOf({ features, management, postQuantum: false }, true);
    expect(announced.filter((feature) => !always.includes(feature))).toEqual(last === undefined ? [] : [last]);
    expect(datagramVersion(announced)).toBe(version);
    expect(datagramVersion(featuresOf({ features: [], management, postQuantum: false }, false))).toBe(2);
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
