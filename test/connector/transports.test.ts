/** Which transport a tunnel takes, through a network that loses UDP or does not. */
import { afterEach, describe, expect, it } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { createEdgeDial } from "../../src/connector/edge-dial.ts";
import { hasPostQuantumTls } from "../../src/edge/tls.ts";
import { EdgeTlsError, connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { recordingLogger } from "./fake-edge.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startEdge(): Promise<MockEdge> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  return edge;
}

async function open(edge: MockEdge, options: Partial<ConnectOptions>): Promise<Tunnel> {
  const tunnel = await connect({
    token: edge.issueToken(),
    edge: Array.from({ length: options.haConnections ?? 4 }, () => edge.edgeAddress),
    cacert: edge.caPem,
    origin: () => new Response("served"),
    healthCheck: false,
    ...options,
  });
  closers.push(() => tunnel.close({ grace: 0 }));
  await edge.registered(options.haConnections ?? 4);
  return tunnel;
}

const protocolsOf = (edge: MockEdge): readonly string[] => edge.connections.map(({ protocol }) => protocol);

describe("protocol auto", () => {
  it("is QUIC on all connections", async () => {
    const edge = await startEdge();
    await open(edge, {});
    expect(protocolsOf(edge)).toEqual(["quic", "quic", "quic", "quic"]);
  });

  it("is HTTP/2 on all connections where UDP is lost, after one wait of a moment, and says so once", async () => {
    const edge = await startEdge();
    edge.blockUdp(true);
    const { logger, lines } = recordingLogger();
    const tunnel = await open(edge, { logger });
    expect(protocolsOf(edge)).toEqual(["http2", "http2", "http2", "http2"]);
    await expect.poll(() => tunnel.connections.map(({ protocol }) => protocol)).toEqual(Array(4).fill("http2"));
    expect(lines.filter(({ message }) => message.includes("using HTTP/2"))).toHaveLength(1);
    expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });
});

describe("protocol quic", () => {
  it("waits for UDP, and takes nothing else", async () => {
    const edge = await startEdge();
    edge.blockUdp(true);
    const opening = open(edge, { protocol: "quic", haConnections: 1 });
    const early = await Promise.race([opening, new Promise((resolve) => setTimeout(() => resolve("waiting"), 1_000))]);
    expect(early).toBe("waiting");
    edge.blockUdp(false);
    await opening;
    expect(protocolsOf(edge)).toEqual(["quic"]);
  });
});

describe("post-quantum", () => {
  const budget = createMemoryBudget(1024 * 1024);
  const config = { ...defaultTunnelConfig, postQuantum: true };

  it("is had over QUIC on every Node.js", async () => {
    const edge = await startEdge();
    await open(edge, { protocol: "quic", postQuantum: true, haConnections: 1 });
    expect(edge.registrations[0]?.features).toContain("postquantum");
    expect(await (await edge.fetch("/")).text()).toBe("served");
  });

  it("leaves QUIC alone where HTTP/2 can't have it, with a line; asked of HTTP/2 it is an error there", () => {
    const { logger, lines } = recordingLogger();
    const auto = createEdgeDial({ ...config, protocol: "auto" }, budget, logger);
    expect(auto.initialProtocol).toBe("quic");
    expect(auto.choice === undefined).toBe(!hasPostQuantumTls());
    expect(lines.some(({ message }) => message.includes("for QUIC alone"))).toBe(!hasPostQuantumTls());
    const http2 = (): unknown => createEdgeDial({ ...config, protocol: "http2" }, budget, logger);
    if (hasPostQuantumTls()) expect(http2()).toMatchObject({ initialProtocol: "http2" });
    else expect(http2).toThrow(EdgeTlsError);
  });

  it("a cacert that is none is an error at once, whatever the transport", () => {
    const { logger } = recordingLogger();
    for (const protocol of ["auto", "quic", "http2"] as const) {
      expect(() =>
        createEdgeDial({ ...config, postQuantum: false, cacert: "no PEM", protocol }, budget, logger),
      ).toThrow(EdgeTlsError);
    }
  });
});
