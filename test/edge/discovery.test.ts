import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { createServer } from "node:tls";
import { describe, expect, it, vi } from "vitest";
import {
  builtInTargets,
  type DiscoveryOptions,
  discoverBuiltIn,
  discoverEdge,
  orderSrv,
} from "../../src/edge/discovery.ts";
import { queryCloudflare, queryOverTls } from "../../src/edge/dot.ts";
import { EdgeDiscoveryError } from "../../src/edge/errors.ts";
import { type Resolvers, resolveAaaa, resolveSrv, resolveTxt, type SrvRecord } from "../../src/edge/resolvers.ts";
import { resolveStaticEdge } from "../../src/edge/static-edge.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { startDns, type Zone } from "./dns-server.ts";
import { closedPort } from "../ports.ts";

const SRV = "_v2-origintunneld._tcp.argotunnel.com";
const never = (): Promise<never> => new Promise(() => {});

function srv(target: string, priority = 1, weight = 1): SrvRecord {
  return { priority, weight, port: 7844, target };
}

const addresses: Record<string, { ip: string; family: 4 | 6 }[]> = {
  "region1.test": [
    { ip: "2001:db8::1", family: 6 },
    { ip: "192.0.2.1", family: 4 },
  ],
  "region2.test": [{ ip: "192.0.2.2", family: 4 }],
  "region3.test": [{ ip: "192.0.2.3", family: 4 }],
};

function options(
  resolvers: Partial<Resolvers>,
  more: Partial<DiscoveryOptions> = {},
): DiscoveryOptions & { warnings: string[] } {
  const warnings: string[] = [];
  return {
    region: undefined,
    signal: new AbortController().signal,
    random: () => 0.5,
    onWarning: (message) => warnings.push(message),
    warnings,
    resolvers: {
      srv: async () => [srv("region1.test", 1), srv("region2.test", 2)],
      addresses: async (host) => addresses[host] ?? [],
      txt: () => Promise.reject(new Error("no TXT here")),
      aaaa: () => Promise.reject(new Error("no AAAA here")),
      overTls: () => Promise.reject(new Error("no DNS over TLS here")),
      ...resolvers,
    },
    ...more,
  };
}

