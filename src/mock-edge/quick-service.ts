/** The quick-tunnel API (operations § 7): `POST /tunnel`, and its ways to fail. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { QuickTunnelResult } from "./tunnels.ts";

/** How the API answers instead of handing out a tunnel. */
export type QuickFault =
  /** 429 with Retry-After. */
  | { readonly kind: "rate-limit"; readonly retryAfterSeconds?: number }
  /** Cloudflare's page for error 1015, which is HTML with status 429. */
  | { readonly kind: "error-1015"; readonly retryAfterSeconds?: number }
  /** 200, but a page. */
  | { readonly kind: "not-json" }
  /** The envelope with `success: false`. */
  | { readonly kind: "refuse"; readonly code?: number; readonly message?: string };

const DEFAULT_RETRY_AFTER_SECONDS = 30;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly retryAfterSeconds?: number;
}

function json(status: number, content: unknown): Answer {
  return { status, type: "application/json", body: JSON.stringify(content) };
}

function refusal(status: number, code: number, message: string): Answer {
  return json(status, { success: false, result: null, errors: [{ code, message }] });
}

function failure(fault: QuickFault): Answer {
  switch (fault.kind) {
    case "rate-limit":
      return {
        ...refusal(429, 10_429, "too many quick tunnels were asked for"),
        retryAfterSeconds: fault.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS,
      };
    case "error-1015":
      return {
        status: 429,
        type: "text/html; charset=UTF-8",
        body: "<!DOCTYPE html><html><head><title>Access denied</title></head><body><h1>Error 1015</h1><p>You are being rate limited</p></body></html>",
        retryAfterSeconds: fault.retryAfterSeconds ?? DEFAULT_RETRY_AFTER_SECONDS,
      };
    case "not-json":
      return {
        status: 200,
        type: "text/html; charset=UTF-8",
        body: "<!DOCTYPE html><html><body>Just a moment</body></html>",
      };
    default:
      return refusal(200, fault.code ?? 1101, fault.message ?? "quick tunnels are not available");
  }
}

/** `take` gives the next fault to answer with, `issue` makes a tunnel. */
export function createQuickService(take: () => QuickFault | undefined, issue: () => QuickTunnelResult): Server {
  const answerTo = (request: IncomingMessage): Answer => {
    const path = (request.url ?? "").replace(/\?.*$/, "");
    if (path !== "/tunnel") return refusal(404, 7003, `could not route to ${path}`);
    if (request.method !== "POST") return refusal(405, 10_405, "method not allowed");
    const fault = take();
    return fault === undefined
      ? json(200, { success: true, result: issue(), errors: [], messages: [] })
      : failure(fault);
  };
  return createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume().on("error", () => {});
    request.on("end", () => {
      const { status, type, body, retryAfterSeconds } = answerTo(request);
      if (retryAfterSeconds !== undefined) response.setHeader("retry-after", retryAfterSeconds);
      response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
      response.end(body);
    });
  });
}
