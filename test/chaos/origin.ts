/** What the tunnel leads to: answers that a visitor can check. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";

export const DOWNLOAD_BYTES = 64 * 1024;
export const EVENTS = 5;
const EVENT_MS = 200;
/** Longer than any rest of the tunnel: the origin is no part of what goes wrong. */
const KEEP_ALIVE_MS = 600_000;

export interface Origin {
  readonly port: number;
  close(): Promise<void>;
}

export function download(id: string): Buffer {
  return Buffer.alloc(DOWNLOAD_BYTES, `${id} `);
}

export function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function sendEvents(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  let sent = 0;
  const next = (): void => {
    if (response.destroyed) return;
    response.write(`data: ${++sent}\n\n`);
    if (sent < EVENTS) setTimeout(next, EVENT_MS);
    else response.end();
  };
  next();
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://origin.test");
  const id = url.searchParams.get("id") ?? "";
  switch (url.pathname) {
    case "/download":
      response.end(download(id));
      break;
    case "/upload": {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => response.end(hash.digest("hex")));
      request.on("error", () => {});
      break;
    }
    case "/events":
      sendEvents(response);
      break;
    case "/slow":
      setTimeout(() => response.end(id), Number(url.searchParams.get("ms")));
      break;
    default:
      response.end(id);
  }
}

export async function startOrigin(): Promise<Origin> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, answer);
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => socket.send(data as Buffer, { binary: isBinary }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      sockets.close();
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
