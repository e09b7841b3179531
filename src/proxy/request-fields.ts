/** The request as the origin gets it (ingress § 7.2): the visitor's fields in their order, with the connector's own changes. */
import { HeaderField } from "../protocol/bytes/header-field.ts";
import { canonicalName } from "../protocol/http1/field-syntax.ts";
import { fieldLine, hostLine, requestLine } from "../protocol/http1/request-head.ts";
import type { HttpRequest, WebSocketRequest } from "../types.ts";
import { BadRequestError } from "./bad-request.ts";
import type { OriginProxy } from "./environment-proxy.ts";

/** How the body travels to the origin. */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" };

const NO_BODY: BodyFraming = { kind: "none" };
const EMPTY_BODY: BodyFraming = { kind: "length", length: 0 };
const CHUNKED: BodyFraming = { kind: "chunked" };

/** Methods whose requests are expected to say that their body is empty (RFC 9110 § 8.6). */
const METHODS_WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

export function bodyFraming(request: HttpRequest | WebSocketRequest): BodyFraming {
  if (request.kind === "websocket") return NO_BODY;
  const { contentLength } = request;
  if (contentLength !== undefined) return { kind: "length", length: contentLength };
  if (!request.stream.bodyless) return CHUNKED;
  return METHODS_WITH_BODY.has(request.method) ? EMPTY_BODY : NO_BODY;
}

/** Fields about one hop only, and those that the connector writes itself. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

function isNamed(field: HeaderField, name: string | undefined): boolean {
  return name !== undefined && field.name.length === name.length && field.name.toLowerCase() === name;
}

function isForwarded(field: HeaderField): boolean {
  const name = field.name.toLowerCase();
  if (NOT_FORWARDED.has(name)) return false;
  // RFC 9113 § 8.2.2: what else `te` might list is not there to be used.
  return name !== "te" || field.value.toLowerCase() === "trailers";
}

/** The field's line, cached on it; "" when it is not forwarded. Throws on what can't be written safely. */
function lineOf(field: HeaderField): string {
  const line = isForwarded(field) ? fieldLine(field.name, field.value) : "";
  field.line = line;
  return line;
}

export interface RequestFieldOptions {
  readonly connectorId: string;
  readonly tags: readonly { readonly name: string; readonly value: string }[];
  /** Replaces the visitor's host. */
  readonly hostHeader: string | undefined;
  /** For requests without a host. */
  readonly fallbackHost: string;
  /** What the owner sets or removes, in lower case: it is not added here. */
  readonly edited?: ReadonlySet<string>;
  /** Gets the requests, with the origin's host in their target. */
  readonly proxied?: OriginProxy | undefined;
  readonly authority?: string;
}

const FORWARDED_HOST = "X-Forwarded-Host";
const PROXY_AUTHORIZATION = "Proxy-Authorization";

export class RequestFields {
  readonly #options: RequestFieldOptions;
  readonly #tags: readonly HeaderField[];
  readonly #httpTail: string;
  readonly #webSocketTail: string;
  /** The visitor's host is passed on in a field of its own. */
  readonly #forwardsHost: boolean;
  /** Visitors of one hostname follow each other: its line is kept. */
  #lastHost = "";
  #lastHostLines = "";

  constructor(options: RequestFieldOptions) {
    this.#options = options.hostHeader === "" ? { ...options, hostHeader: undefined } : options;
    const { edited = new Set() } = options;
    this.#forwardsHost = this.#options.hostHeader !== undefined && !edited.has("x-forwarded-host");
    this.#tags = [...options.tags, { name: "ID", value: options.connectorId }]
      .map(({ name, value }) => new HeaderField(canonicalName(`Cf-Warp-Tag-${name}`), value))
      .filter(({ name }) => !edited.has(name.toLowerCase()));
    const tagLines = this.#tags.map((tag) => fieldLine(tag.name, tag.value)).join("");
    const authorization = this.#options.proxied?.authorization;
    const ownLines = authorization === undefined ? tagLines : tagLines + fieldLine(PROXY_AUTHORIZATION, authorization);
    this.#httpTail = `${ownLines}Connection: keep-alive\r\n`;
    this.#webSocketTail = `${ownLines}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Version: 13\r\n\r\n`;
  }

