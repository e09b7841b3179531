/** Where connections go, in virtual time: look-ups, what serves where they fail, and how addresses change meanwhile. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EdgeAddresses, type EdgeAddressesOptions } from "../../src/connector/edge-addresses.ts";
import type { LastGood, LastGoodAddresses } from "../../src/connector/last-good-addresses.ts";
import type { EdgeAddress } from "../../src/types.ts";
import { recordingLogger, seededRandom } from "./fake-edge.ts";
import { FakeResolvers } from "./fake-resolvers.ts";

const HOUR = 3_600_000;
const { signal } = new AbortController();
const REGIONS = [
  ["192.0.2.1", "192.0.2.2"],
  ["198.51.100.1", "198.51.100.2"],
];
const open: EdgeAddresses[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
});

afterEach(() => {
  for (const addresses of open.splice(0)) addresses.close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

interface Rig {
  readonly addresses: EdgeAddresses;
  readonly resolvers: FakeResolvers;
  readonly lines: ReturnType<typeof recordingLogger>["lines"];
  /** Which families lead anywhere. */
  readonly routes: { 4: boolean; 6: boolean };
  readonly levels: () => string[];
}

function rig(
  resolvers: FakeResolvers,
  options: Partial<EdgeAddressesOptions["config"]> &
    Partial<Pick<EdgeAddressesOptions, "env" | "region" | "lastGood" | "random">> = {},
): Rig {
  const { logger, lines } = recordingLogger();
  const { env = {}, region, lastGood, random = seededRandom(1), ...config } = options;
  const routes = { 4: true, 6: true };
  const addresses = new EdgeAddresses({
    config: { edge: [], edgeIpVersion: "auto", edgeBindAddress: undefined, edgeProxy: undefined, ...config },
    region,
    lastGood,
    random,
    logger,
    resolvers,
    env,
    hasRoute: ({ family }) => Promise.resolve(routes[family]),
  });
  open.push(addresses);
  const levels = (): string[] => lines.splice(0).map(({ level }) => level);
  return { addresses, resolvers, lines, routes, levels };
}

/** A disk that forgets nothing. */
function disk(saved?: readonly (readonly EdgeAddress[])[]) {
  let content: LastGood | undefined =
    saved === undefined ? undefined : { savedAt: "2026-01-01T00:00:00.000Z", regions: saved };
  const written: (readonly (readonly EdgeAddress[])[])[] = [];
  const file: Pick<LastGoodAddresses, "read" | "write"> = {
    read: () => Promise.resolve(content),
    write(regions) {
      written.push(regions);
      content = { savedAt: new Date().toISOString(), regions };
      return Promise.resolve();
    },
  };
  return { file: file as LastGoodAddresses, written };
}

const v4 = (ip: string): EdgeAddress => ({ ip, port: 7844, family: 4 });
const assignAll = (addresses: EdgeAddresses, count: number): Promise<EdgeAddress[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => addresses.assign(index, signal)));
const ips = (found: readonly EdgeAddress[]): string[] => found.map(({ ip }) => ip);
const srvCalls = ({ asked }: FakeResolvers): number => asked.filter((question) => question.startsWith("srv")).length;

