/**
 * The management service (operations § 10): what Cloudflare's dashboard and `tail` ask a connector, through its own tunnel.
 *
 *   GET|HEAD /ping     200                       GET /host_details   connector, address and name of this machine
 *   GET /logs          WebSocket: the log        GET /metrics        with management-diagnostics
 *
 * Every request needs `?access_token=`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { WebSocket, WebSocketServer } from "ws";
import type { Logger } from "../../types.ts";
import { type ManagementClaims, readManagementToken, refusalOf, type ServedTunnel } from "./access-token.ts";
import { hostDetails } from "./host-details.ts";
import { CLOSE_MS, MAX_MESSAGE_BYTES, MAX_SOCKETS } from "./limits.ts";
import { CLOSE_CODES, LogStreams } from "./log-stream.ts";
import type { LogTap } from "./log-tap.ts";
import { serveLogs } from "./log-socket.ts";

export interface ManagementOptions {
  readonly tap: Pick<LogTap, "attach">;
  readonly connectorId: string;
  readonly served: () => ServedTunnel;
  /** Shown in the place of this machine's name. */
  readonly label: string | undefined;
  /** `ip:port` of Cloudflare's, for finding out by which address this machine reaches it. */
  readonly serviceAddress: string;
  /** Prometheus text, where the diagnostics are on. */
  readonly metrics: (() => string) | undefined;
  readonly logger: Logger;
  readonly now?: () => number;
}

const CORS_MAX_AGE_S = 300;

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body?: string;
}

const JSON_TYPE = "application/json";
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
/** cloudflared's code and words: `tail` shows them. */
const MISSING_TOKEN = failure(400, 1001, "missing access_token query parameter");

function failure(status: number, code: number, message: string): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify({ errors: [{ code, message }] })}\n` };
}

/** Pages of Cloudflare's dashboard alone may read answers, or open the log. */
function isDashboard(origin: string): boolean {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  return url?.protocol === "https:" && url.port === "" && url.hostname.endsWith(".cloudflare.com");
}

export class ManagementService {
  readonly #options: ManagementOptions;
  readonly #streams: LogStreams;
  readonly #sockets = new Set<WebSocket>();
  #server: Promise<WebSocketServer> | undefined;
  /** Handshakes that are not over yet count, too. */
  #open = 0;
  #closed = false;

  constructor(options: ManagementOptions) {
    this.#options = options;
    this.#streams = new LogStreams(options.tap, Math.random);
  }

  /** For a server's `request`. */
  readonly listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    request.resume();
    const { body = "", status, type } = await this.#answer(request, response);
    response.statusCode = status;
    response.setHeader("Cache-Control", "no-store");
    if (type !== undefined) response.setHeader("Content-Type", type);
    if (status !== 204) response.setHeader("Content-Length", Buffer.byteLength(body));
    response.end(body);
  };

  /** For its `upgrade`. */
  readonly upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const claims = this.#admit(request);
    const { origin } = request.headers;
    const { pathname } = urlOf(request);
    if (!("actor" in claims)) refuseUpgrade(socket, claims);
    else if (pathname !== "/logs") refuseUpgrade(socket, { status: 404 });
    else if (origin !== undefined && !isDashboard(origin) && !isSameHost(origin, request)) {
      refuseUpgrade(socket, failure(403, 1004, "this origin may not read the log"));
    } else if (this.#open >= MAX_SOCKETS || this.#closed) refuseUpgrade(socket, { status: 503 });
    else await this.#accept(request, socket, head, claims.actor);
  };

  /** Ends every log stream, so that none holds up the connector's end. */
  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) {
      socket.close(CLOSE_CODES.goingAway, "the connector is shutting down");
      setTimeout(() => socket.terminate(), CLOSE_MS).unref();
    }
  }

  #admit(request: IncomingMessage): ManagementClaims | Answer {
    const { now = Date.now, served } = this.#options;
    const token = urlOf(request).searchParams.get("access_token") ?? "";
    const claims = token === "" ? undefined : readManagementToken(token);
    if (claims === undefined) return MISSING_TOKEN;
    const refusal = refusalOf(claims, served(), now());
    return refusal === undefined ? claims : failure(403, 1002, refusal);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<Answer> {
    const { pathname } = urlOf(request);
    const { method = "" } = request;
    const claims = this.#admit(request);
    if (!("actor" in claims)) return claims;
    if (pathname === "/logs") {
      return method === "GET" ? { status: 426, type: "text/plain", body: "a WebSocket is wanted\n" } : { status: 405 };
    }
    const serve = this.#route(pathname);
    if (serve === undefined) return { status: 404 };
    allowDashboard(request, response);
    if (method === "OPTIONS") {
      response.setHeader("Access-Control-Allow-Methods", "GET, HEAD");
      response.setHeader("Access-Control-Max-Age", CORS_MAX_AGE_S);
      return { status: 204 };
    }
    if (method === "GET" || (method === "HEAD" && pathname === "/ping")) return await serve();
    response.setHeader("Allow", pathname === "/ping" ? "GET, HEAD" : "GET");
    return { status: 405 };
  }

  #route(pathname: string): (() => Promise<Answer>) | undefined {
    const { connectorId, label, metrics, serviceAddress } = this.#options;
    if (pathname === "/ping") return async () => ({ status: 200 });
    if (pathname === "/host_details") {
      return async () => {
        const details = await hostDetails(connectorId, label, serviceAddress);
        return { status: 200, type: JSON_TYPE, body: `${JSON.stringify(details)}\n` };
      };
    }
    if (pathname !== "/metrics" || metrics === undefined) return undefined;
    return async () => ({ status: 200, type: METRICS_TYPE, body: metrics() });
  }

  async #accept(request: IncomingMessage, socket: Duplex, head: Buffer, actor: string): Promise<void> {
    this.#open++;
    socket.once("close", () => this.#open--);
    // Nobody pays for it who does not use it.
    this.#server ??= import("ws").then(
      (ws) =>
        new ws.WebSocketServer({
          noServer: true,
          clientTracking: false,
          maxPayload: MAX_MESSAGE_BYTES,
          perMessageDeflate: false,
        }),
    );
    const server = await this.#server;
    server.handleUpgrade(request, socket, head, (ws) => {
      this.#sockets.add(ws);
      ws.on("close", () => this.#sockets.delete(ws));
      this.#options.logger.info("Somebody follows the log through Cloudflare", { actor });
      serveLogs(ws, (peer, now) => this.#streams.open(actor, peer, now));
      if (this.#closed) this.close();
    });
  }
}

function urlOf({ url = "/" }: IncomingMessage): URL {
  const target = url.startsWith("/") ? url : "/";
  // A path that begins with two slashes would be taken for a host.
  return new URL(`http://management${target}`);
}

function isSameHost(origin: string, { headers }: IncomingMessage): boolean {
  return URL.canParse(origin) && new URL(origin).host === headers.host?.toLowerCase();
}

function allowDashboard({ headers }: IncomingMessage, response: ServerResponse): void {
  response.setHeader("Vary", "Origin");
  const { origin } = headers;
  if (origin === undefined || !isDashboard(origin)) return;
  response.setHeader("Access-Control-Allow-Origin", origin);
  response.setHeader("Access-Control-Allow-Credentials", "true");
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  503: "Service Unavailable",
};

function refuseUpgrade(socket: Duplex, { body = "", status, type }: Answer): void {
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}`,
    "Connection: close",
    ...(type === undefined ? [] : [`Content-Type: ${type}`]),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
