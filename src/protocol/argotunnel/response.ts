/**
 * A ConnectResponse (wire § 5.3): an error, or the head of the answer as metadata:
 *
 *     HttpStatus │ HttpHeader:<Name>, one a value │ FlowConnectRateLimited = "true" beside an error
 *
 * The acknowledgement of a TCP stream has neither.
 */
import { HeaderField } from "../bytes/header-field.ts";
import type { ConnectResponse, Metadata } from "../capnp/connect.ts";

const STATUS = "HttpStatus";
const HEADER = "HttpHeader:";
const RATE_LIMITED = "FlowConnectRateLimited";

export function httpResponse(status: number, headers: readonly HeaderField[]): ConnectResponse {
  const metadata: Metadata[] = [{ key: STATUS, val: String(status) }];
  for (const { name, value } of headers) metadata.push({ key: `${HEADER}${name}`, val: value });
  return { error: "", metadata };
}

export function tcpResponse(): ConnectResponse {
  return { error: "", metadata: [] };
}

/** `error` must not be empty: that would be success. */
export function errorResponse(error: string, rateLimited: boolean): ConnectResponse {
  return { error, metadata: rateLimited ? [{ key: RATE_LIMITED, val: "true" }] : [] };
}

/** The edge's side. `status` is undefined for a TCP stream's acknowledgement. */
export type ConnectAnswer =
  | { readonly kind: "error"; readonly error: string; readonly rateLimited: boolean }
  | { readonly kind: "head"; readonly status: number | undefined; readonly headers: readonly HeaderField[] };

export function readConnectResponse({ error, metadata }: ConnectResponse): ConnectAnswer {
  if (error !== "") {
    const rateLimited = metadata.some(({ key, val }) => key === RATE_LIMITED && val === "true");
    return { kind: "error", error, rateLimited };
  }
  let status: number | undefined;
  const headers: HeaderField[] = [];
  for (const { key, val } of metadata) {
    if (key === STATUS) status = Number(val);
    else if (key.startsWith(HEADER)) headers.push(new HeaderField(key.slice(HEADER.length), val));
  }
  return { kind: "head", status, headers };
}
