/** How large the datagrams of a QUIC connection get. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import dgram from "node:dgram";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DatagramSizes } from "../../src/edge/datagram-sizes.ts";
import { largestDatagramToTry } from "../../src/edge/link-mtu.ts";
import { dialQuic } from "../../src/edge/quic.ts";
import { openServerSocket, QuicServerSocket } from "../../src/edge/quic-socket.ts";
import { createQuicTls } from "../../src/edge/quic-tls.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { ServerEndpoint } from "../../src/protocol/quic/endpoint.ts";
import type { EdgeConnection } from "../../src/types.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closers.splice(0).reverse()) await close();
});

describe("what an interface carries whole", () => {
  const { address, family, netmask, mac, internal, cidr } = {
    address: "192.0.2.7",
    family: "IPv4" as const,
    netmask: "255.255.255.0",
    mac: "",
    internal: false,
    cidr: null,
  };
  const interfaces = () => ({
    wg0: [
      { address, family, netmask, mac, internal, cidr },
      { address: "2001:db8::7", family: "IPv6" as const, netmask, mac, internal, cidr, scopeid: 0 },
    ],
  });
  const tried = (text: string, local = address): number =>
    largestDatagramToTry(local, { interfaces, readMtu: (name) => (name === "wg0" ? text : "") });

  it("is its MTU without the headers of IP and UDP, and never more than 1,480 bytes with them", () => {
    expect(tried("1420\n")).toBe(1392);
    expect(tried("1420\n", "2001:db8::7")).toBe(1372);
    expect([tried("1500\n"), tried("65536\n")]).toEqual([1452, 1452]);
    expect(tried("1500\n", "2001:db8::7")).toBe(1432);
  });

  it("is what every path carries where nobody tells, and where the address is no interface's", () => {
    expect([tried("1500", "192.0.2.8"), tried("1500", "2001:db8::8")]).toEqual([1252, 1232]);
    expect([tried(""), tried("-5"), tried("many")]).toEqual([1252, 1252, 1252]);
    const readMtu = () => {
      throw new Error("ENOENT");
    };
    expect(largestDatagramToTry(address, { interfaces, readMtu })).toBe(1252);
  });

  it("is that of the narrowest interface for an address that stands for all", () => {
    const { wg0 } = interfaces();
    const two = {
      interfaces: () => ({ wg0, eth0: wg0 }),
      readMtu: (name: string) => (name === "wg0" ? "1420" : "1500"),
    };
    expect([largestDatagramToTry("0.0.0.0", two), largestDatagramToTry("::", two)]).toEqual([1392, 1372]);
    expect(largestDatagramToTry("0.0.0.0", { interfaces: () => ({}), readMtu: () => "1500" })).toBe(1252);
  });

  it.runIf(process.platform === "linux")("is told by Linux", () => {
    expect(largestDatagramToTry("127.0.0.1")).toBe(1452);
  });
});

/** A connection to a server that takes whatever comes; `largest` tells what came since it was last asked. */
async function dial(sizes = new DatagramSizes(true)): Promise<{ edge: EdgeConnection; largest: () => number }> {
  const authority = createAuthority();
  const leaf = authority.issue({ dnsNames: ["quic.cftunnel.com"] });
  const socket = await openServerSocket("127.0.0.1", 0);
  const endpoint = new ServerEndpoint({
    tls: {
      alpn: ["argotunnel"],
      certificateChain: [new X509Certificate(leaf.certPem).raw],
      privateKey: createPrivateKey(leaf.keyPem),
    },
    random: randomBytes,
    secret: randomBytes(32),
    accept: () => ({
      onHandshakeComplete() {},
      onStream(stream) {
        stream.sink = {
          onData: (chunk) => stream.consumed(chunk.length),
          onEnd() {},
          onReset() {},
          onStopSending() {},
          onWritable() {},
          onEvicted() {},
        };
      },
      onDatagram() {},
      onClosed() {},
    }),
  });
  const server = new QuicServerSocket(socket, endpoint);
  closers.push(() => server.close(0));
  let size = 0;
  socket.on("message", (datagram) => {
    size = Math.max(size, datagram.length);
  });
  const edge = await dialQuic({
    connIndex: 0,
    address: { ip: "127.0.0.1", port: socket.address().port, family: 4 },
    tls: await createQuicTls({ cacert: authority.certPem, postQuantum: false }),
    bindPort: 0,
    signal: AbortSignal.timeout(10_000),
    budget: createMemoryBudget(1 << 20),
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    sizes,
  });
  closers.push(() => edge.close({ kind: "shutdown" }));
  const largest = (): number => {
    const told = size;
    size = 0;
    return told;
  };
  return { edge, largest };
}

/** Sends enough to fill many datagrams, and returns the largest that came. */
async function fill({ edge, largest }: Awaited<ReturnType<typeof dial>>): Promise<number> {
  largest();
  const channel = await edge.control();
  for (let i = 0; i < 20; i++) {
    channel.write(Buffer.alloc(10_000));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return largest();
}

describe.runIf(process.platform === "linux")("a QUIC connection's datagrams", () => {
  it("grow to what the path carries", async () => {
    expect(await fill(await dial())).toBe(1452);
  });

  it("stay at what every path carries where discovery is off", async () => {
    expect(await fill(await dial(new DatagramSizes(false)))).toBe(1252);
  });

  it("shrink for good when the system hears of a router that one was too large", async () => {
    const created = vi.spyOn(dgram, "createSocket");
    const dialled = await dial();
    expect(await fill(dialled)).toBe(1452);
    const client = created.mock.results.at(-1)?.value as dgram.Socket;
    client.emit("error", Object.assign(new Error("recvmsg EMSGSIZE"), { code: "EMSGSIZE" }));
    await fill(dialled);
    expect(await fill(dialled)).toBe(1252);
  });

  it("stay small on the other connections to that address, too: of what they send the system tells nothing", async () => {
    const sizes = new DatagramSizes(true);
    const dialled = await dial(sizes);
    expect(await fill(dialled)).toBe(1452);
    sizes.onTooBig("192.0.2.1", performance.now());
    expect(await fill(dialled)).toBe(1452);
    sizes.onTooBig("127.0.0.1", performance.now());
    await fill(dialled);
    expect(await fill(dialled)).toBe(1252);
    expect(await fill(await dial(sizes))).toBe(1252);
  });
});

describe("a narrow path", () => {
  it("is forgotten when the system has forgotten it, and nobody is told who does not care any more", () => {
    const sizes = new DatagramSizes(true, () => 1452);
    const told: string[] = [];
    const unfollow = sizes.follow("192.0.2.1", () => told.push("a"));
    sizes.follow("192.0.2.1", () => told.push("b"));
    sizes.onTooBig("192.0.2.1", 0);
    unfollow();
    sizes.onTooBig("192.0.2.1", 1_000);
    expect(told).toEqual(["a", "b", "b"]);
    const at = (now: number): number => sizes.largest("192.0.2.1", "127.0.0.1", now);
    expect([at(2_000), at(600_000), at(700_000)]).toEqual([1252, 1252, 1452]);
    expect(sizes.largest("192.0.2.2", "127.0.0.1", 2_000)).toBe(1452);
  });
});
