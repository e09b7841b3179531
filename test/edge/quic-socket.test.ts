/** The sockets of QUIC connections, and what is left of them. */
import dgram from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DatagramSizes } from "../../src/edge/datagram-sizes.ts";
import { dialQuic } from "../../src/edge/quic.ts";
import { openClientSocket, sender } from "../../src/edge/quic-socket.ts";
import { createQuicTls } from "../../src/edge/quic-tls.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";

const sockets: dgram.Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** Takes what comes and never answers. */
async function listen(address = "127.0.0.1"): Promise<dgram.Socket> {
  const socket = dgram.createSocket(address.includes(":") ? "udp6" : "udp4").bind(0, address);
  sockets.push(socket);
  await once(socket, "listening");
  return socket;
}

async function open(ip: string, port: number, bindPort: number): Promise<dgram.Socket> {
  const socket = await openClientSocket({ ip, port, bindAddress: ip, bindPort });
  sockets.push(socket);
  return socket;
}

describe("a client's socket", () => {
  it("takes the port that it is asked for, and another one where that is taken", async () => {
    const peer = await listen();
    const former = await open("127.0.0.1", peer.address().port, 0);
    const { port } = former.address();
    const other = await open("127.0.0.1", peer.address().port, port);
    expect(other.address().port).not.toBe(port);
    sockets.splice(sockets.indexOf(former), 1);
    await new Promise<void>((resolve) => former.close(() => resolve()));
    expect((await open("127.0.0.1", peer.address().port, port)).address().port).toBe(port);
  });

  it("hears its peer, and nobody else", async () => {
    const peer = await listen();
    const socket = await open("127.0.0.1", peer.address().port, 0);
    const heard: string[] = [];
    socket.on("message", (bytes) => heard.push(bytes.toString()));
    const stranger = await listen();
    await new Promise((resolve) => stranger.send("stranger", socket.address().port, "127.0.0.1", resolve));
    peer.send("peer", socket.address().port, "127.0.0.1");
    await expect.poll(() => heard).toEqual(["peer"]);
  });

  it("does with the system's buffer where a larger one is refused", async () => {
    const asked = vi.spyOn(dgram.Socket.prototype, "setRecvBufferSize").mockImplementation(() => {
      throw new Error("ENOBUFS");
    });
    try {
      const peer = await listen();
      const socket = await open("127.0.0.1", peer.address().port, 0);
      expect(asked).toHaveBeenCalled();
      expect(socket.address().port).not.toBe(0);
    } finally {
      asked.mockRestore();
    }
  });

  it("rejects with the system's error where the address is not this machine's", async () => {
    const peer = await listen();
    const dialled = openClientSocket({ ip: "127.0.0.1", port: peer.address().port, bindAddress: "192.0.2.1" });
    await expect(dialled).rejects.toMatchObject({ code: "EADDRNOTAVAIL" });
  });

  it("rejects with the system's error where no way leads to the peer", async () => {
    // From the loopback interface to elsewhere; a network without IPv6 says ENETUNREACH to its addresses.
    const dialled = openClientSocket({ ip: "192.0.2.1", port: 7844, bindAddress: "127.0.0.1" });
    await expect(dialled).rejects.toMatchObject({ syscall: "connect" });
  });

  it("survives a datagram that is too long, and one after it is closed", async () => {
    const peer = await listen();
    const socket = await openClientSocket({ ip: "127.0.0.1", port: peer.address().port });
    const heard = once(peer, "message");
    const send = sender(socket, () => undefined);
    send([Buffer.alloc(70_000), Buffer.from("fits")]);
    expect(String((await heard)[0])).toBe("fits");
    await new Promise<void>((resolve) => socket.close(() => resolve()));
    expect(send([Buffer.from("late")])).toBe(false);
  });
});

describe("a dial that is given up", () => {
  const udpSockets = (): number => process.getActiveResourcesInfo().filter((name) => name.startsWith("UDP")).length;

  it("leaves no socket, whenever that is", async () => {
    const peer = await listen();
    const { certPem } = createAuthority();
    const tls = await createQuicTls({ cacert: certPem, postQuantum: false });
    const before = udpSockets();
    expect(before).toBeGreaterThan(0);
    for (let turns = 0; turns < 8; turns++) {
      const controller = new AbortController();
      const dialled = dialQuic({
        connIndex: 0,
        address: { ip: "127.0.0.1", port: peer.address().port, family: 4 },
        tls,
        bindPort: 0,
        sizes: new DatagramSizes(true),
        signal: controller.signal,
        budget: createMemoryBudget(1 << 20),
        logger: { debug() {}, info() {}, warn() {}, error() {} },
      });
      const refused = expect(dialled).rejects.toThrow(`given up at ${turns}`);
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(new Error(`given up at ${turns}`));
      await refused;
    }
    await expect.poll(udpSockets).toBe(before);
  });
});
