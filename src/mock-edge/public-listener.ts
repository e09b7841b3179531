/** The visitors' side: an HTTP server on loopback that passes each request on to a tunnel, as the edge does. */
import { randomBytes } from "node:crypto";
import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from "node:http";
import type { Socket } from "node:net";
import { type Duplex, finished } from "node:stream";
import type { Logger } from "../types.ts";
import type { StreamRequest } from "./carrier.ts";
import type { Connection } from "./connection.ts";
import { BAD_GATEWAY, type ErrorPage, NO_CONNECTION, sendPage } from "./error-pages.ts";
import { type ConnectorAnswer, readAnswer } from "./response-head.ts";
import { endToEnd, type Field, pairs, visitorFields } from "./visitor-fields.ts";
import type { VisitorStream } from "./visitor-stream.ts";

export interface PublicListenerOptions {
  readonly location: string;
  /** The connection for a Host header and a request's target. */
  readonly route: (authority: string, target: string) => Connection | undefined;
  /** In the place of what visitors ask for. */
  readonly authority?: string;
  /** What visitors' URLs begin with; default http. */
  readonly scheme?: "http" | "https";
  /** Told of each visitor, and of the connection that takes it. */
  readonly onVisit: (request: StreamRequest, connection: Connection | undefined) => void;
  readonly logger: Logger;
}

const MAX_HEADER_BYTES = 64 * 1024;
const NO_BYTES = Buffer.alloc(0);

interface Visit {
  readonly request: IncomingMessage;
  readonly authority: string;
  readonly ray: string;
  readonly fields: readonly Field[];
}

/** Bodies exist where one of the two framing fields says so (RFC 9112 § 6.3). */
function hasBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && length !== "0");
}

