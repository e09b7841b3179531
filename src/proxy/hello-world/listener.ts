/** The built-in demonstration, in the connector's own process: a page, a clock, two echoes, and what cloudflared's has (ingress § 5.1). */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { WebSocketServer } from "ws";
import type { RequestListener, UpgradeListener } from "../../types.ts";
import { formatDuration, parseDuration } from "../ingress/duration.ts";
import { contentSecurityPolicy, renderPage, script, stylesheet } from "./page.ts";

const TICK_MS = 1_000;

/** Of `/sse`: as in cloudflared, and the bounds of what a visitor may ask for. */
const COUNT_MS = 10_000;
const MIN_COUNT_MS = 100;
const MAX_COUNT_MS = 3_600_000;

/** What one WebSocket message of a visitor may make the echo hold. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

interface Route {
  readonly methods: readonly string[];
  readonly serve: (request: IncomingMessage, response: ServerResponse) => void;
}

const READ = ["GET", "HEAD"];

const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ["/", { methods: READ, serve: (request, response) => answer(response, "text/html", renderPage(described(request))) }],
  ["/demo.css", { methods: READ, serve: (_request, response) => answer(response, "text/css", stylesheet) }],
  ["/demo.js", { methods: READ, serve: (_request, response) => answer(response, "text/javascript", script) }],
  ["/healthz", { methods: READ, serve: (_request, response) => answer(response, "text/plain", "ok\n") }],
  ["/_health", { methods: READ, serve: (_request, response) => answer(response, "text/plain", "ok") }],
  ["/uptime", { methods: READ, serve: (_request, response) => answer(response, "application/json", uptime()) }],
  ["/sse", { methods: ["GET"], serve: serveCount }],
  ["/clock", { methods: ["GET"], serve: serveClock }],
  ["/echo", { methods: ["POST", "PUT"], serve: serveEcho }],
]);

export const demoListener: RequestListener = (request, response) => {
  response.setHeader("Content-Security-Policy", contentSecurityPolicy);
  response.setHeader("X-Content-Type-Options", "nosniff");
  response.setHeader("Referrer-Policy", "no-referrer");
  response.setHeader("Cache-Control", "no-store");
  const route = ROUTES.get(pathOf(request));
  if (route === undefined) {
    response.statusCode = 404;
    answer(response, "text/plain", "Not Found\n");
  } else if (route.methods.includes(request.method ?? "")) {
    route.serve(request, response);
  } else {
    response.statusCode = 405;
    response.setHeader("Allow", route.methods.join(", "));
    answer(response, "text/plain", "Method Not Allowed\n");
  }
};

let sockets: Promise<WebSocketServer> | undefined;

/** Echoes each message on `/ws`. */
export const demoUpgrade: UpgradeListener = async (request, socket, head) => {
  if (pathOf(request) !== "/ws") {
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  // Nobody pays for it who does not use it.
  sockets ??= import("ws").then((ws) => new ws.WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES }));
  (await sockets).handleUpgrade(request, socket, head, (ws) => {
    ws.on("error", () => ws.terminate());
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
};

function pathOf({ url = "/" }: IncomingMessage): string {
  const query = url.indexOf("?");
  return query < 0 ? url : url.slice(0, query);
}

function described(request: IncomingMessage): Parameters<typeof renderPage>[0] {
  const { rawHeaders, socket } = request;
  const fields: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) fields.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  const connIndex = "connIndex" in socket && typeof socket.connIndex === "number" ? socket.connIndex : undefined;
  return { method: request.method ?? "", path: request.url ?? "", connIndex, fields };
}

function answer(response: ServerResponse, type: string, text: string): void {
  const body = Buffer.from(text);
  response.setHeader("Content-Type", `${type}; charset=utf-8`);
  response.setHeader("Content-Length", body.length);
  response.end(body);
}

function serveClock(_request: IncomingMessage, response: ServerResponse): void {
  const tick = (): void => void response.write(`data: ${new Date().toISOString()}\n\n`);
  response.setHeader("Content-Type", "text/event-stream");
  tick();
  const timer = setInterval(tick, TICK_MS);
  response.on("close", () => clearInterval(timer));
}

function uptime(): string {
  const started = new Date(performance.timeOrigin).toISOString();
  return `${JSON.stringify({ startTime: started, uptime: formatDuration(Math.round(performance.now())) })}\n`;
}

/** The path names its pace: `/sse?freq=500ms`. */
function serveCount({ url = "/" }: IncomingMessage, response: ServerResponse): void {
  const wanted = parseDuration(new URLSearchParams(url.slice(url.indexOf("?") + 1)).get("freq") ?? "") ?? 0;
  const pace = wanted > 0 ? Math.min(MAX_COUNT_MS, Math.max(MIN_COUNT_MS, wanted)) : COUNT_MS;
  let count = 0;
  response.setHeader("Content-Type", "text/event-stream; charset=utf-8");
  response.flushHeaders();
  const timer = setInterval(() => void response.write(`data: ${++count}\n\n`), pace);
  response.on("close", () => clearInterval(timer));
}

/** As plain text, whatever the visitor calls it: a page of somebody else's must not run here. */
function serveEcho(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  const length = request.headers["content-length"];
  if (length !== undefined) response.setHeader("Content-Length", length);
  request.on("error", () => response.destroy());
  request.pipe(response);
}
