/** Finding the edge and choosing among its addresses, as the connections of a whole tunnel have it; in virtual time, without a network. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Deadline } from "../../../src/connector/drain.ts";
import { EdgeAddresses, type EdgeAddressesOptions } from "../../../src/connector/edge-addresses.ts";
import { Supervisor, type SupervisorOptions } from "../../../src/connector/supervisor.ts";
import { FakeEdge, fakeParts, recordingLogger, seededRandom } from "../fake-edge.ts";
import { FakeResolvers } from "../fake-resolvers.ts";

const MINUTE = 60_000;
const ten = (prefix: string): string[] => Array.from({ length: 10 }, (_, i) => `${prefix}${i + 1}`);
const regionOf = (ip: string): number => (/^(?:192\.0\.2\.|2001:db8:1:)/.test(ip) ? 1 : 2);

class Rig {
  readonly edge = new FakeEdge();
  readonly resolvers = new FakeResolvers([ten("192.0.2."), ten("198.51.100.")]);
  readonly routes = { 4: true, 6: true };
  readonly gaveUp: Error[] = [];
  readonly log = recordingLogger();
  addresses: EdgeAddresses | undefined;
  supervisor: Supervisor | undefined;

  start(
    given: {
      seed?: number;
      config?: Partial<EdgeAddressesOptions["config"]>;
      options?: Partial<SupervisorOptions>;
    } = {},
  ): void {
    const { seed = 1, config, options } = given;
    const random = seededRandom(seed);
    const addresses = new EdgeAddresses({
      config: { edge: [], edgeIpVersion: "auto", edgeBindAddress: undefined, edgeProxy: undefined, ...config },
      region: undefined,
      random,
      logger: this.log.logger,
      resolvers: this.resolvers,
      env: {},
      hasRoute: ({ family }) => Promise.resolve(this.routes[family]),
    });
    this.addresses = addresses;
    this.supervisor = new Supervisor(
      fakeParts(this.edge, { addresses, random }),
      {
        haConnections: 4,
        retries: 5,
        rpcTimeoutMs: 5_000,
        gracePeriodMs: 30_000,
        connectorId: "99999999-8888-4777-8666-555555555555",
        features: () => [],
        version: "1.2.3",
        arch: "linux_amd64",
        onRequest: () => {},
        ...options,
      },
      {
        registered() {},
        disconnected() {},
        unregistered() {},
        failed() {},
        retrying() {},
        gaveUp: (error) => void this.gaveUp.push(error),
      },
      this.log.logger,
    );
    this.supervisor.start();
  }

  get registered(): number {
    return this.supervisor?.registeredConnections ?? 0;
  }

  /** Of the connections that are open. */
  get ips(): string[] {
    return this.edge.open.map(({ remoteAddress }) => remoteAddress.replace(/:\d+$/, ""));
  }

  get told(): string[] {
    return this.log.lines.filter(({ level }) => level !== "debug").map(({ level, message }) => `${level} ${message}`);
  }

  async stop(): Promise<void> {
    const stopped = this.supervisor?.stop(new Deadline(0));
    await vi.advanceTimersByTimeAsync(10_000);
    await stopped;
    this.addresses?.close();
  }
}

const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

let rig: Rig;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  rig = new Rig();
});

