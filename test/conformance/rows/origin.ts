/** The origin behind the connector: it notes what arrives, and answers by the request's path. */
import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { gzipSync } from "node:zlib";
import type { Json } from "./row.ts";
import { closedPort } from "../../ports.ts";

/** A request as the origin saw it. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  /** Names lower case, sorted; values of one name in order. */
  readonly headers: Json;
  readonly body: string;
  readonly trailers: Json;
}

export interface TestOrigin {
  readonly url: string;
  readonly host: string;
  /** `ip:port` of a TCP echo that answers END with what it got. */
  readonly tcp: string;
  /** `ip:port` where nothing listens. */
  readonly closed: string;
  /** Requests in the order in which they were complete. */
  readonly seen: Seen[];
  /** Times that a request or a socket of the origin was cut off by the connector. */
  readonly cut: string[];
  /** Responses of `/hold` that are open. */
  readonly held: ServerResponse[];
  close(): Promise<void>;
}

function sortedPairs(rawHeaders: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    pairs.push([(rawHeaders[i] ?? "").toLowerCase(), rawHeaders[i + 1] ?? ""]);
  return pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

type Handler = (request: IncomingMessage, response: ServerResponse, origin: TestOrigin) => void;

const HANDLERS: Readonly<Record<string, Handler>> = {
  "/length": (_request, response) => {
    response.setHeader("Content-Length", "5");
    response.end("12345");
  },
  "/events": (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: 1\n\n");
    response.on("close", () => {});
  },
  "/multi": (_request, response) => {
    response.writeHead(200, [
      "X-Multi",
      "a",
      "X-Multi",
      "b",
      "X-Empty",
      "",
      "X-Odd",
      "\u00e9\u00ff",
      "Set-Cookie",
      "a=1",
      "Set-Cookie",
      "b=2",
    ]);
    response.end();
  },
  "/reserved": (_request, response) => {
    response.writeHead(200, { "Cf-Int-X": "1", "Cf-Cloudflared-X": "1", "Cf-Proxy-X": "1", "Cf-Other": "1" });
    response.end();
  },
  "/trailers": (_request, response) => {
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("body");
    response.addTrailers({ "X-Sum": "42" });
    response.end();
  },
  "/early-hints": (_request, response) => {
    response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    response.writeProcessing();
    response.end("after");
  },
  "/204": (_request, response) => void response.writeHead(204).end(),
  "/304": (_request, response) => void response.writeHead(304, { ETag: '"x"' }).end(),
  "/die": (request, response) => {
    response.writeHead(200);
    response.write("half", () => request.socket.destroy());
  },
  "/die-before": (request) => void request.socket.destroy(),
  "/die-length": (request, response) => {
    response.writeHead(200, { "Content-Length": "100" });
    response.write("half", () => request.socket.destroy());
  },
  "/gzip": (request, response) => {
    if (!/gzip/.test(request.headers["accept-encoding"] ?? "")) response.end("plain");
    else response.writeHead(200, { "Content-Encoding": "gzip" }).end(gzipSync("packed"));
  },
  "/redirect": (_request, response) => void response.writeHead(302, { Location: "/elsewhere" }).end("moved"),
  "/hold": (_request, response, origin) => {
    response.writeHead(200);
    response.write("held ");
    origin.held.push(response);
    response.on("close", () => {
      if (!response.writableFinished) origin.cut.push("/hold");
    });
  },
};

function text(buffer: Buffer): string {
  return buffer.length > 1000 ? `${buffer.length} bytes` : buffer.toString();
}

async function note(request: IncomingMessage, origin: TestOrigin): Promise<void> {
  const chunks = (await request.toArray()) as Buffer[];
  origin.seen.push({
    method: request.method ?? "",
    target: request.url ?? "",
    headers: sortedPairs(request.rawHeaders),
    body: text(Buffer.concat(chunks)),
    trailers: sortedPairs(request.rawTrailers),
  });
}

function onRequest(request: IncomingMessage, response: ServerResponse, origin: TestOrigin): void {
  const path = (request.url ?? "").replace(/\?.*$/, "");
  if (path === "/too-large") {
    // Answers without reading what is sent.
    response.writeHead(413, { "Content-Length": "9", Connection: "close" });
    response.end("too large");
    return;
  }
  note(request, origin).then(
    () => {
      const handler = HANDLERS[path];
      if (handler === undefined) response.end("ok");
      else handler(request, response, origin);
    },
    () => origin.cut.push(path),
  );
}

function noteHead({ method = "", url = "", rawHeaders }: IncomingMessage, origin: TestOrigin): void {
  origin.seen.push({ method, target: url, headers: sortedPairs(rawHeaders), body: "", trailers: [] });
}

function onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, origin: TestOrigin): void {
  socket.on("error", () => {});
  noteHead(request, origin);
  if (request.url === "/ws-decline") {
    socket.end("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain");
    return;
  }
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Extra: 1\r\n\r\nglued",
  );
  socket.on("close", () => origin.cut.push(request.url ?? ""));
  if (request.url === "/ws-close") socket.end("bye");
  else if (request.url === "/ws-reply-at-end") replyAtEnd(socket, head);
  else {
    if (head.length > 0) socket.write(head);
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
    socket.on("end", () => socket.end());
  }
}

/** Says what it got once the other side has ended, a moment later. */
function replyAtEnd(socket: Duplex, head: Buffer = Buffer.alloc(0)): void {
  const chunks = [head];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("end", () => setTimeout(() => socket.end(`got ${Buffer.concat(chunks).toString()}`), 200));
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function startOrigin(): Promise<TestOrigin> {
  const server = http.createServer({ keepAliveTimeout: 60_000 });
  const echo = net.createServer({ allowHalfOpen: true }, (socket: Socket) => {
    socket.on("error", () => {});
    socket.on("close", () => origin.cut.push("tcp"));
    socket.write("hello ");
    replyAtEnd(socket);
  });
  const sockets = new Set<Socket>();
  for (const each of [server, echo]) each.on("connection", (socket: Socket) => sockets.add(socket));
  const host = await listen(server);
  const origin: TestOrigin = {
    url: `http://${host}`,
    host,
    tcp: await listen(echo),
    closed: `127.0.0.1:${await closedPort()}`,
    seen: [],
    cut: [],
    held: [],
    async close() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([server, echo].map((each) => new Promise((resolve) => each.close(resolve))));
    },
  };
  server.on("request", (request, response) => onRequest(request, response, origin));
  server.on("connect", (request, socket) => {
    socket.end("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    noteHead(request, origin);
  });
  server.on("upgrade", (request, socket, head) => onUpgrade(request, socket, head, origin));
  return origin;
}
