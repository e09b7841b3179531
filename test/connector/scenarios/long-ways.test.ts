/** An edge that is far away, in virtual time: each way takes most of a second, as over a satellite or a crowded line. */
import dgram from "node:dgram";
import { once } from "node:events";
import { createServer, connect as dial, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { EdgeProtocol } from "../../../src/types.ts";
import { advance, ask, inVirtualTime, pumped, until } from "./virtual-edge.ts";

interface Way {
  /** Where connectors dial. */
  readonly address: string;
  close(): Promise<void>;
}

/** Passes on what either side says, that much later. */
function delayed(from: Socket, to: Socket, delayMs: number): void {
  // What the system would hold back is held back in real time.
  from.setNoDelay(true);
  from.on("data", (chunk: Buffer) => setTimeout(() => to.write(chunk), delayMs));
  from.on("end", () => setTimeout(() => to.end(), delayMs));
  from.on("close", () => setTimeout(() => to.destroy(), delayMs));
  from.on("error", () => {});
}

async function overTcp(target: number, delayMs: number): Promise<Way> {
  const server = createServer((near) => {
    const far = dial(target, "127.0.0.1");
    delayed(near, far, delayMs);
    delayed(far, near, delayMs);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    address: `127.0.0.1:${address.port}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

async function overUdp(target: number, delayMs: number): Promise<Way> {
  const near = dgram.createSocket("udp4");
  const far = new Map<number, dgram.Socket>();
  near.on("message", (datagram, { port }) => {
    let socket = far.get(port);
    if (socket === undefined) {
      socket = dgram.createSocket("udp4");
      socket.on("message", (answer) => setTimeout(() => near.send(answer, port, "127.0.0.1", () => {}), delayMs));
      far.set(port, socket);
    }
    const to = socket;
    setTimeout(() => to.send(datagram, target, "127.0.0.1", () => {}), delayMs);
  });
  near.bind(0, "127.0.0.1");
  await once(near, "listening");
  return {
    address: `127.0.0.1:${near.address().port}`,
    close: async () => {
      await Promise.all([near, ...far.values()].map((socket) => new Promise<void>((done) => socket.close(done))));
    },
  };
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(":") + 1));

describe.each([
  ["http2", 300],
  ["http2", 900],
  ["quic", 300],
  ["quic", 900],
] satisfies [EdgeProtocol, number][])("over %s, %i ms each way", (protocol, delayMs) => {
  it("connections register, stay, serve, tell how far it is, and are replaced and drained in order", () =>
    inVirtualTime(protocol, async ({ edge, lines, start }) => {
      const make = protocol === "http2" ? overTcp : overUdp;
      const way = await make(portOf(edge.edgeAddress), delayMs);
      const tunnel = await pumped(start({ haConnections: 2, edge: [way.address, way.address, way.address] }).tunnel);
      await until(() => tunnel.connections.filter(({ state }) => state === "registered").length === 2);
      await until(() => edge.connections.filter(({ state }) => state === "registered").length === 2);
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      let worst = 2;
      for (let second = 0; second < 90; second++) {
        await advance(1_000);
        worst = Math.min(worst, tunnel.connections.filter(({ state }) => state === "registered").length);
      }
      expect(worst).toBe(2);
      expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
      for (const { reconnects, roundTripMs } of tunnel.connections) {
        expect(reconnects).toBe(0);
        expect(roundTripMs).toBeGreaterThan(1.9 * delayMs);
        expect(roundTripMs).toBeLessThan(2.5 * delayMs);
      }
      tunnel.reconnect(0);
      await until(() => tunnel.connections[0]?.reconnects === 1);
      await until(() => edge.connections.length === 2);
      expect(await ask(edge)).toEqual({ status: 200, text: "served" });
      await pumped(tunnel.close());
      expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
      await advance(3 * delayMs);
      await until(() => edge.connections.length === 0);
      await pumped(way.close());
    }));
});
