/** Ports of loopback that a test has to know ahead: no other socket of this machine gets them by chance meanwhile. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";

/**
 * Where nothing listens, and nothing will: the port is the local end of a connection of our own, which stands until the process ends.
 * A port that was merely given back is soon another test's.
 */
export async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1");
  const [[accepted]] = await Promise.all([once(server, "connection"), once(socket, "connect")]);
  for (const end of [socket, accepted as typeof socket]) end.on("error", () => {}).unref();
  server.close();
  return (socket.address() as AddressInfo).port;
}

/** The same for UDP: a connected socket hears its peer alone, which says nothing. */
export async function closedUdpPort(): Promise<number> {
  const [socket, peer] = [createSocket("udp4"), createSocket("udp4")];
  for (const each of [socket, peer]) {
    each.bind(0, "127.0.0.1");
    await once(each, "listening");
    each.unref();
  }
  socket.connect(peer.address().port, "127.0.0.1");
  await once(socket, "connect");
  return socket.address().port;
}

/** Below the ports that systems give to those who ask for any. */
let next = 10_000 + Math.floor(Math.random() * 20_000);

/** Somewhere to listen later, over TCP or UDP; another port for each call. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = next++;
    const server = createServer();
    const isFree = await new Promise((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
