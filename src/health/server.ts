/** The metrics server (operations § 9): `/ready`, `/live`, `/healthcheck`, `/metrics`, `/quicktunnel`, `/config`, `/diag/…`. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { MetricsConfig } from "../config/tunnel-config.ts";
import { UnderpassError } from "../errors.ts";
import type { StateReading, TunnelState } from "./state.ts";
import type { DiagnosticState } from "./diagnostics/tunnel-state.ts";

/** cloudflared's ports, tried in this order before any other. */
export const METRICS_PORTS: readonly number[] = [20241, 20242, 20243, 20244, 20245];

/** For a request and for its answer, as in cloudflared. */
const TIMEOUT_MS = 10_000;
/** A scraper or two: more is somebody holding sockets open. */
const MAX_CONNECTIONS = 64;

/** The address that was asked for can't be listened on. */
export class MetricsListenError extends UnderpassError {
  constructor(host: string, port: number, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const isPort = /EADDRINUSE|EACCES/.test(reason);
    const right = isPort ? "a free port" : "an address of this machine, such as 127.0.0.1,";
    super(
      "ERR_UNDERPASS_METRICS_LISTEN",
      `the metrics server can't listen on ${host === "" ? "every address" : host}, port ${port}: ${reason}; ${right} would be right`,
      { cause },
    );
  }
}

/** The tunnel's state, and the connections that it comes from. */
export interface HealthReading extends StateReading {
  readonly readyConnections: number;
  readonly wantedConnections: number;
}

/** What the server tells of the tunnel, asked at each request. */
export interface HealthState {
  readonly connectorId: string;
  readonly health: () => HealthReading;
  /** Public hostname of a quick tunnel, empty otherwise. */
  readonly quickHostname: () => string;
  /** JSON: the rules in effect, and their version. */
  readonly configuration: () => string;
  /** Prometheus text. */
  readonly metrics: () => string;
  /** What `/diag/…` tells; without it there are no such pages. */
  readonly diagnostics?: DiagnosticState;
}

export interface MetricsServer {
  /** `http://host:port`. */
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  /** Said in a header, so that the body can be cloudflared's. */
  readonly state?: TunnelState;
}

const TEXT = "text/plain; charset=utf-8";
const FAILED: Answer = { status: 500, type: TEXT, body: "500 internal server error\n" };
const NOT_FOUND: Answer = { status: 404, type: TEXT, body: "404 page not found\n" };

/** Rejects with MetricsListenError. */
export async function startMetricsServer(config: MetricsConfig, state: HealthState): Promise<MetricsServer> {
  const { createServer } = await import("node:http");
  const create = (): Server => {
    const server = createServer((request, response) => void respond(request, response, state));
    server.requestTimeout = TIMEOUT_MS;
    server.headersTimeout = TIMEOUT_MS;
    server.keepAliveTimeout = TIMEOUT_MS;
    server.maxConnections = MAX_CONNECTIONS;
    // Ends a connection that takes no bytes of its answer either.
    server.setTimeout(TIMEOUT_MS);
    return server;
  };
  const server = await (config.kind === "default"
    ? listenOnDefault(create, config.host)
    : listen(create(), config.host, config.port));
  return {
    url: urlOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listenOnDefault(create: () => Server, host: string): Promise<Server> {
  let failure: unknown;
  for (const port of [...METRICS_PORTS, 0]) {
    try {
      return await listen(create(), host, port);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function listen(server: Server, host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(new MetricsListenError(host, port, error));
    server.once("error", fail);
    server.listen({ port, ...(host === "" ? {} : { host }) }, () => {
      server.off("error", fail);
      // Accepting may fail for want of descriptors; the tunnel goes on.
      server.on("error", () => {});
      resolve(server);
    });
  });
}

function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  if (address === "::" || address === "0.0.0.0") return `http://localhost:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** Never rejects. */
async function respond(request: IncomingMessage, response: ServerResponse, state: HealthState): Promise<void> {
  request.resume();
  const { status, type, body, state: name } = await answer(request, state).catch(() => FAILED);
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "x-content-type-options": "nosniff",
    ...(name === undefined ? {} : { "underpass-state": name }),
  });
  response.end(body);
}

async function answer(request: IncomingMessage, state: HealthState): Promise<Answer> {
  // Whatever the method, as in cloudflared: HAProxy's checks ask by OPTIONS.
  const [path] = (request.url ?? "/").split("?");
  switch (path) {
    case "/ready": {
      const { readyConnections, state: name } = state.health();
      const status = readyConnections > 0 ? 200 : 503;
      const body = JSON.stringify({ status, readyConnections, connectorId: state.connectorId });
      return { status, type: TEXT, body, state: name };
    }
    case "/live": {
      const reading = state.health();
      const body = JSON.stringify({ status: 200, ...reading, connectorId: state.connectorId });
      return { status: 200, type: "application/json", body: `${body}\n`, state: reading.state };
    }
    case "/healthcheck":
      return { status: 200, type: TEXT, body: "OK\n" };
    case "/quicktunnel":
      return { status: 200, type: TEXT, body: JSON.stringify({ hostname: state.quickHostname() }) };
    case "/config":
      return { status: 200, type: TEXT, body: state.configuration() };
    case "/metrics":
      return { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: state.metrics() };
    default:
      return path?.startsWith("/diag/") === true && state.diagnostics !== undefined
        ? diagnostics(path, state.diagnostics, state)
        : NOT_FOUND;
  }
}

/** For `diag`, ours and cloudflared's. Loaded when somebody asks. */
async function diagnostics(
  path: string,
  state: DiagnosticState,
  { connectorId, health }: HealthState,
): Promise<Answer> {
  const { renderDiagnostics } = await import("./diagnostics/pages.ts");
  const body = await renderDiagnostics(path, state, connectorId, health);
  return body === undefined ? NOT_FOUND : { status: 200, type: TEXT, body };
}
