/** Whatever a visit was, and however it ended: when it is over the tunnel holds nothing of it any more. */
import { once } from "node:events";
import http, { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type Rig, startRig } from "./start.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.on("error", () => {});
  switch (request.url) {
    case "/events":
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let i = 0; i < 3; i++) setTimeout(() => response.write(`data: ${i}\n\n`), 5 * i);
      // Its end comes alone.
      setTimeout(() => response.end(), 30);
      break;
    case "/endless":
      response.write(Buffer.alloc(100_000, "x"));
      break;
    case "/broken":
      response.write("some");
      setTimeout(() => response.destroy(), 5);
      break;
    case "/refused":
      response.writeHead(413).end("too much");
      break;
    default:
      request.on("data", () => {});
      request.on("end", () => response.end("done"));
  }
}

async function startOrigin(): Promise<string> {
  const server = createServer(answer);
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, { url }) => {
    socket.on("error", () => {});
    socket.on("message", (data) => {
      socket.send(data as Buffer);
      if (url === "/bye") socket.close(1000, "that is all");
      if (url === "/cut") setTimeout(() => socket.terminate(), 10);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function request({ edge }: Rig, path: string, body?: Buffer, leaveAfterMs?: number): Promise<void> {
  return new Promise((resolve) => {
    const asked = http.request(`${edge.publicUrl}${path}`, {
      agent: false,
      method: body === undefined ? "GET" : "POST",
    });
    asked.on("error", () => resolve());
    asked.on("response", (response) => {
      response.on("error", () => {});
      response.on("close", resolve);
      response.resume();
    });
    asked.end(body);
    if (leaveAfterMs !== undefined) setTimeout(() => asked.destroy(), leaveAfterMs);
  });
}

async function talk({ edge }: Rig, path: string, end: (socket: WebSocket) => void): Promise<void> {
  const socket = new WebSocket(`${edge.publicUrl.replace("http:", "ws:")}${path}`, { perMessageDeflate: false });
  socket.on("error", () => {});
  const closed = once(socket, "close");
  await once(socket, "open");
  socket.send("hello");
  await Promise.race([once(socket, "message"), closed]);
  end(socket);
  await closed;
}

const VISITS: Readonly<Record<string, (rig: Rig) => Promise<void>>> = {
  "a small answer": (rig) => request(rig, "/"),
  "an upload": (rig) => request(rig, "/", Buffer.alloc(100_000, "u")),
  "an upload that is refused": (rig) => request(rig, "/refused", Buffer.alloc(300_000, "u")),
  "an answer whose end comes alone": (rig) => request(rig, "/events"),
  "an answer that breaks off": (rig) => request(rig, "/broken"),
  "a visitor who leaves in the middle": (rig) => request(rig, "/endless", undefined, 20),
  "a visitor who leaves at once": (rig) => request(rig, "/endless", undefined, 0),
  "a WebSocket that the visitor closes": (rig) => talk(rig, "/", (socket) => socket.close(1000)),
  "a WebSocket that the origin closes": (rig) => talk(rig, "/bye", () => {}),
  "a WebSocket that the visitor cuts": (rig) => talk(rig, "/", (socket) => socket.terminate()),
  "a WebSocket that the origin cuts": (rig) => talk(rig, "/cut", () => {}),
};

it.each(["http2", "quic"] as const)("nothing is held after any visit, over %s", async (protocol) => {
  const rig = await startRig({ haConnections: 1, protocol, metrics: 0, origin: await startOrigin() });
  closers.push(() => rig.stop());
  const held = async (): Promise<number> => {
    const metrics = await (await fetch(`${rig.tunnel.metricsUrl}/metrics`)).text();
    return Number(/^underpass_memory_held_bytes (\d+)$/m.exec(metrics)?.[1]);
  };
  for (const [name, visit] of Object.entries(VISITS)) {
    // Alone, each frame has a packet of its own; with others they share.
    for (let i = 0; i < 3; i++) await visit(rig);
    await Promise.all(Array.from({ length: 10 }, () => visit(rig)));
    await expect.poll(() => rig.tunnel.connections[0]?.activeStreams, { message: name, timeout: 5_000 }).toBe(0);
    await expect.poll(held, { message: name, timeout: 5_000 }).toBe(0);
  }
});