/** `GET http://host/path` (RFC 9112 § 3.2.2) names the host in the request line. */
function originForm(target: string): string {
  const absolute = /^https?:\/\/[^/?#]*(.*)$/i.exec(target);
  if (absolute === null) return target;
  const rest = absolute[1] ?? "";
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function isWebSocket(request: IncomingMessage): boolean {
  return request.method === "GET" && (request.headers.upgrade ?? "").toLowerCase() === "websocket";
}

/** On HTTP/2 101 travels as 200 (wire § 4.4); a 200 that merely offers to upgrade has no accept key. */
function isAccepted({ status, headers }: ConnectorAnswer): boolean {
  return (
    (status === 101 || status === 200) &&
    headers?.some(([name]) => name.toLowerCase() === "sec-websocket-accept") === true
  );
}

function isSendable(field: Field): boolean {
  try {
    headerLine(field);
    return true;
  } catch {
    return false;
  }
}

/** Throws where the field would break out of its line. */
function headerLine([name, value]: Field): string {
  validateHeaderName(name);
  validateHeaderValue(name, value);
  return `${name}: ${value}\r\n`;
}

class PublicListener {
  readonly #options: PublicListenerOptions;

  constructor(options: PublicListenerOptions) {
    this.#options = options;
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    const visit = this.#visit(request);
    // A visitor who leaves shows on the response; the request's own error says nothing more.
    request.on("error", () => {});
    response.on("error", () => {});
    const body = hasBody(request);
    const stream = this.#open(visit, {
      method: request.method ?? "GET",
      authority: visit.authority,
      path: originForm(request.url ?? "/"),
      fields: visit.fields,
      end: !body,
    });
    if (stream === undefined) {
      request.resume();
      this.#page(visit, response, NO_CONNECTION);
      return;
    }
    if (body) {
      request.on("end", () => stream.setTrailers(endToEnd(pairs(request.rawTrailers))));
      request.pipe(stream);
    }
    response.on("close", () => {
      if (!response.writableFinished) stream.cancel();
    });
    this.#answer(visit, stream, response);
  }

  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {});
    const visit = this.#visit(request);
    const response = this.#responseOn(request, socket);
    if (!isWebSocket(request)) {
      // Another protocol is not offered (RFC 9110 § 7.8): the request is answered as if it had not asked.
      if (hasBody(request)) sendPage(response, { ...BAD_GATEWAY, status: 501, statusText: "Not Implemented" }, []);
      else this.onRequest(request, response);
      return;
    }
    const stream = this.#open(visit, {
      authority: visit.authority,
      path: originForm(request.url ?? "/"),
      fields: [...visit.fields, ["cf-cloudflared-proxy-connection-upgrade", "websocket"]],
    });
    if (stream === undefined) {
      this.#page(visit, response, NO_CONNECTION);
      return;
    }
    socket.on("close", () => stream.destroy());
    this.#handshake(visit, stream)
      .then((answer) => {
        if (answer.headers === undefined || !isAccepted(answer)) {
          stream.end();
          this.#respond(visit, stream, response, answer);
          return;
        }
        const lines = answer.headers.map(headerLine).join("");
        response.detachSocket(socket as Socket);
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}cf-ray: ${visit.ray}\r\n\r\n`, "latin1");
        this.#splice(visit, stream, socket, head, 101);
      })
      .catch(() => this.#page(visit, response, BAD_GATEWAY));
  }

  /** CONNECT opens a TCP stream to a private address behind the tunnel; the target stands in the request line. */
  onConnect(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => {});
    const visit = this.#visit(request);
    const response = this.#responseOn(request, socket);
    const stream = this.#open(visit, {
      authority: request.url ?? "",
      fields: [
        ["cf-ray", visit.ray],
        ["cf-cloudflared-proxy-src", request.socket.remoteAddress ?? "127.0.0.1"],
      ],
    });
    if (stream === undefined) {
      this.#page(visit, response, NO_CONNECTION);
      return;
    }
    socket.on("close", () => stream.destroy());
    this.#handshake(visit, stream)
      .then((answer) => {
        if (answer.status !== 200 || answer.source !== "origin") {
          stream.destroy();
          this.#page(visit, response, BAD_GATEWAY);
          return;
        }
        response.detachSocket(socket as Socket);
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n", "latin1");
        this.#splice(visit, stream, socket, head, 200);
      })
      .catch(() => this.#page(visit, response, BAD_GATEWAY));
  }

  #open({ authority }: Visit, request: StreamRequest): VisitorStream | undefined {
    const connection = this.#options.route(authority, request.path ?? "");
    const stream = connection?.openStream(request);
    this.#options.onVisit(request, stream === undefined ? undefined : connection);
    return stream;
  }

  #visit(request: IncomingMessage): Visit {
    const ray = `${randomBytes(8).toString("hex")}-${this.#options.location.replace(/\d+$/, "")}`;
    const address = (request.socket.remoteAddress ?? "127.0.0.1").replace(/^::ffff:/, "");
    const { authority: fixed, scheme = "http" } = this.#options;
    const asked = /^https?:\/\/([^/?#]*)/i.exec(request.url ?? "")?.[1] ?? request.headers.host ?? "";
    const fields = visitorFields(request.rawHeaders, { address, ray, scheme });
    return { request, authority: fixed ?? asked, ray, fields };
  }

  /** Node hands out only the socket with an upgrade or CONNECT; a response of its own writes the ordinary answers. */
  #responseOn(request: IncomingMessage, socket: Duplex): ServerResponse {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as Socket);
    response.on("error", () => {});
    response.on("finish", () => {
      // After an accepted handshake the socket is no longer the response's.
      if (response.socket !== null) socket.end();
    });
    return response;
  }

  async #handshake(visit: Visit, stream: VisitorStream): Promise<ConnectorAnswer> {
    try {
      return readAnswer(await stream.head);
    } catch (error) {
      this.#options.logger.warn("The connector gave no usable answer", { host: visit.authority, error });
      stream.destroy();
      throw error;
    }
  }

  #answer(visit: Visit, stream: VisitorStream, response: ServerResponse): void {
    this.#handshake(visit, stream)
      .then((answer) => this.#respond(visit, stream, response, answer))
      .catch(() => this.#page(visit, response, BAD_GATEWAY));
  }

  #respond(visit: Visit, stream: VisitorStream, response: ServerResponse, answer: ConnectorAnswer): void {
    if (answer.headers === undefined) {
      // Not the origin's: the connector's own 502, or its HTTP/2 layer's refusal. Its body is not for visitors.
      stream.resume();
      this.#page(visit, response, BAD_GATEWAY);
      return;
    }
    this.#log(visit, answer.status);
    const fields = endToEnd(answer.headers);
    if (fields.some(([name]) => name.toLowerCase() === "date")) response.sendDate = false;
    response.writeHead(answer.status, [...fields.flat(), "cf-ray", visit.ray]);
    // A head must not wait for the first bytes behind it (server-sent events). Not flushHeaders(): it writes UTF-8, where bytes are due.
    response.write(NO_BYTES);
    stream.pipe(response, { end: false });
    stream.on("end", () => {
      // Node refuses some names and values; the body is complete without them.
      const trailers = stream.trailers.filter(isSendable).map(([name, value]): [string, string] => [name, value]);
      if (trailers.length > 0) response.addTrailers(trailers);
      response.end();
    });
    // A visitor must not take a broken answer for a complete one.
    finished(stream, { writable: false }, (error) => {
      if (error) response.destroy();
    });
  }

  #splice(visit: Visit, stream: VisitorStream, socket: Duplex, head: Buffer, status: number): void {
    this.#log(visit, status);
    if (head.length > 0) stream.write(head);
    socket.pipe(stream);
    stream.pipe(socket);
    stream.on("close", () => {
      if (!stream.readableEnded) socket.destroy();
    });
  }

  #page(visit: Visit, response: ServerResponse, page: ErrorPage): void {
    if (response.headersSent || response.destroyed) return;
    this.#log(visit, page.status);
    sendPage(response, page, [["cf-ray", visit.ray]]);
  }

  #log({ request, authority }: Visit, status: number): void {
    this.#options.logger.info("Request", { method: request.method, host: authority, path: request.url, status });
  }
}

export function createPublicListener(options: PublicListenerOptions): Server {
  const listener = new PublicListener(options);
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 0 });
  server.on("request", (request, response) => listener.onRequest(request, response));
  server.on("upgrade", (request, socket, head) => listener.onUpgrade(request, socket, head));
  server.on("connect", (request, socket, head) => listener.onConnect(request, socket, head));
  return server;
}