  /** The whole head, its empty line included. */
  head(request: HttpRequest | WebSocketRequest, framing: BodyFraming): string {
    const { authority, headers } = request;
    const replaced = request.kind === "websocket" ? "sec-websocket-version" : undefined;
    const forwardedHost = this.#forwardsHost ? "x-forwarded-host" : undefined;
    const { proxied } = this.#options;
    const credentials = proxied === undefined ? undefined : "proxy-authorization";
    const at = proxied === undefined ? target(request) : absoluteTarget(request, this.#options.authority ?? "");
    let head = requestLine(request.method, at) + this.#hostLines(authority);
    for (const field of headers) {
      if (isNamed(field, replaced) || isNamed(field, forwardedHost) || isNamed(field, credentials)) continue;
      head += field.line ?? lineOf(field);
    }
    if (request.kind === "websocket") return head + this.#webSocketTail;
    if (framing.kind === "none") return `${head}${this.#httpTail}\r\n`;
    if (framing.kind === "length") return `${head}${this.#httpTail}Content-Length: ${framing.length}\r\n\r\n`;
    return `${head}${this.#httpTail}Transfer-Encoding: chunked\r\n\r\n`;
  }

  /** The same fields one by one, in canonical case, for origins in this process. */
  list(request: HttpRequest | WebSocketRequest, framing: BodyFraming): HeaderField[] {
    const { hostHeader, fallbackHost } = this.#options;
    const { authority } = request;
    // Checks what the text form checks: an origin in this process is no less exposed.
    this.head(request, framing);
    const isWebSocket = request.kind === "websocket";
    const host = authority === "" ? fallbackHost : authority;
    const fields = [new HeaderField("Host", hostHeader ?? host)];
    if (this.#forwardsHost) fields.push(new HeaderField(FORWARDED_HOST, host));
    for (const field of request.headers) {
      if (field.line === "") continue;
      const name = canonicalName(field.name);
      if (isWebSocket && name === "Sec-Websocket-Version") continue;
      if (this.#forwardsHost && name === FORWARDED_HOST) continue;
      fields.push(new HeaderField(name, field.value));
    }
    fields.push(...this.#tags);
    if (isWebSocket) {
      fields.push(new HeaderField("Connection", "Upgrade"), new HeaderField("Upgrade", "websocket"));
      fields.push(new HeaderField("Sec-Websocket-Version", "13"));
      return fields;
    }
    fields.push(new HeaderField("Connection", "keep-alive"));
    if (framing.kind === "length") fields.push(new HeaderField("Content-Length", String(framing.length)));
    if (framing.kind === "chunked") fields.push(new HeaderField("Transfer-Encoding", "chunked"));
    return fields;
  }

  #hostLines(authority: string): string {
    if (authority !== "" && authority === this.#lastHost) return this.#lastHostLines;
    const { hostHeader, fallbackHost } = this.#options;
    const host = authority === "" ? fallbackHost : authority;
    const visitors = hostLine(host);
    const own = hostHeader === undefined ? visitors : hostLine(hostHeader);
    const lines = this.#forwardsHost ? `${own}X-Forwarded-${visitors}` : own;
    this.#lastHost = authority;
    this.#lastHostLines = lines;
    return lines;
  }
}

function target(request: HttpRequest | WebSocketRequest): string {
  if (request.path !== "") return request.path;
  // RFC 9112 § 3.2.3: CONNECT has the authority in the path's place.
  return request.method === "CONNECT" ? request.authority : "/";
}

/** RFC 9112 § 3.2.2. What could name another host than the rule's is refused: proxies reach more than visitors may. */
function absoluteTarget(request: HttpRequest | WebSocketRequest, authority: string): string {
  const path = target(request);
  if (request.method === "OPTIONS" && path === "*") return `http://${authority}`;
  if (request.method !== "CONNECT" && path.startsWith("/")) return `http://${authority}${path}`;
  throw new BadRequestError("only requests with a path can be sent through a proxy");
}