describe("the addresses of the edge", () => {
  it("static ones need no look-up at all", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(), { edge: ["127.0.0.1:1", "[::1]:2", "127.0.0.1:1"] });
    const assigned = await assignAll(addresses, 2);
    expect(assigned).toContainEqual({ ip: "127.0.0.1", port: 1, family: 4 });
    expect(addresses.size).toBe(3);
    addresses.networkChanged();
    for (let i = 0; i < 9; i++) addresses.rotate(0, "unreachable");
    await vi.advanceTimersByTimeAsync(10 * HOUR);
    await addresses.assign(0, signal);
    expect(resolvers.asked).toEqual([]);
  });

  it("are discovered once for all connections, and kept by each", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS));
    expect(addresses.size).toBe(0);
    const assigned = await assignAll(addresses, 4);
    expect(new Set(ips(assigned)).size).toBe(4);
    expect(await addresses.assign(2, signal)).toEqual(assigned[2]);
    expect(resolvers.asked).toEqual([
      "srv _v2-origintunneld._tcp.argotunnel.com",
      "addresses region0",
      "addresses region1",
    ]);
  });

  it("are still discovered for the others when the connection that asked first gives up", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS));
    const first = new AbortController();
    const gaveUp = addresses.assign(0, first.signal);
    const other = addresses.assign(1, signal);
    first.abort(new Error("stopped"));
    await expect(gaveUp).rejects.toThrow("stopped");
    expect((await other).port).toBe(7844);
    expect(resolvers.asked).toHaveLength(3);
  });

  it("of a region have its name", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS), { region: "us" });
    await addresses.assign(0, signal);
    expect(resolvers.asked[0]).toBe("srv _us-v2-origintunneld._tcp.argotunnel.com");
  });

  it.each(["duplicate", "silent"] as const)("after a %s connection are of the other region", async (why) => {
    for (let seed = 1; seed <= 20; seed++) {
      const regions = [["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"], REGIONS[1] ?? []];
      const { addresses } = rig(new FakeResolvers(regions), { random: seededRandom(seed) });
      const before = await addresses.assign(0, signal);
      addresses.rotate(0, why);
      const after = await addresses.assign(0, signal);
      expect(after.ip.slice(0, 4)).not.toBe(before.ip.slice(0, 4));
    }
  });

  it("after a failed dial are others, of any region; the only one is given again", async () => {
    const { addresses } = rig(new FakeResolvers([["192.0.2.1"], ["198.51.100.1"]]));
    const before = await addresses.assign(0, signal);
    addresses.rotate(0, "unreachable");
    expect(await addresses.assign(0, signal)).not.toEqual(before);
    const { addresses: single } = rig(new FakeResolvers(), { edge: ["127.0.0.1:1"] });
    for (let i = 0; i < 3; i++) {
      expect(await single.assign(0, signal)).toEqual({ ip: "127.0.0.1", port: 1, family: 4 });
      single.rotate(0, "unreachable");
    }
  });
});

describe("a look-up that fails", () => {
  it("is tried again at the next attempt", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers());
    await expect(addresses.assign(0, signal)).rejects.toMatchObject({ code: "ERR_UNDERPASS_EDGE_DISCOVERY" });
    resolvers.regions = REGIONS;
    expect((await addresses.assign(0, signal)).port).toBe(7844);
  });

  it("is told once, reminded of every ten minutes, and its end is told", async () => {
    const { addresses, levels, lines, resolvers } = rig(new FakeResolvers(REGIONS));
    resolvers.system = new Error("queryA ECONNREFUSED");
    const attempt = (): Promise<unknown> => addresses.assign(0, signal).catch(() => {});
    await attempt();
    expect(lines.filter(({ level }) => level !== "debug")).toMatchObject([
      {
        level: "warn",
        message: "The edge can't be found; trying again until it can",
        fields: { error: expect.stringContaining("ECONNREFUSED") },
      },
    ]);
    levels();
    const told: string[] = [];
    for (let minute = 1; minute <= 25; minute++) {
      await vi.advanceTimersByTimeAsync(60_000);
      await attempt();
      if (levels().includes("warn")) told.push(`${minute} min`);
    }
    expect(told).toEqual(["10 min", "20 min"]);
    resolvers.system = undefined;
    await attempt();
    expect(lines).toMatchObject([
      { level: "info", message: "The edge was found again", fields: { afterSeconds: 1500 } },
    ]);
  });

  it("by the system's resolver is told where DNS over TLS helps out, once", async () => {
    const { addresses, levels, resolvers } = rig(new FakeResolvers(REGIONS));
    resolvers.system = new Error("ESERVFAIL");
    resolvers.tls = undefined;
    const first = await addresses.assign(0, signal);
    expect(REGIONS.flat()).toContain(first.ip);
    expect(levels()).toEqual(["warn", "warn", "warn"]);
    await vi.advanceTimersByTimeAsync(1.2 * HOUR);
    expect(levels()).toEqual(["debug", "debug", "debug"]);
  });

  it("falls back to the built-in names, the region's own", async () => {
    const { addresses, lines, resolvers } = rig(new FakeResolvers(), { region: "us" });
    // A resolver without SRV records, as many routers are.
    resolvers.hosts = {
      "us-region1.v2.argotunnel.com": ["192.0.2.1"],
      "us-region2.v2.argotunnel.com": ["198.51.100.1"],
    };
    expect(ips(await assignAll(addresses, 2)).sort()).toEqual(["192.0.2.1", "198.51.100.1"]);
    expect(lines.find(({ message }) => message.includes("built-in names"))).toMatchObject({ level: "warn" });
  });

  it("falls back to them after six seconds where SRV and DNS over TLS meet with silence", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers());
    resolvers.hosts = { "region1.v2.argotunnel.com": ["192.0.2.1"], "region2.v2.argotunnel.com": ["198.51.100.1"] };
    const never = (): Promise<never> => new Promise(() => {});
    Object.assign(resolvers, { srv: never, overTls: never });
    const assigning = addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(["192.0.2.1", "198.51.100.1"]).toContain((await assigning).ip);
    expect(vi.getTimerCount()).toBe(1);
  });

  it("tells what the system's resolver said, not the last thing that was tried", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers());
    const original = new Error("queryA ETIMEOUT");
    resolvers.system = original;
    await expect(addresses.assign(0, signal)).rejects.toMatchObject({ cause: original });
  });

  it("of an entry of several is tried again before an hour is over", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(), { edge: ["127.0.0.1:1", "late.test:2"] });
    await addresses.assign(0, signal);
    expect(addresses.size).toBe(1);
    const sizes: number[] = [];
    addresses.onMore = () => void sizes.push(addresses.size);
    resolvers.hosts = { "late.test": ["127.0.0.2"] };
    await vi.advanceTimersByTimeAsync(70_000);
    expect(sizes).toEqual([2]);
  });
});

