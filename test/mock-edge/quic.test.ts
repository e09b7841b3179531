/** What the mock edge has over QUIC beside requests, with the connector of this package on the other side. */
import dgram from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, type MockEdgeOptions, startMockEdge } from "../../src/mock-edge/index.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(
  options: Partial<ConnectOptions> = {},
  edgeOptions: MockEdgeOptions = {},
): Promise<{ edge: MockEdge; tunnel: Tunnel }> {
  const edge = await startMockEdge(edgeOptions);
  closers.push(() => edge.close());
  const tunnel = await connect({
    token: edge.issueToken(),
    edge: edge.edgeAddress,
    cacert: edge.caPem,
    origin: () => new Response("served"),
    protocol: "quic",
    haConnections: 1,
    healthCheck: false,
    ...options,
  });
  closers.push(() => tunnel.close({ grace: 0 }));
  await edge.registered(1);
  return { edge, tunnel };
}

/** Answers each datagram with its bytes reversed. */
async function startUdpOrigin(): Promise<string> {
  const socket = dgram.createSocket("udp4");
  socket.on("message", (payload, { address, port }) => socket.send(Buffer.from(payload).reverse(), port, address));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  closers.push(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return `127.0.0.1:${socket.address().port}`;
}

it.each(["localhost", "0.0.0.0"])("on %s takes QUIC, and the largest datagrams of a session", async (host) => {
  const { edge } = await start({}, { host });
  const session = await edge.openUdpSession(await startUdpOrigin());
  // Not before the path is known to carry it.
  await expect.poll(() => session.send(Buffer.alloc(1_280, 1))).toBe(true);
  expect(await session.receive()).toHaveLength(1_280);
});

const VERSIONS = [
  [2, []],
  [3, ["support_datagram_v3_2"]],
] as const;

describe.each(VERSIONS)("datagrams of version %i", (version, features) => {
  it("carry a UDP session there and back, and end it", async () => {
    const { edge } = await start({ features });
    const session = await edge.openUdpSession(await startUdpOrigin());
    expect(session.version).toBe(version);
    for (const text of ["one", "two", ""]) {
      expect(session.send(Buffer.from(text))).toBe(true);
      expect((await session.receive()).toString()).toBe(Buffer.from(text).reverse().toString());
    }
    const large = Buffer.alloc(1_200, "x");
    session.send(large);
    expect((await session.receive()).equals(large)).toBe(true);
    await session.close();
    expect(session.send(large)).toBe(false);
    await expect(session.receive()).rejects.toThrow("over");
  });

  it("keep many sessions apart", async () => {
    const { edge } = await start({ features });
    const origin = await startUdpOrigin();
    const answers = Array.from({ length: 20 }, async (_, index) => {
      const session = await edge.openUdpSession(origin);
      session.send(Buffer.from(`session ${index}`));
      return Buffer.from(await session.receive())
        .reverse()
        .toString();
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, (_, index) => `session ${index}`));
  });

  it("refuse sessions beyond the limit of flows", async () => {
    const { edge } = await start({ features, maxActiveFlows: 1 });
    const origin = await startUdpOrigin();
    await edge.openUdpSession(origin);
    await expect(edge.openUdpSession(origin)).rejects.toThrow("refused");
  });

  it("answer a ping whose time to live is used up, as a router does", async () => {
    const { edge } = await start({ features, icmpv4Src: "192.0.2.7" });
    expect(await edge.ping("198.51.100.1", { ttl: 1 })).toEqual({ kind: "time-exceeded", from: "192.0.2.7" });
  });

  it("are not answered where they make no sense, and the connection goes on", async () => {
    const { edge } = await start({ features });
    const [connection] = edge.connections;
    await expect(connection?.privateNetwork?.exchangePacket(Buffer.alloc(40), () => true, 100)).rejects.toThrow(
      "100 ms",
    );
    expect(await (await edge.fetch("/")).text()).toBe("served");
  });
});

it("a session of version 2 that becomes idle is told of by the connector", async () => {
  const { edge } = await start();
  const session = await edge.openUdpSession(await startUdpOrigin(), { idleMs: 100 });
  expect(await session.closed).toContain("idle");
});

it("the payload that comes with a registration of version 3 is delivered", async () => {
  const { edge } = await start({ features: ["support_datagram_v3_2"] });
  const session = await edge.openUdpSession(await startUdpOrigin(), { payload: Buffer.from("first") });
  expect((await session.receive()).toString()).toBe("tsrif");
});

describe("a configuration", () => {
  it("is pushed by a call, and answered", async () => {
    const { edge } = await start({ origin: () => new Response("until then") });
    const [good] = await edge.pushConfiguration(3, { ingress: [{ service: "http_status:418" }] });
    expect(good).toMatchObject({ status: 200, lastAppliedVersion: 3, error: null });
    expect((await edge.fetch("/")).status).toBe(418);
    const [bad] = await edge.pushConfiguration(4, { ingress: [{ service: "gopher://x" }] });
    expect(bad).toMatchObject({ lastAppliedVersion: 3, error: expect.stringContaining("gopher") });
    const [broken] = await edge.pushConfiguration(5, "{");
    expect(broken).toMatchObject({ lastAppliedVersion: 3, error: expect.stringContaining("JSON") });
    expect((await edge.fetch("/")).status).toBe(418);
  });
});

describe("the transports", () => {
  it("can be had one without the other", async () => {
    const quicOnly = await start({}, { protocols: ["quic"] });
    expect(quicOnly.tunnel.connections[0]?.protocol).toBe("quic");
    const http2Only = await start({ protocol: "auto" }, { protocols: ["http2"] });
    expect(http2Only.tunnel.connections[0]?.protocol).toBe("http2");
    expect(await (await http2Only.edge.fetch("/")).text()).toBe("served");
    await expect(http2Only.edge.openUdpSession("127.0.0.1:53")).rejects.toThrow("needs QUIC");
    await expect(http2Only.edge.ping("127.0.0.1")).rejects.toThrow("needs QUIC");
  });

  it("auto falls back when UDP is lost while it serves, and says so", async () => {
    const lines: string[] = [];
    const note = (message: string): void => void lines.push(message);
    const { edge, tunnel } = await start({
      protocol: "auto",
      logger: { debug: note, info: note, warn: note, error: note },
    });
    expect(tunnel.connections[0]?.protocol).toBe("quic");
    edge.blockUdp(true);
    await expect.poll(() => tunnel.connections[0]?.protocol, { timeout: 12_000 }).toBe("http2");
    expect(await (await edge.fetch("/")).text()).toBe("served");
    expect(lines).toContain("QUIC does not get through: using HTTP/2");
  });

  it("measure the round trip", async () => {
    const { edge } = await start();
    expect(await edge.connections[0]?.ping()).toBeGreaterThan(0);
  });
});