describe("discoverEdge", () => {
  it("takes the first two targets by priority as regions, each with all its addresses", async () => {
    const asked: string[] = [];
    const found = await discoverEdge(
      options({
        srv: async (name) => {
          asked.push(name);
          return [srv("region3.test", 3), srv("region2.test", 2), srv("region1.test", 1)];
        },
      }),
    );
    expect(asked).toEqual([SRV]);
    expect(found).toEqual({
      regions: [
        [
          { ip: "2001:db8::1", port: 7844, family: 6 },
          { ip: "192.0.2.1", port: 7844, family: 4 },
        ],
        [{ ip: "192.0.2.2", port: 7844, family: 4 }],
      ],
      complete: true,
    });
  });

  it("asks for the region's own name", async () => {
    const asked: string[] = [];
    const srvLookup = async (name: string): Promise<SrvRecord[]> => {
      asked.push(name);
      return [];
    };
    await expect(discoverEdge(options({ srv: srvLookup }, { region: "us" }))).rejects.toThrow(/is "us" a region/);
    expect(asked).toEqual(["_us-v2-origintunneld._tcp.argotunnel.com"]);
  });

  it("goes on with the one region that SRV names, and says so", async () => {
    const call = options({ srv: async () => [srv("region2.test")] });
    expect(await discoverEdge(call)).toEqual({
      regions: [[{ ip: "192.0.2.2", port: 7844, family: 4 }]],
      complete: false,
    });
    expect(call.warnings).toEqual(["SRV names only one region of the edge: all connections go there"]);
  });

  it("counts a target once, an address once, and what is no service not at all", async () => {
    const call = options({
      srv: async () => [
        srv("region1.test", 1),
        srv("Region1.test.", 2),
        srv("", 3),
        { ...srv("region2.test", 4), port: 0 },
        srv("region3.test", 5),
      ],
      addresses: async (host) => [
        ...(addresses[host.toLowerCase().replace(/\.$/, "")] ?? []),
        { ip: "192.0.2.3", family: 4 },
      ],
    });
    const { regions } = await discoverEdge(call);
    expect(regions.map((found) => found.map(({ ip }) => ip))).toEqual([
      ["2001:db8::1", "192.0.2.1", "192.0.2.3"],
      ["192.0.2.3"],
    ]);
    const none = options({ srv: async () => [srv("")] });
    await expect(discoverEdge(none)).rejects.toThrow(/says that there is no edge/);
  });

  it("asks 1.1.1.1 over TLS when the system's resolver fails, and goes on", async () => {
    const call = options({
      srv: () => Promise.reject(new Error("SERVFAIL")),
      addresses: () => Promise.reject(new Error("EAI_AGAIN")),
      overTls: async (name, type) => {
        if (type === "SRV")
          return ["region1.test", "region2.test"].map((target) => ({ type, name, ttl: 1, ...srv(target) }));
        if (type === "A") return [{ type, name, ttl: 1, address: "192.0.2.9" }];
        throw new Error("no such record");
      },
    });
    expect((await discoverEdge(call)).regions).toEqual([
      [{ ip: "192.0.2.9", port: 7844, family: 4 }],
      [{ ip: "192.0.2.9", port: 7844, family: 4 }],
    ]);
    expect(call.warnings).toHaveLength(3);
  });

  it("tells the system resolver's own error when both fail", async () => {
    const original = new Error("queryProtocol ECONNREFUSED");
    const error = await discoverEdge(options({ srv: () => Promise.reject(original) })).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(EdgeDiscoveryError);
    expect(error).toMatchObject({ cause: original, message: expect.stringContaining("ECONNREFUSED") });
  });

  it("goes on with one region where the other has no address, and fails with none", async () => {
    const call = options({ addresses: async (host) => (host === "region2.test" ? (addresses[host] ?? []) : []) });
    const found = await discoverEdge(call);
    expect(found).toEqual({ regions: [[{ ip: "192.0.2.2", port: 7844, family: 4 }]], complete: false });
    expect(call.warnings.at(-1)).toBe("Only one region of the edge has addresses: all connections go there");
    await expect(discoverEdge(options({ addresses: async () => [] }))).rejects.toThrow(
      /no address: region1\.test, region2\.test/,
    );
  });

  it("says why the names have no address, and whether the region may be wrong", async () => {
    const cause = new Error("getaddrinfo EAI_AGAIN");
    const noAddress = discoverEdge(options({ addresses: () => Promise.reject(cause) }));
    await expect(noAddress).rejects.toMatchObject({
      cause,
      message: expect.stringContaining("(getaddrinfo EAI_AGAIN)"),
    });
    const wrongRegion = discoverEdge(
      options({ srv: () => Promise.reject(new Error("ENOTFOUND")) }, { region: "mars" }),
    );
    await expect(wrongRegion).rejects.toThrow(/is "mars" a region\?$/);
  });

  it("waits for a look-up that never ends no longer than its limit, and aborts it", async () => {
    vi.useFakeTimers();
    try {
      const aborted: string[] = [];
      const hang = (what: string, signal: AbortSignal): Promise<never> => {
        signal.addEventListener("abort", () => aborted.push(what));
        return never();
      };
      const call = options({ srv: (_name, signal) => hang("srv", signal), overTls: (_n, type, s) => hang(type, s) });
      const failed = expect(discoverEdge(call)).rejects.toThrow(/no answer within 10 s; is DNS working/);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(aborted).toEqual(["srv"]);
      // DNS over TLS was asked when the system's resolver had been silent for 3 s.
      await vi.advanceTimersByTimeAsync(8_000);
      await failed;
      expect(aborted).toEqual(["srv", "SRV"]);

      const noAddress = options({ addresses: never, overTls: (_name, type, signal) => hang(type, signal) });
      const unresolved = expect(discoverEdge(noAddress)).rejects.toThrow(/have no address/);
      await vi.advanceTimersByTimeAsync(18_000);
      await unresolved;
      await discoverEdge(options({}));
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it("stops at once when it is aborted, even while a look-up hangs", async () => {
    const reason = new Error("enough");
    const broken = (): Promise<never> => Promise.reject(new Error("SERVFAIL"));
    const hangs: Partial<Resolvers>[] = [
      { srv: never },
      { srv: broken, overTls: never },
      { addresses: never },
      { addresses: broken, overTls: never },
    ];
    for (const hanging of hangs) {
      const controller = new AbortController();
      const discovering = discoverEdge(options(hanging, { signal: controller.signal }));
      setImmediate(() => controller.abort(reason));
      await expect(discovering).rejects.toBe(reason);
    }
  });
});

describe("the built-in names", () => {
  it.each([
    [undefined, ["region1.v2.argotunnel.com", "region2.v2.argotunnel.com"]],
    ["us", ["us-region1.v2.argotunnel.com", "us-region2.v2.argotunnel.com"]],
    ["fed", ["fed-region1.v2.argotunnel.com", "fed-region2.v2.argotunnel.com"]],
  ])("of region %s need no SRV record", async (region, names) => {
    const asked: string[] = [];
    const call = options(
      {
        srv: () => Promise.reject(new Error("asked")),
        addresses: async (host) => {
          asked.push(host);
          return [{ ip: `192.0.2.${asked.length}`, family: 4 }];
        },
      },
      { region },
    );
    const { regions } = await discoverBuiltIn(call);
    expect(asked).toEqual(names);
    expect(regions.map(([first]) => first)).toEqual([
      { ip: "192.0.2.1", port: 7844, family: 4 },
      { ip: "192.0.2.2", port: 7844, family: 4 },
    ]);
    expect(builtInTargets(region).map(({ target }) => target)).toEqual(names);
  });
});

describe("orderSrv (RFC 2782)", () => {
  it("puts lower priorities first and draws by weight among equals", () => {
    const records = [srv("c", 2, 1), srv("a", 1, 90), srv("b", 1, 10)];
    const draws = Array.from({ length: 1000 }, (_, i) =>
      orderSrv(records, () => (i + 0.5) / 1000).map((record) => record.target),
    );
    expect(draws.every((order) => order[2] === "c")).toBe(true);
    expect(draws.filter((order) => order[0] === "a")).toHaveLength(900);
  });

  it("gives weight 0 a place", () => {
    expect(orderSrv([srv("a", 1, 0), srv("b", 1, 0)], () => 0).map((record) => record.target)).toEqual(["a", "b"]);
  });
});

describe("resolveStaticEdge", () => {
  it("deals the entries into two regions, each time the same address is a place of its own", async () => {
    const { regions: found, complete } = await resolveStaticEdge(
      ["127.0.0.1:7844", "[::1]:7845", "127.0.0.1:7844", "region2.test:7"],
      options({}),
    );
    expect(complete).toBe(true);
    expect(found).toEqual([
      [
        { ip: "127.0.0.1", port: 7844, family: 4 },
        { ip: "127.0.0.1", port: 7844, family: 4 },
      ],
      [
        { ip: "::1", port: 7845, family: 6 },
        { ip: "192.0.2.2", port: 7, family: 4 },
      ],
    ]);
  });

  it("prefers the IPv4 address of a name, and takes IPv6 where it is the only one", async () => {
    const { regions: found } = await resolveStaticEdge(
      ["region1.test:1", "six.test:2"],
      options({ addresses: async (host) => addresses[host] ?? [{ ip: "2001:db8::6", family: 6 }] }),
    );
    expect(found.flat().map(({ ip }) => ip)).toEqual(["192.0.2.1", "2001:db8::6"]);
  });

  it("skips what can't be resolved with a warning, and fails when nothing is left", async () => {
    const broken: Partial<Resolvers> = { addresses: () => Promise.reject(new Error("ENOTFOUND")) };
    const call = options(broken);
    expect(await resolveStaticEdge(["nowhere.test:1", "127.0.0.1:2"], call)).toEqual({
      regions: [[{ ip: "127.0.0.1", port: 2, family: 4 }]],
      complete: false,
    });
    expect(call.warnings).toEqual(["edge: nowhere.test can't be resolved"]);
    await expect(resolveStaticEdge(["nowhere.test:1"], options(broken))).rejects.toThrow(/none of nowhere\.test:1/);
  });

  it("looks each name up once, warns once of it, and names no more than a few in its error", async () => {
    const asked: string[] = [];
    const entries = ["a.test:1", "a.test:2", "b.test:1", "c.test:1", "a.test:3", "d.test:1", "e.test:1"];
    const call = options({
      addresses: (host) => {
        asked.push(host);
        return Promise.reject(new Error("ENOTFOUND"));
      },
    });
    const error: unknown = await resolveStaticEdge(entries, call).catch((reason: unknown) => reason);
    expect(String(error)).toContain("none of a.test:1, a.test:2, b.test:1 and 4 more can be resolved");
    expect(asked).toEqual(["a.test", "b.test", "c.test", "d.test", "e.test"]);
    expect(call.warnings).toHaveLength(5);
  });

  it.each(["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:7844", "[::1]", ":7844", "host:port"])(
    "refuses %j",
    async (entry) => {
      await expect(resolveStaticEdge([entry], options({}))).rejects.toThrow(/is not host:port/);
    },
  );
});

describe("the system's resolver", () => {
  /** A DNS server on loopback, and a resolver that asks only it. */
  async function withServer(
    answer: (query: Buffer) => Buffer | undefined,
    use: (resolver: Resolver, asked: Promise<void>) => Promise<void>,
  ): Promise<void> {
    const server = createSocket("udp4");
    const asked = new Promise<void>((resolve) => {
      server.on("message", (query, from) => {
        const reply = answer(query);
        if (reply !== undefined) server.send(reply, from.port, from.address);
        resolve();
      });
    });
    await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
    const resolver = new Resolver({ timeout: 60_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${server.address().port}`]);
    try {
      await use(resolver, asked);
    } finally {
      server.close();
    }
  }

  it("is stopped by the signal", async () => {
    const silent = (): undefined => undefined;
    await withServer(silent, async (resolver, asked) => {
      const controller = new AbortController();
      const looking = resolveSrv(resolver, SRV, controller.signal);
      void asked.then(() => controller.abort());
      await expect(looking).rejects.toMatchObject({ code: "ECANCELLED" });
    });
  });
});

describe("c-ares and our own decoder", () => {
  const zone: Zone = {
    "_v2-origintunneld._tcp.argotunnel.com": [
      { type: "SRV", priority: 1, weight: 5, port: 7844, target: "region1.test" },
      { type: "SRV", priority: 2, weight: 0, port: 7844, target: "region2.test" },
    ],
    "cfd-features.argotunnel.com": [{ type: "TXT", texts: ['{"dv3_2":', '10,"skip_prechecks":true}'] }],
    "six.test": [
      { type: "A", bytes: [192, 0, 2, 1] },
      { type: "AAAA", bytes: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
    ],
  };

  it("read the same from the same answers", async () => {
    await using dns = await startDns(zone);
    const resolver = new Resolver();
    resolver.setServers([dns.udp]);
    const { signal } = new AbortController();
    const overTls = (name: string, type: "SRV" | "TXT" | "AAAA") => queryCloudflare(name, type, signal, [dns.tls]);
    const name = "_v2-origintunneld._tcp.argotunnel.com";
    expect(await resolveSrv(resolver, name, signal)).toEqual(
      (await overTls(name, "SRV")).map(({ ttl, type, name: _name, ...record }) => {
        expect([ttl, type]).toEqual([60, "SRV"]);
        return record;
      }),
    );
    const texts = await resolveTxt(resolver, "cfd-features.argotunnel.com", signal);
    expect(texts).toEqual([['{"dv3_2":', '10,"skip_prechecks":true}']]);
    expect(await overTls("cfd-features.argotunnel.com", "TXT")).toMatchObject(
      texts.map((strings) => ({ texts: strings })),
    );
    const six = await resolveAaaa(resolver, "six.test", signal);
    expect(six).toEqual(["2001:db8::1"]);
    expect(await overTls("six.test", "AAAA")).toMatchObject(six.map((address) => ({ address })));
    expect(dns.asked).toHaveLength(6);
    await expect(resolveSrv(resolver, "nothing.test", signal)).rejects.toMatchObject({ code: "ENOTFOUND" });
    await expect(queryCloudflare("nothing.test", "SRV", signal, [dns.tls])).rejects.toThrow("refused with code 3");
  });

  it("find the edge end to end: SRV and addresses from the wire", async () => {
    await using dns = await startDns({
      ...zone,
      "region1.test": [{ type: "A", bytes: [192, 0, 2, 7] }],
      "region2.test": [{ type: "A", bytes: [198, 51, 100, 7] }],
    });
    // The system's resolver is down: all of it comes over TLS.
    const down = (): Promise<never> => Promise.reject(new Error("ECONNREFUSED"));
    const overTls: Resolvers["overTls"] = (name, type, signal) => queryCloudflare(name, type, signal, [dns.tls]);
    const { regions } = await discoverEdge(options({ srv: down, addresses: down, overTls }));
    expect(regions.flat().map(({ ip }) => ip)).toEqual(["192.0.2.7", "198.51.100.7"]);
  });

  it("ask the second server where the first one can't be reached", async () => {
    await using dns = await startDns(zone);
    const gone = { ...dns.tls, port: await closedPort() };
    const { signal } = new AbortController();
    const found = await queryCloudflare("six.test", "A", signal, [gone, dns.tls]);
    expect(found).toMatchObject([{ address: "192.0.2.1" }]);
    await expect(queryCloudflare("six.test", "A", signal, [gone])).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("DNS over TLS", () => {
  /** Answers with the given message behind its length, its id 0000 meaning the query's; in single bytes. "" hangs up. */
  async function resolver(
    answer: string,
    dnsNames: readonly string[] = ["dns.test"],
  ): Promise<{ server: ReturnType<typeof createServer>; port: number; ca: string }> {
    const authority = createAuthority();
    const leaf = authority.issue({ dnsNames });
    const server = createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", (query: Buffer) => {
        if (answer === "") {
          socket.end();
          return;
        }
        const message = Buffer.from(answer.replaceAll(" ", ""), "hex");
        message.writeUInt16BE(message.readUInt16BE(0) ^ query.readUInt16BE(2), 0);
        const framed = Buffer.concat([Buffer.from([0, message.length]), message]);
        for (const byte of framed) socket.write(Buffer.from([byte]));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return { server, port: typeof address === "object" && address !== null ? address.port : 0, ca: authority.certPem };
  }

  const SRV_ANSWER = "0000 8180 0000 0001 0000 0000 0161 00 0021 0001 0000003c 000a 0001 0005 1ea4 02 7231 00";

  async function query(answer: string, servername = "dns.test") {
    const { server, port, ca } = await resolver(answer);
    try {
      return await queryOverTls("a", "SRV", {
        signal: AbortSignal.timeout(5_000),
        server: { host: "127.0.0.1", port, servername, ca },
      });
    } finally {
      server.close();
    }
  }

  it("gives the records", async () => {
    expect(await query(SRV_ANSWER)).toEqual([
      { type: "SRV", name: "a", ttl: 60, priority: 1, weight: 5, port: 7844, target: "r1" },
    ]);
  });

  it.each([
    ["a name error", "0000 8183 0000 0000 0000 0000", /refused with code 3/],
    ["no record", "0000 8180 0000 0000 0000 0000", /no SRV record/],
    ["an answer to another query", SRV_ANSWER.replace("0000", "0001"), /another query/],
    ["silence", "", /closed before an answer came/],
    ["garbage", "0000 0100 0000 ffff 0000 0000", /a query came/],
  ])("fails on %s", async (_name, answer, message) => {
    await expect(query(answer)).rejects.toThrow(message);
  });

  it("refuses another name's certificate, whatever the environment says", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    try {
      await expect(query(SRV_ANSWER, "other.test")).rejects.toThrow(/altnames/);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("names a few of the names that a certificate is for", async () => {
    const names = Array.from({ length: 40 }, (_, i) => `host${i}.test`);
    const { server, port, ca } = await resolver("", names);
    const dotServer = { host: "127.0.0.1", port, servername: "dns.test", ca };
    const asked = queryOverTls("a", "SRV", { signal: AbortSignal.timeout(5_000), server: dotServer });
    await expect(asked).rejects.toThrow(
      /Host: dns\.test\. is not in the cert's altnames: DNS:host0\.test, DNS:host1\.test, DNS:host2\.test and 37 more$/,
    );
    server.close();
  });

  it("fails when nothing listens, and when it is aborted while it waits", async () => {
    const reason = new Error("enough");
    const { server, port, ca } = await resolver("");
    const dotServer = { host: "127.0.0.1", port, servername: "dns.test", ca };
    const controller = new AbortController();
    server.once("connection", () => controller.abort(reason));
    await expect(queryOverTls("a", "SRV", { signal: controller.signal, server: dotServer })).rejects.toBe(reason);
    await expect(queryOverTls("a", "SRV", { signal: controller.signal, server: dotServer })).rejects.toBe(reason);
    await new Promise((resolve) => server.close(resolve));
    const nobody = { ...dotServer, port: await closedPort() };
    const signal = AbortSignal.timeout(5_000);
    await expect(queryOverTls("a", "SRV", { signal, server: nobody })).rejects.toThrow(/ECONNREFUSED/);
  });
});
