/** Where an origin's sockets go: the address to dial, TLS or not, and how logs name it. */
import net from "node:net";
import { UnderpassError } from "../errors.ts";
import { type Environment, environmentProxy, type OriginProxy } from "./environment-proxy.ts";
import type { OriginRequestOptions, WireOrigin } from "../types.ts";
import { OriginTls } from "./origin-tls.ts";

export interface TcpAddress {
  readonly kind: "tcp";
  /** A name or an IP, without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface UnixAddress {
  readonly kind: "unix";
  readonly path: string;
}

export interface OriginTarget {
  readonly address: TcpAddress | UnixAddress;
  /** Undefined = plain. */
  readonly tls: OriginTls | undefined;
  /** As cloudflared writes services: `http://localhost:8080`, `unix:/run/app.sock`. */
  readonly service: string;
  /** The address as messages name it. */
  readonly where: string;
  /** By way of which it is reached. */
  readonly proxy?: OriginProxy | undefined;
  /** `Host` for requests that came without one. */
  readonly host: string;
}

/** ws and wss are http and https under another name; h2c is http whose HTTP/2 is known of beforehand (RFC 9113 § 3.3). */
const SCHEMES: Readonly<Record<string, { tls: boolean; port: number }>> = {
  "http:": { tls: false, port: 80 },
  "ws:": { tls: false, port: 80 },
  "h2c:": { tls: false, port: 80 },
  "https:": { tls: true, port: 443 },
  "wss:": { tls: true, port: 443 },
};

/** cloudflared's host for requests to unix sockets, and so the name that a certificate there must carry. */
const UNIX_HOST = "localhost";

export function originTarget(
  origin: WireOrigin,
  options: OriginRequestOptions,
  roots: (() => readonly string[]) | undefined,
  environment: Environment,
): OriginTarget {
  if (origin.kind === "unix") {
    return {
      address: { kind: "unix", path: origin.path },
      tls: origin.tls ? OriginTls.create(UNIX_HOST, options, roots) : undefined,
      service: `${origin.tls ? "unix+tls" : "unix"}:${origin.path}`,
      where: origin.path,
      host: UNIX_HOST,
    };
  }
  const { url } = origin;
  const scheme = SCHEMES[url.protocol];
  if (scheme === undefined) {
    throw new UnderpassError(
      "ERR_UNDERPASS_ORIGIN_SCHEME",
      `the origin's scheme ${url.protocol}// is not one that requests can be sent to; use http, https, ws or wss, or h2c for HTTP/2`,
    );
  }
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port === "" ? scheme.port : Number(url.port);
  const address: TcpAddress = { kind: "tcp", host, port };
  // Proxies don't speak HTTP/2 without TLS.
  const isProxied = url.protocol !== "h2c:";
  return {
    address,
    proxy: isProxied ? environmentProxy(scheme.tls ? "https" : "http", address, environment) : undefined,
    tls: scheme.tls ? OriginTls.create(host, options, roots) : undefined,
    // Built from its parts: a URL may carry a password.
    service: `${url.protocol}//${url.host}`,
    where: hostPort(host, port),
    host: url.host,
  };
}

/** IPv6 in brackets. */
export function hostPort(host: string, port: number): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
