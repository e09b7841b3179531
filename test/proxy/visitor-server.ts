/** An HTTP server whose requests go to a proxy, as the edge brings them: real clients over real sockets, with windows that close. */
import http from "node:http";
import type { Duplex } from "node:stream";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import type { Proxy } from "../../src/proxy/proxy.ts";
import type { EdgeStream, HttpRequest, ResponseHead, StreamSink, WebSocketRequest } from "../../src/types.ts";

const WINDOW = 256 * 1024;

/** One upgraded socket as a stream. */
class SocketStream implements EdgeStream {
  readonly bodyless = false;
  sink!: StreamSink;
  /** Most that was given to the consumer and not credited. */
  peakHeld = 0;
  readonly #socket: Duplex;
  #held = 0;
  #ended = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  attach(head: Buffer): void {
    const socket = this.#socket;
    const take = (chunk: Buffer): void => {
      this.#held += chunk.length;
      this.peakHeld = Math.max(this.peakHeld, this.#held);
      this.sink.onData(chunk);
      if (this.#held > WINDOW) socket.pause();
    };
    if (head.length > 0) take(head);
    socket.on("data", take);
    socket.on("end", () => this.sink.onEnd([]));
    socket.on("drain", () => this.sink.onWritable());
    socket.on("error", () => {});
    socket.on("close", () => {
      if (!this.#ended || !socket.readableEnded) this.sink.onCancel("client-abort");
    });
  }

  consumed(bytes: number): void {
    this.#held -= bytes;
    if (this.#held < 0) throw new Error("more was credited than was given");
    if (this.#held <= WINDOW) this.#socket.resume();
  }

  get held(): number {
    return this.#held;
  }

  respond({ headers, status }: ResponseHead, end: boolean): void {
    const lines = headers.map(({ name, value }) => `${name}: ${value}\r\n`).join("");
    this.#socket.write(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n${lines}\r\n`, "latin1");
    if (end) this.end();
  }

  write(chunk: Buffer, last: boolean): boolean {
    const room = this.#socket.write(Buffer.from(chunk));
    if (last) this.end();
    return room;
  }

  end(): void {
    this.#ended = true;
    this.#socket.end();
  }

  abort(): void {
    this.#ended = true;
    this.#socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
  }
}

function fieldsOf(request: http.IncomingMessage): HeaderField[] {
  const fields = [new HeaderField("cf-connecting-ip", "192.0.2.7")];
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    fields.push(new HeaderField(request.rawHeaders[i]?.toLowerCase() ?? "", request.rawHeaders[i + 1] ?? ""));
  }
  return fields;
}

export interface VisitorServer {
  readonly server: http.Server;
  /** Of the upgrades, in order. */
  readonly streams: SocketStream[];
}

export function visitorServer(proxy: Proxy): VisitorServer {
  const server = http.createServer();
  const streams: SocketStream[] = [];
  server.on("upgrade", (request: http.IncomingMessage, socket, head) => {
    const stream = new SocketStream(socket);
    streams.push(stream);
    const common = { authority: request.headers.host ?? "", headers: fieldsOf(request), stream };
    const upgrade: WebSocketRequest = { kind: "websocket", method: "GET", path: request.url ?? "/", ...common };
    proxy.handle(upgrade, 0);
    stream.attach(head);
  });
  server.on("request", (request, response) => {
    const stream = new SocketStream(response.socket ?? request.socket);
    const common = {
      authority: request.headers.host ?? "",
      headers: fieldsOf(request),
      contentLength: undefined,
      stream,
    };
    const plain: HttpRequest = { kind: "http", method: request.method ?? "GET", path: request.url ?? "/", ...common };
    proxy.handle(plain, 0);
  });
  return { server, streams };
}
