/** The proxy through which the edge is reached: `http://[user:password@]host:port`, or `socks5://…`. */
import type { EdgeProxy } from "../edge/proxy-socket.ts";
import { type Environment, environmentProxy } from "../proxy/environment-proxy.ts";
import type { EdgeAddress } from "../types.ts";
import type { ConfigProblem } from "./problem.ts";
import { Secret } from "./secret.ts";

export interface EdgeProxyConfig {
  readonly kind: "http" | "socks5";
  readonly host: string;
  readonly port: number;
  readonly credentials: Secret<{ readonly user: string; readonly password: string }> | undefined;
}

const DEFAULT_PORTS = { http: 80, socks5: 1080 } as const;

/** RFC 1929: each has a length of one byte. */
const MAX_CREDENTIAL_BYTES = 255;

/** What is wrong is told without the text: it may hold a password. */
export function parseEdgeProxy(text: string, where: string): EdgeProxyConfig | ConfigProblem {
  const wrong = (found: string): ConfigProblem => ({
    where,
    text: `found ${found}; a URL such as "http://proxy.example:3128" or "socks5://user:password@proxy.example:1080" would be right`,
  });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) return wrong("no URL");
  const kind = { "http:": "http", "socks5:": "socks5", "socks5h:": "socks5" }[url.protocol] as
    | "http"
    | "socks5"
    | undefined;
  if (kind === undefined) return wrong(`a URL that begins with ${url.protocol}//`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (host === "") return wrong("a URL without a host");
  if (url.pathname.length > 1 || url.search !== "" || url.hash !== "")
    return wrong("a URL that goes on after the port");
  if (url.port === "0") return wrong("port 0");
  let user: string;
  let password: string;
  try {
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    return wrong("a user or a password with a % that begins no escape");
  }
  if (kind === "socks5" && [user, password].some((part) => Buffer.byteLength(part) > MAX_CREDENTIAL_BYTES)) {
    return wrong("a user or a password of more than 255 bytes");
  }
  return {
    kind,
    host,
    port: url.port === "" ? DEFAULT_PORTS[kind] : Number(url.port),
    credentials: user === "" && password === "" ? undefined : new Secret({ user, password }),
  };
}

/** The proxy that HTTPS_PROXY names, where NO_PROXY does not except the address: a way to the edge where there is no direct one. */
export function environmentEdgeProxy({ ip, port }: EdgeAddress, env: Environment): EdgeProxy | undefined {
  const proxy = environmentProxy("https", { kind: "tcp", host: ip, port }, env);
  if (proxy === undefined || proxy.problem !== undefined) return undefined;
  const { address, authorization } = proxy;
  return { kind: "http", host: address.host, port: address.port, authorization };
}

/** As it is dialled: the secrets are bare from here on. */
export function edgeProxyOf({ kind, host, port, credentials }: EdgeProxyConfig): EdgeProxy {
  const known = credentials?.reveal();
  if (kind === "socks5") return { kind, host, port, credentials: known };
  const authorization =
    known === undefined ? undefined : `Basic ${Buffer.from(`${known.user}:${known.password}`).toString("base64")}`;
  return { kind, host, port, authorization };
}