it("a first look-up that takes long is told of once", async () => {
  const { addresses, lines, resolvers } = rig(new FakeResolvers(REGIONS));
  resolvers.system = "silent";
  const slow = (): number => lines.filter(({ message }) => message.startsWith("Looking up the edge takes long")).length;
  for (let attempt = 0; attempt < 2; attempt++) {
    const assigning = addresses.assign(0, signal).catch(() => {});
    await vi.advanceTimersByTimeAsync(4_900);
    expect(slow()).toBe(attempt);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(slow()).toBe(1);
    await assigning;
  }
});

describe("the last good addresses", () => {
  const saved = [[v4("203.0.113.1")], [v4("203.0.113.2")]];

  it("of this process serve while look-ups fail, without a word above debug", async () => {
    const { addresses, levels, resolvers } = rig(new FakeResolvers(REGIONS));
    const before = await assignAll(addresses, 4);
    resolvers.system = new Error("ESERVFAIL");
    await vi.advanceTimersByTimeAsync(3 * HOUR);
    expect(srvCalls(resolvers)).toBeGreaterThan(3);
    expect(await assignAll(addresses, 4)).toEqual(before);
    expect(new Set(levels())).toEqual(new Set(["debug"]));
  });

  it("are written when a connection has registered there, and not again until they are others", async () => {
    const { file, written } = disk();
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS), { lastGood: file });
    await addresses.assign(0, signal);
    expect(written).toEqual([]);
    for (let i = 0; i < 3; i++) addresses.registered();
    await vi.advanceTimersByTimeAsync(2.5 * HOUR);
    addresses.registered();
    expect(written.map((regions) => regions.map(ips))).toEqual([REGIONS]);
    resolvers.regions = [["192.0.2.9"], ["198.51.100.9"]];
    await vi.advanceTimersByTimeAsync(1.2 * HOUR);
    expect(written).toHaveLength(1);
    addresses.registered();
    expect(written).toHaveLength(2);
  });

  it("are looked up anew within seconds where nobody has registered at them, and after a minute where somebody has", async () => {
    for (const isProven of [false, true]) {
      const { addresses, resolvers } = rig(new FakeResolvers(REGIONS));
      const failAll = async (): Promise<void> => {
        for (let i = 0; i < REGIONS.flat().length; i++) {
          await addresses.assign(0, signal);
          addresses.rotate(0, "unreachable");
        }
        await addresses.assign(0, signal);
      };
      await addresses.assign(0, signal);
      if (isProven) addresses.registered();
      const before = srvCalls(resolvers);
      await vi.advanceTimersByTimeAsync(11_000);
      await failAll();
      expect(srvCalls(resolvers) - before).toBe(isProven ? 0 : 1);
    }
  });

  it("on disk serve where nothing can be looked up, before the built-in names, and fresh ones replace them", async () => {
    const { addresses, lines, resolvers } = rig(new FakeResolvers(REGIONS), { lastGood: disk(saved).file });
    resolvers.system = new Error("ESERVFAIL");
    expect(ips(await assignAll(addresses, 2)).sort()).toEqual(["203.0.113.1", "203.0.113.2"]);
    expect(resolvers.asked.some((question) => question.includes("region1.v2"))).toBe(false);
    const warned = lines.filter(({ level }) => level === "warn");
    expect(warned).toMatchObject([
      { fields: { savedAt: "2026-01-01T00:00:00.000Z", error: expect.stringContaining("ESERVFAIL") } },
    ]);
    // Looked up again within minutes, not hours.
    resolvers.system = undefined;
    await vi.advanceTimersByTimeAsync(70_000);
    expect(lines.at(-1)).toMatchObject({ level: "info", message: "The edge was found again" });
    expect(REGIONS.flat()).toContain((await addresses.assign(0, signal)).ip);
  });

  it("on disk serve where a look-up takes its time; it goes on beside", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS), { lastGood: disk(saved).file });
    resolvers.system = "silent";
    const assigning = addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(3_000);
    expect((await assigning).ip).toMatch(/^203\.0\.113/);
    await vi.advanceTimersByTimeAsync(30_000);
  });

  it("on disk that all fail give way to the built-in names", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS), { lastGood: disk(saved).file });
    resolvers.regions = [];
    resolvers.hosts = { "region1.v2.argotunnel.com": ["192.0.2.77"] };
    for (let i = 0; i < 2; i++) {
      expect((await addresses.assign(0, signal)).ip).toMatch(/^203/);
      addresses.rotate(0, "unreachable");
    }
    await vi.advanceTimersByTimeAsync(61_000);
    addresses.rotate(0, "unreachable");
    await addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(1);
    addresses.rotate(0, "unreachable");
    expect((await addresses.assign(0, signal)).ip).toBe("192.0.2.77");
  });

  it("on disk are of no use where they are of the other family, and not needed where a look-up works", async () => {
    const { file } = disk(saved);
    const broken = rig(new FakeResolvers(), { lastGood: file, edgeIpVersion: "6" });
    await expect(broken.addresses.assign(0, signal)).rejects.toMatchObject({ code: "ERR_UNDERPASS_EDGE_DISCOVERY" });
    const { addresses } = rig(new FakeResolvers(REGIONS), { lastGood: file });
    expect(REGIONS.flat()).toContain((await addresses.assign(0, signal)).ip);
  });
});

