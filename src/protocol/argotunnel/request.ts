/**
 * A ConnectRequest as the request that it stands for (wire §§ 5.3, 5.4). Its metadata:
 *
 *     HttpMethod │ HttpHost │ HttpHeader:<Name>, one a value │ FlowID │ cf-trace-id │ others, which are ignored
 */
import type { HeaderField } from "../bytes/header-field.ts";
import {
  CONNECTION_TYPE_HTTP,
  CONNECTION_TYPE_TCP,
  CONNECTION_TYPE_WEBSOCKET,
  type ConnectRequest,
} from "../capnp/connect.ts";
import { StreamHeadError } from "./errors.ts";
import type { FieldCache } from "./field-cache.ts";

const HEADER = "HttpHeader";
const METHOD = "HttpMethod";
const HOST = "HttpHost";

export interface HttpTarget {
  readonly kind: "http" | "websocket";
  readonly method: string;
  readonly authority: string;
  /** Path and query; never empty. */
  readonly path: string;
  /** Names in lower case; without `host` and `cf-trace-id`. */
  readonly headers: readonly HeaderField[];
  readonly contentLength: number | undefined;
  /** Whether the bytes behind the head are a body. */
  readonly hasBody: boolean;
}

export interface TcpTarget {
  readonly kind: "tcp";
  /** Literal `ip:port`, not yet validated. */
  readonly destination: string;
}

export type ConnectTarget = HttpTarget | TcpTarget;

/** Methods whose requests have no body unless they say so: one that a stream does not end behind its head waits for nothing. */
const METHODS_WITHOUT_BODY: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "DELETE"]);

/** Throws StreamHeadError for what can't be served; its message may be told to the edge. */
export function connectTarget(request: ConnectRequest, fields: FieldCache): ConnectTarget {
  switch (request.type) {
    case CONNECTION_TYPE_TCP:
      return { kind: "tcp", destination: request.dest };
    case CONNECTION_TYPE_HTTP:
      return httpTarget("http", request, fields);
    case CONNECTION_TYPE_WEBSOCKET:
      return httpTarget("websocket", request, fields);
    default:
      throw new StreamHeadError(`connection type ${request.type} is none of http, websocket and tcp`);
  }
}

function httpTarget(kind: "http" | "websocket", request: ConnectRequest, fields: FieldCache): HttpTarget {
  let method = "";
  let host: string | undefined;
  let isChunked = false;
  let contentLength: number | undefined;
  const headers: HeaderField[] = [];
  for (const { key, val } of request.metadata) {
    if (key === METHOD) method = val;
    else if (key === HOST) host = val;
    else if (key.includes(HEADER)) {
      const field = fields.field(key, val);
      switch (field.name) {
        case "host":
        case "cf-trace-id":
          continue;
        case "transfer-encoding":
          isChunked ||= val.toLowerCase().includes("chunked");
          continue;
        case "content-length":
          contentLength = lengthOf(val, contentLength);
          continue;
        default:
          headers.push(field);
      }
    }
  }
  if (method === "") method = "GET";
  const { authority, path } = splitTarget(request.dest);
  // Chunked framing speaks of the hop to the edge, and over a length (RFC 9112 § 6.3); both together are a body of unknown length.
  if (isChunked) contentLength = undefined;
  const hasBody =
    kind === "websocket" ||
    isChunked ||
    (contentLength === undefined ? !METHODS_WITHOUT_BODY.has(method) : contentLength > 0);
  return { kind, method, authority: host ?? authority, path, headers, contentLength, hasBody };
}

function lengthOf(val: string, before: number | undefined): number {
  const length = /^\d{1,16}$/.test(val) ? Number(val) : Number.NaN;
  if (!Number.isSafeInteger(length))
    throw new StreamHeadError("the Content-Length of the request is not a decimal number");
  if (before !== undefined && before !== length) {
    throw new StreamHeadError("the request states its Content-Length twice, and differently");
  }
  return length;
}

/** `dest` is an absolute URL, or a path with its query. */
function splitTarget(dest: string): { authority: string; path: string } {
  const [target = ""] = dest.split("#", 1);
  if (target.startsWith("/")) return { authority: "", path: target };
  const absolute = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?]*@)?([^/?]*)(.*)$/.exec(target);
  if (absolute === null) {
    if (target === "" || target.startsWith("?")) return { authority: "", path: `/${target}` };
    throw new StreamHeadError("the destination of the request is neither a URL nor a path");
  }
  const [, authority = "", rest = ""] = absolute;
  return { authority, path: rest.startsWith("/") ? rest : `/${rest}` };
}

/** The metadata that `connectTarget` reads: the edge's side. `authority` goes into HttpHost. */
export function httpMetadata(
  method: string,
  authority: string,
  headers: readonly HeaderField[],
): { key: string; val: string }[] {
  return [
    { key: METHOD, val: method },
    { key: HOST, val: authority },
    ...headers.map(({ name, value }) => ({ key: `${HEADER}:${name}`, val: value })),
  ];
}