afterEach(async () => {
  await rig.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("two regions of ten addresses", () => {
  it.each([1, 2, 3, 4, 5])(
    "row 1: four connections go two to each, to four addresses; the first alone, then one every 250 ms (seed %i)",
    async (seed) => {
      rig.start({ seed });
      await advance(5_000);
      expect(rig.registered).toBe(4);
      expect(new Set(rig.ips).size).toBe(4);
      expect(rig.ips.map(regionOf).sort((a, b) => a - b)).toEqual([1, 1, 2, 2]);
      const [first = Number.NaN, ...others] = rig.edge.dials.map(({ at }) => at);
      const registeredAt = first + rig.edge.dialDelayMs + rig.edge.registerDelayMs;
      expect(others).toEqual([registeredAt, registeredAt + 250, registeredAt + 500]);
    },
  );

  it("row 1: with one region lost, all four find a place in the other", async () => {
    rig.edge.onDial = (_connIndex, { ip }) => (regionOf(ip) === 1 ? new Error("ETIMEDOUT") : undefined);
    rig.start();
    await advance(MINUTE);
    expect(rig.registered).toBe(4);
    expect(rig.ips.map(regionOf)).toEqual([2, 2, 2, 2]);
    expect(new Set(rig.ips).size).toBe(4);
  });
});

describe("DNS", () => {
  it("row 2: a resolver that never answers is answered for over TLS, within 15 s", async () => {
    rig.resolvers.system = "silent";
    rig.resolvers.tls = undefined;
    rig.start();
    await advance(15_000);
    expect(rig.registered).toBe(4);
    expect(rig.resolvers.asked.filter((question) => question.startsWith("tls SRV"))).toHaveLength(1);
  });

  it("row 2: what the resolver said is the cause of the error that is told, whatever failed after it", async () => {
    const original = Object.assign(new Error("querySrv ETIMEOUT"), { code: "ETIMEOUT" });
    rig.resolvers.system = original;
    rig.start({ options: { exitOnFailure: true, retries: 2 } });
    await advance(MINUTE);
    expect(rig.gaveUp).toHaveLength(1);
    expect(rig.gaveUp[0]).toMatchObject({ code: "ERR_UNDERPASS_EDGE_DISCOVERY", cause: original });
    expect(rig.gaveUp[0]?.message).toContain("querySrv ETIMEOUT");
  });

  it("row 3: one region is enough to go on, with a line that says so", async () => {
    rig.resolvers.regions = [ten("192.0.2.")];
    rig.start();
    await advance(5_000);
    expect(rig.registered).toBe(4);
    expect(rig.told.filter((line) => line.includes("one region"))).toEqual([
      "warn SRV names only one region of the edge: all connections go there",
    ]);
    // The other one is looked for sooner than in an hour, and used from then on.
    rig.resolvers.regions = [ten("192.0.2."), ten("198.51.100.")];
    await advance(2 * MINUTE);
    rig.edge.open[0]?.drop();
    await advance(MINUTE);
    expect(rig.registered).toBe(4);
    expect(rig.addresses?.size).toBe(20);
  });

  it("row 3: no region at all keeps the tunnel trying, which says so once and no more than every ten minutes", async () => {
    rig.resolvers.system = new Error("querySrv ECONNREFUSED");
    rig.start();
    await advance(25 * MINUTE);
    expect(rig.edge.dials).toEqual([]);
    expect(rig.gaveUp).toEqual([]);
    expect(rig.told.filter((line) => line.includes("can't be found"))).toHaveLength(3);
    expect(rig.told.length).toBeLessThanOrEqual(6);
    // It comes up by itself, at the latest after the longest wait.
    rig.resolvers.system = undefined;
    await advance(6 * MINUTE);
    expect(rig.registered).toBe(4);
    expect(rig.told).toContain("info The edge was found again");
  });
});

describe("a network that changes", () => {
  it("row 17: from IPv4 to IPv6 alone: connections come back over IPv6, and no dial goes to IPv4", async () => {
    rig.resolvers.regions = [
      [...ten("192.0.2."), ...ten("2001:db8:1::")],
      [...ten("198.51.100."), ...ten("2001:db8:2::")],
    ];
    rig.routes[6] = false;
    rig.start();
    await advance(MINUTE);
    expect(rig.ips.every((ip) => !ip.includes(":"))).toBe(true);
    Object.assign(rig.routes, { 4: false, 6: true });
    rig.addresses?.networkChanged();
    rig.edge.dials.length = 0;
    for (const connection of rig.edge.open) connection.drop(new Error("ENETUNREACH"));
    await advance(MINUTE);
    expect(rig.registered).toBe(4);
    expect(rig.edge.dials.length).toBeGreaterThan(0);
    expect(rig.edge.dials.filter(({ ip }) => !ip.includes(":"))).toEqual([]);
    expect(rig.ips.map(regionOf).sort((a, b) => a - b)).toEqual([1, 1, 2, 2]);
  });

  it("row 17: to IPv6 alone with an edge of IPv4 alone: through the network's NAT64", async () => {
    rig.resolvers.aaaas = ["64:ff9b::c000:aa", "64:ff9b::c000:ab"];
    rig.start();
    await advance(MINUTE);
    Object.assign(rig.routes, { 4: false });
    rig.addresses?.networkChanged();
    for (const connection of rig.edge.open) connection.drop(new Error("ENETUNREACH"));
    await advance(MINUTE);
    expect(rig.registered).toBe(4);
    expect(rig.ips.every((ip) => ip.startsWith("64:ff9b::"))).toBe(true);
  });

  it("row 17: IPv6 that leads nowhere, though there is a route, gives way to IPv4", async () => {
    rig.resolvers.regions = [
      [...ten("2001:db8:1::"), ...ten("192.0.2.")],
      [...ten("2001:db8:2::"), ...ten("198.51.100.")],
    ];
    rig.edge.onDial = (_connIndex, { family }) => (family === 6 ? new Error("ETIMEDOUT") : undefined);
    rig.start();
    await advance(MINUTE);
    expect(rig.registered).toBe(4);
    // One for each region shows it.
    expect(rig.edge.dials.filter(({ ip }) => ip.includes(":"))).toHaveLength(2);
  });
});

describe("addresses that come late", () => {
  it("get their connections: an entry of --edge whose name could not be resolved at the start", async () => {
    rig.resolvers.hosts = { "a.test": ["192.0.2.1"] };
    rig.start({ config: { edge: ["a.test:7844", "b.test:7844", "c.test:7844"] } });
    await advance(30_000);
    expect(rig.registered).toBe(1);
    rig.resolvers.hosts = { "a.test": ["192.0.2.1"], "b.test": ["198.51.100.1"], "c.test": ["192.0.2.3"] };
    await advance(2 * MINUTE);
    expect(rig.registered).toBe(3);
    expect(rig.edge.connections.map(({ connIndex }) => connIndex)).toEqual([0, 1, 2]);
  });
});

describe("the only address", () => {
  it("that refuses is dialled with growing waits, not in a loop, and the rest of the machine has its peace", async () => {
    rig.edge.onDial = () => new Error("ECONNREFUSED");
    rig.start({ config: { edge: ["127.0.0.1:7844"] } });
    await advance(30 * MINUTE);
    expect(rig.edge.dials.length).toBeLessThan(100);
    expect(rig.edge.dials.length).toBeGreaterThan(10);
    rig.edge.onDial = () => undefined;
    await advance(6 * MINUTE);
    expect(rig.registered).toBe(1);
  });

  it("that refuses ends a tunnel that is told to give up, but not one that has a connection", async () => {
    rig.edge.onDial = (connIndex) => (connIndex === 0 ? undefined : new Error("ECONNREFUSED"));
    rig.start({ config: { edge: ["127.0.0.1:7844", "127.0.0.1:7845"] }, options: { exitOnFailure: true } });
    await advance(30 * MINUTE);
    expect(rig.gaveUp).toEqual([]);
    expect(rig.registered).toBe(1);
    rig.edge.onDial = () => new Error("ECONNREFUSED");
    rig.edge.open[0]?.drop();
    await advance(30 * MINUTE);
    expect(rig.gaveUp[0]?.message).toContain("ECONNREFUSED");
  });
});
