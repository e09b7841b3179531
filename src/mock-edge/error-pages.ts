/** What visitors see when no origin answered. */
import type { ServerResponse } from "node:http";
import type { Field } from "./visitor-fields.ts";

export interface ErrorPage {
  readonly status: number;
  readonly statusText: string;
  readonly type: string;
  readonly body: string;
}

/** Cloudflare's error 1033: the tunnel has no connection that could take the request. */
export const NO_CONNECTION: ErrorPage = {
  status: 530,
  statusText: "Origin DNS error",
  type: "text/plain; charset=UTF-8",
  body: "error code: 1033",
};

/** The connector could not reach its origin, or the answer broke off before its head. */
export const BAD_GATEWAY: ErrorPage = {
  status: 502,
  statusText: "Bad Gateway",
  type: "text/html; charset=UTF-8",
  body: "<!DOCTYPE html><html><head><title>502: Bad gateway</title></head><body><h1>Bad gateway</h1><p>Error code 502</p></body></html>",
};

export function sendPage(response: ServerResponse, page: ErrorPage, fields: readonly Field[]): void {
  const headers = ["content-type", page.type, "content-length", String(Buffer.byteLength(page.body)), ...fields.flat()];
  response.writeHead(page.status, page.statusText, headers);
  response.end(page.body);
}
