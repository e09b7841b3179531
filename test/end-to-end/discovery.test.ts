/** A tunnel that finds its edge: DNS over real sockets, by c-ares and over TLS, and the mock edge behind what it says. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Resolver } from "node:dns/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { queryCloudflare } from "../../src/edge/dot.ts";
import { resolveAaaa, resolveSrv, resolveTxt, systemResolvers } from "../../src/edge/resolvers.ts";
import { connect, type ConnectOptions, type Logger } from "../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { type DnsServer, startDns, type Zone } from "../edge/dns-server.ts";

let edge: MockEdge;
let directory: string;
let lines: { level: string; message: string }[];
const servers: DnsServer[] = [];

beforeEach(async () => {
  edge = await startMockEdge();
  directory = mkdtempSync(join(tmpdir(), "underpass-discovery-"));
  lines = [];
});

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all([edge.close(), ...servers.splice(0).map((server) => server[Symbol.asyncDispose]())]);
  rmSync(directory, { recursive: true, force: true });
});

function zone(records: { features: string; protocols: string }): Zone {
  const port = Number(edge.edgeAddress.split(":").at(-1));
  const srv = (target: string, priority: number) => ({ type: "SRV", priority, weight: 1, port, target }) as const;
  const here = [{ type: "A", bytes: [127, 0, 0, 1] }] as const;
  return {
    "_v2-origintunneld._tcp.argotunnel.com": [srv("region1.test", 1), srv("region2.test", 2)],
    "region1.test": here,
    "region2.test": here,
    "cfd-features.argotunnel.com": [{ type: "TXT", texts: [records.features] }],
    "protocol-v2.argotunnel.com": [{ type: "TXT", texts: [records.protocols] }],
  };
}

/** What the system's resolver asks, and DNS over TLS; without a server neither answers. */
async function withDns(answers: { system?: Zone; overTls?: Zone }): Promise<{ system: DnsServer; overTls: DnsServer }> {
  const system = await startDns(answers.system ?? {});
  const overTls = await startDns(answers.overTls ?? {});
  servers.push(system, overTls);
  const resolver = (): Resolver => {
    const created = new Resolver({ timeout: 2_000, tries: 1 });
    created.setServers([system.udp]);
    return created;
  };
  vi.spyOn(systemResolvers, "srv").mockImplementation((name, signal) => resolveSrv(resolver(), name, signal));
  vi.spyOn(systemResolvers, "txt").mockImplementation((name, signal) => resolveTxt(resolver(), name, signal));
  vi.spyOn(systemResolvers, "aaaa").mockImplementation((name, signal) => resolveAaaa(resolver(), name, signal));
  vi.spyOn(systemResolvers, "addresses").mockImplementation(async (host) =>
    (await resolver().resolve4(host)).map((ip) => ({ ip, family: 4 })),
  );
  vi.spyOn(systemResolvers, "overTls").mockImplementation((name, type, signal) =>
    queryCloudflare(name, type, signal, [overTls.tls]),
  );
  return { system, overTls };
}

function options(given: Partial<ConnectOptions> = {}): ConnectOptions {
  const note = (level: string) => (message: string) => void lines.push({ level, message });
  const logger: Logger = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error") };
  return {
    token: edge.issueToken(),
    cacert: edge.caPem,
    origin: { fetch: () => new Response("found") },
    haConnections: 2,
    healthCheck: false,
    stateDirectory: directory,
    logger,
    ...given,
  };
}

const warnings = (): string[] => lines.filter(({ level }) => level === "warn").map(({ message }) => message);
const QUIC = '[{"protocol":"quic","percentage":100}]';

describe("a tunnel without --edge", () => {
  it("asks for SRV, addresses and records, and serves", async () => {
    const dns = await withDns({ system: zone({ features: '{"dv3_2":0}', protocols: QUIC }) });
    await using tunnel = await connect(options());
    expect(await (await fetch(edge.publicUrl)).text()).toBe("found");
    await vi.waitFor(() => expect(tunnel.connections.map(({ state }) => state)).toEqual(["registered", "registered"]));
    const asked = [
      "A region1.test",
      "A region2.test",
      "SRV _v2-origintunneld._tcp.argotunnel.com",
      "TXT cfd-features.argotunnel.com",
      "TXT protocol-v2.argotunnel.com",
    ];
    await vi.waitFor(() => expect([...dns.system.asked].sort()).toEqual(asked));
    expect(dns.overTls.asked).toEqual([]);
    expect(warnings()).toEqual([]);
  });

  it("does it over TLS where the system's resolver knows nothing", async () => {
    const dns = await withDns({ overTls: zone({ features: "{}", protocols: QUIC }) });
    await using tunnel = await connect(options());
    expect(await (await fetch(edge.publicUrl)).text()).toBe("found");
    expect(dns.overTls.asked).toContain("SRV _v2-origintunneld._tcp.argotunnel.com");
    expect(tunnel.connections[0]?.edgeAddress).toBe(edge.edgeAddress);
  });

  it("starts without DNS by the addresses that the last one left", async () => {
    await withDns({ system: zone({ features: "{}", protocols: QUIC }) });
    const first = await connect(options());
    await first.close();
    const port = edge.edgeAddress.split(":").at(-1);
    const file = join(directory, "edge-addresses.json");
    await vi.waitFor(() =>
      expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
        version: 1,
        regions: [[`127.0.0.1:${port}`], [`127.0.0.1:${port}`]],
      }),
    );
    vi.restoreAllMocks();
    await withDns({});
    lines = [];
    await using tunnel = await connect(options());
    expect(tunnel.connections[0]?.state).toBe("registered");
    expect(warnings()).toEqual(["The edge can't be looked up: using the addresses that were good last"]);
  });

  it("is never found where nobody knows it: `exitOnFailure` tells what the system's resolver said", async () => {
    await withDns({});
    const failed = connect(options({ exitOnFailure: true, retries: 1 }));
    await expect(failed).rejects.toMatchObject({
      code: "ERR_UNDERPASS_EDGE_DISCOVERY",
      cause: { code: "ENOTFOUND", syscall: "querySrv" },
    });
  });
});

describe("Cloudflare's records", () => {
  it("decide the datagrams of a connection, and that QUIC is not tried first", async () => {
    const system = zone({ features: '{"dv3_2":100}', protocols: '[{"protocol":"quic","percentage":0}]' });
    await withDns({ system });
    await using tunnel = await connect(options({ haConnections: 1 }));
    // They came beside the first dials: what is opened now goes by them.
    await vi.waitFor(() => expect(lines.some(({ message }) => message.includes("withdrawn QUIC"))).toBe(true));
    const before = edge.registrations.length;
    tunnel.reconnect(0);
    await vi.waitFor(() => expect(edge.registrations.length).toBeGreaterThan(before));
    expect(edge.registrations.at(-1)?.features).toContain("support_datagram_v3_2");
    await vi.waitFor(() => expect(tunnel.connections[0]?.protocol).toBe("http2"));
  });
});
