import { createServer } from "node:tls";
import { describe, expect, it } from "vitest";
import {
  type DiscoveryOptions,
  discoverEdge,
  EdgeDiscoveryError,
  orderSrv,
  type Resolvers,
  resolveStaticEdge,
  type SrvRecord,
} from "../../src/edge/discovery.ts";
import { queryOverTls } from "../../src/edge/dot.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";

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
    expect(found).toEqual([
      [
        { ip: "2001:db8::1", port: 7844, family: 6 },
        { ip: "192.0.2.1", port: 7844, family: 4 },
      ],
      [{ ip: "192.0.2.2", port: 7844, family: 4 }],
    ]);
  });

  it("asks for the region's own name", async () => {
    const asked: string[] = [];
    const srvLookup = async (name: string): Promise<SrvRecord[]> => {
      asked.push(name);
      return [srv("region1.test")];
    };
    await expect(discoverEdge(options({ srv: srvLookup }, { region: "us" }))).rejects.toThrow(/is "us" a region/);
    expect(asked).toEqual(["_us-v2-origintunneld._tcp.argotunnel.com"]);
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
    expect(await discoverEdge(call)).toEqual([
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
    expect(await discoverEdge(call)).toEqual([[{ ip: "192.0.2.2", port: 7844, family: 4 }]]);
    expect(call.warnings).toEqual(["Only one region of the edge has addresses"]);
    await expect(discoverEdge(options({ addresses: async () => [] }))).rejects.toThrow(
      /no address: region1\.test, region2\.test/,
    );
  });

  it("stops at once when it is aborted, even while a look-up hangs", async () => {
    const reason = new Error("enough");
    for (const hanging of [{ srv: never }, { addresses: never }] satisfies Partial<Resolvers>[]) {
      const controller = new AbortController();
      const discovering = discoverEdge(options(hanging, { signal: controller.signal }));
      setImmediate(() => controller.abort(reason));
      await expect(discovering).rejects.toBe(reason);
    }
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
    const found = await resolveStaticEdge(
      ["127.0.0.1:7844", "[::1]:7845", "127.0.0.1:7844", "region2.test:7"],
      options({}),
    );
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

  it("skips what can't be resolved with a warning, and fails when nothing is left", async () => {
    const broken: Partial<Resolvers> = { addresses: () => Promise.reject(new Error("ENOTFOUND")) };
    const call = options(broken);
    expect(await resolveStaticEdge(["nowhere.test:1", "127.0.0.1:2"], call)).toEqual([
      [{ ip: "127.0.0.1", port: 2, family: 4 }],
    ]);
    expect(call.warnings).toEqual(["edge: nowhere.test can't be resolved"]);
    await expect(resolveStaticEdge(["nowhere.test:1"], options(broken))).rejects.toThrow(/none of nowhere\.test:1/);
  });

  it.each(["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:7844", "[::1]", ":7844", "host:port"])(
    "refuses %j",
    async (entry) => {
      await expect(resolveStaticEdge([entry], options({}))).rejects.toThrow(/is not host:port/);
    },
  );
});

describe("DNS over TLS", () => {
  /** Answers with the given message behind its length, the query's id put in; in single bytes. */
  async function resolver(
    answer: string,
  ): Promise<{ server: ReturnType<typeof createServer>; port: number; ca: string }> {
    const authority = createAuthority();
    const leaf = authority.issue({ dnsNames: ["dns.test"] });
    const server = createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", (query: Buffer) => {
        const message = Buffer.from(answer.replaceAll(" ", ""), "hex");
        query.copy(message, 0, 2, 4);
        const framed = Buffer.concat([Buffer.from([0, message.length]), message]);
        for (const byte of framed) socket.write(Buffer.from([byte]));
        if (answer === "") socket.end();
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
    ["garbage", "0000 0100 0000 ffff 0000 0000", /a query came/],
  ])("fails on %s", async (_name, answer, message) => {
    await expect(query(answer)).rejects.toThrow(message);
  });

  it("refuses another name's certificate", async () => {
    await expect(query(SRV_ANSWER, "other.test")).rejects.toThrow(/altnames/);
  });
});
