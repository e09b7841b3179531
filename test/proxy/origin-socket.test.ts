import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { OriginSocket, send } from "../../src/proxy/origin-socket.ts";

/** An open OriginSocket and its peer. */
async function pair(test: (socket: OriginSocket, peer: Socket) => Promise<void>): Promise<void> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const socket = new OriginSocket({ allowHalfOpen: true });
  socket.connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [[peer]] = await Promise.all([accepted, once(socket, "connect")]);
  peer.on("error", () => {});
  socket.on("error", () => {});
  try {
    await test(socket, peer);
  } finally {
    socket.destroy();
    peer.destroy();
    server.close();
  }
}

async function readAll(peer: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of peer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe("send", () => {
  it("calls back before it returns when the kernel takes everything", () =>
    pair(async (socket, peer) => {
      const called: unknown[] = [];
      send(socket, Buffer.from("bytes, "), (error) => called.push(error));
      send(socket, "latin1 \xe9", (error) => called.push(error));
      expect(called).toHaveLength(2);
      expect(called.every((error) => error === undefined || error === null)).toBe(true);
      socket.end();
      expect((await readAll(peer)).toString("latin1")).toBe("bytes, latin1 \xe9");
    }));

  it("keeps the order of a write that waits, the next one, a Writable's own, and the end", () =>
    pair(async (socket, peer) => {
      const large = Buffer.alloc(32 * 1024 * 1024, "0123456789abcdef");
      let done = false;
      const sent = new Promise<void>((resolve) => {
        send(socket, large, () => {
          done = true;
          send(socket, "then ", () => resolve());
        });
      });
      expect(done).toBe(false);
      const received = readAll(peer);
      await sent;
      socket.write("written ");
      send(socket, "last", () => {});
      socket.end();
      const all = await received;
      expect(all.subarray(0, large.length).equals(large)).toBe(true);
      expect(all.subarray(large.length).toString()).toBe("then written last");
    }));

  it("tells of a failure and destroys the socket", () =>
    pair(async (socket, peer) => {
      const closed = new Promise((resolve) => socket.once("close", resolve));
      peer.resetAndDestroy();
      const failure = await new Promise<Error>((resolve) => {
        const again = (): void => {
          send(socket, "x", (error) => {
            if (error) resolve(error);
            else setImmediate(again);
          });
        };
        again();
      });
      expect(failure).toBeInstanceOf(Error);
      socket.resume();
      await closed;
      expect(socket.destroyed).toBe(true);
    }));

  it("of a socket that has ended is an error, never an exception", () =>
    pair(async (socket) => {
      socket.end();
      const failure = await new Promise<Error | null | undefined>((resolve) => send(socket, "late", resolve));
      expect(failure).toMatchObject({ code: "ERR_STREAM_WRITE_AFTER_END" });
    }));
});
