/** The http.Server that stands behind an origin: the user's own, or one that never listens anywhere. */
import { createServer, type Server } from "node:http";
import { Server as TlsServer } from "node:tls";
import { HeaderLineCache } from "../../protocol/http1/header-line.ts";
import type { Origin, UpgradeListener } from "../../types.ts";
import { InProcessSocket } from "./socket.ts";

export type InProcessOrigin = Extract<Origin, { kind: "server" | "listener" | "fetch" }>;

export interface Endpoint {
  /** Gives the server a connection, as if it had accepted it. */
  connect(socket: InProcessSocket): void;
  readonly lines: HeaderLineCache;
}

/** Cloudflare forwards at most 128 KiB of request header fields, node:http takes 16 KiB by default. */
const MAX_HEADER_BYTES = 256 * 1024;

/** An origin's server lives as long as the origin. */
const endpoints = new WeakMap<InProcessOrigin, Endpoint>();

export function endpointOf(origin: InProcessOrigin): Endpoint {
  let endpoint = endpoints.get(origin);
  if (endpoint === undefined) {
    const server = origin.kind === "server" ? origin.server : privateServer(origin);
    // An https.Server decrypts what `connection` brings; its HTTP side begins at `secureConnection`.
    const event = server instanceof TlsServer ? "secureConnection" : "connection";
    endpoint = { connect: (socket) => server.emit(event, socket), lines: new HeaderLineCache() };
    endpoints.set(origin, endpoint);
  }
  return endpoint;
}

export function takesUpgrades(origin: InProcessOrigin): boolean {
  return origin.kind === "server" ? origin.server.listenerCount("upgrade") > 0 : origin.upgrade !== undefined;
}

function privateServer(origin: Exclude<InProcessOrigin, { kind: "server" }>): Server {
  // The edge has limits of its own for how long a request may take.
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 0, headersTimeout: 0 });
  if (origin.kind === "listener") {
    const { listener } = origin;
    server.on("request", (request, response) => attend(request.socket, () => listener(request, response)));
  }
  const upgrade: UpgradeListener | undefined = origin.upgrade;
  if (upgrade !== undefined) {
    server.on("upgrade", (request, socket, head) => attend(socket, () => upgrade(request, socket, head)));
  }
  return server;
}

/** Calls a handler; what it throws or rejects with becomes the request's end, not the process's. */
function attend(socket: unknown, call: () => unknown): void {
  if (!(socket instanceof InProcessSocket)) {
    call();
    return;
  }
  try {
    const result = call();
    if (typeof result === "object" && result !== null && "then" in result) socket.handlerPends(Promise.resolve(result));
  } catch (error) {
    socket.handlerFailed(error);
  }
}