describe("the hourly look-up", () => {
  it("comes about every hour, not on the minute, without delaying an attempt; unchanged addresses are kept", async () => {
    const times: number[][] = [];
    for (const seed of [1, 2]) {
      const { addresses, resolvers } = rig(new FakeResolvers(REGIONS), { random: seededRandom(seed) });
      const before = await assignAll(addresses, 4);
      const at: number[] = [];
      const start = Date.now();
      const { srv } = resolvers;
      Object.assign(resolvers, {
        srv: (...args: Parameters<typeof srv>) => {
          at.push((Date.now() - start) / HOUR);
          return srv(...args);
        },
      });
      await vi.advanceTimersByTimeAsync(3.4 * HOUR);
      expect(at.length).toBe(3);
      at.forEach((hours, i) => expect(Math.abs(hours - (i + 1))).toBeLessThanOrEqual(0.1 * (i + 1)));
      times.push(at);
      expect(await assignAll(addresses, 4)).toEqual(before);
    }
    expect(times[0]).not.toEqual(times[1]);
  });

  it("brings new addresses into use; who has one that is gone leaves it with its next attempt", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers([["192.0.2.1"], ["198.51.100.1"]]));
    const before = await assignAll(addresses, 2);
    const kept = before.findIndex(({ ip }) => ip === "192.0.2.1");
    resolvers.regions = [["192.0.2.1"], ["203.0.113.1"]];
    await vi.advanceTimersByTimeAsync(1.2 * HOUR);
    const after = await assignAll(addresses, 2);
    expect(after[kept]).toEqual(before[kept]);
    expect(after[1 - kept]?.ip).toBe("203.0.113.1");
  });

  it("comes sooner when as many dials failed as there are addresses", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers([["192.0.2.1"], ["198.51.100.1"]]));
    await addresses.assign(0, signal);
    resolvers.regions = [["203.0.113.1"], ["203.0.113.2"]];
    await vi.advanceTimersByTimeAsync(61_000);
    await addresses.assign(0, signal);
    expect(srvCalls(resolvers)).toBe(1);
    addresses.rotate(0, "unreachable");
    addresses.rotate(0, "unreachable");
    await addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(1);
    addresses.rotate(0, "unreachable");
    expect((await addresses.assign(0, signal)).ip).toMatch(/^203/);
  });

  it("comes at once in another network", async () => {
    const { addresses, resolvers } = rig(new FakeResolvers(REGIONS));
    addresses.networkChanged();
    expect(resolvers.asked).toEqual([]);
    await addresses.assign(0, signal);
    addresses.networkChanged();
    await vi.advanceTimersByTimeAsync(1);
    expect(srvCalls(resolvers)).toBe(2);
  });

  it("ends with the tunnel, one under way too", async () => {
    const { addresses, lines, resolvers } = rig(new FakeResolvers(REGIONS));
    await addresses.assign(0, signal);
    resolvers.system = "silent";
    addresses.networkChanged();
    addresses.close();
    await vi.advanceTimersByTimeAsync(5 * HOUR);
    expect(srvCalls(resolvers)).toBe(2);
    expect(lines).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("families", () => {
  const DUAL = [
    ["2001:db8:1::1", "2001:db8:1::2", "192.0.2.1", "192.0.2.2"],
    ["2001:db8:2::1", "2001:db8:2::2", "198.51.100.1", "198.51.100.2"],
  ];

  it("without a route are left out", async () => {
    const { addresses, routes } = rig(new FakeResolvers(DUAL));
    routes[6] = false;
    expect(new Set((await assignAll(addresses, 4)).map(({ family }) => family))).toEqual(new Set([4]));
  });

  it("follow the bind address for static entries too, and a proxy needs none", async () => {
    const edge = ["127.0.0.1:1", "[::1]:2"];
    for (const [edgeBindAddress, family] of [
      ["127.0.0.1", 4],
      ["::1", 6],
    ] as const) {
      const { addresses } = rig(new FakeResolvers(), { edge, edgeBindAddress });
      expect((await addresses.assign(0, signal)).family).toBe(family);
    }
    const proxy = rig(new FakeResolvers([["192.0.2.1"]]), {
      edgeProxy: { kind: "http", host: "127.0.0.1", port: 1 } as never,
    });
    Object.assign(proxy.routes, { 4: false });
    expect((await proxy.addresses.assign(0, signal)).ip).toBe("192.0.2.1");
    expect(proxy.resolvers.asked.some((question) => question.startsWith("aaaa"))).toBe(false);
  });

  it("without a route are not left out where HTTPS_PROXY may be the way", async () => {
    const env = { HTTPS_PROXY: "http://proxy.test:3128" };
    const { addresses, resolvers, routes } = rig(new FakeResolvers(REGIONS), { env });
    routes[4] = false;
    await addresses.assign(0, signal);
    addresses.rotate(0, "unreachable");
    expect((await addresses.assign(0, signal)).family).toBe(4);
    expect(resolvers.asked).not.toContain("aaaa ipv4only.arpa");
  });

  it("on a network with IPv6 alone include what its NAT64 makes of IPv4 addresses", async () => {
    const { addresses, lines, resolvers, routes } = rig(new FakeResolvers(REGIONS));
    routes[4] = false;
    await addresses.assign(0, signal);
    addresses.rotate(0, "unreachable");
    resolvers.aaaas = ["64:ff9b::c000:aa", "64:ff9b::c000:ab"];
    const found = await assignAll(addresses, 4);
    expect(found.map(({ family }) => family)).toEqual([6, 6, 6, 6]);
    expect(ips(found).sort()).toEqual([
      "64:ff9b::c000:201",
      "64:ff9b::c000:202",
      "64:ff9b::c633:6401",
      "64:ff9b::c633:6402",
    ]);
    // An address and its form for NAT64 are one place, not two.
    expect(addresses.size).toBe(4);
    expect(lines.filter(({ level }) => level === "info")).toHaveLength(1);
    // They stay with the hourly look-up, and go with the network.
    await vi.advanceTimersByTimeAsync(1.2 * HOUR);
    expect(await assignAll(addresses, 4)).toEqual(found);
    Object.assign(routes, { 4: true });
    addresses.networkChanged();
    expect((await assignAll(addresses, 4)).map(({ family }) => family)).toEqual([4, 4, 4, 4]);
  });

  it("on such a network without NAT64 are those that there are: the dial tells what is wrong", async () => {
    const { addresses, resolvers, routes } = rig(new FakeResolvers(), { edge: ["192.0.2.1:7844"] });
    routes[4] = false;
    expect((await addresses.assign(0, signal)).ip).toBe("192.0.2.1");
    expect(addresses.size).toBe(1);
    // Nothing is asked before a dial has failed.
    expect(resolvers.asked).toEqual([]);
    addresses.rotate(0, "unreachable");
    expect((await addresses.assign(0, signal)).ip).toBe("192.0.2.1");
    expect(resolvers.asked).toEqual(["aaaa ipv4only.arpa"]);
    resolvers.system = "silent";
    const other = rig(resolvers, { edge: ["192.0.2.1:7844"] });
    other.routes[4] = false;
    other.addresses.rotate(0, "unreachable");
    const assigning = other.addresses.assign(0, signal);
    await vi.advanceTimersByTimeAsync(3_000);
    expect((await assigning).ip).toBe("192.0.2.1");
  });
});
