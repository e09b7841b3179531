/** The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for an origin, read as Go reads them (ingress § 5.3). */
import net from "node:net";
import { addressBytes } from "../protocol/bytes/ip-address.ts";
import type { TcpAddress } from "./origin-target.ts";
import { IpPolicy } from "./socks5/ip-policy.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface OriginProxy {
  readonly address: TcpAddress;
  /** Value of `Proxy-Authorization`. */
  readonly authorization: string | undefined;
  /** Why no request can be sent by it. */
  readonly problem: string | undefined;
}

/** Undefined where the origin is reached directly: this machine itself always is. */
export function environmentProxy(
  scheme: "http" | "https",
  { host, port }: TcpAddress,
  environment: Environment,
): OriginProxy | undefined {
  const name = `${scheme}_proxy`;
  // A CGI program's HTTP_PROXY is its visitor's header `Proxy` (CVE-2016-5385).
  const isCgi = scheme === "http" && (environment["REQUEST_METHOD"] ?? "") !== "";
  const value = (isCgi ? "" : environment[name.toUpperCase()]) || environment[name] || "";
  if (value === "" || isThisMachine(host)) return undefined;
  if (isExcepted(host.toLowerCase(), port, environment["NO_PROXY"] || environment["no_proxy"] || "")) return undefined;
  return readProxy(value, name.toUpperCase());
}

function isThisMachine(host: string): boolean {
  return host === "localhost" || new IpPolicy(LOOPBACK).allows(host, 0);
}

const LOOPBACK = ["127.0.0.0/8", "::1/128"].map((prefix) => ({ prefix, ports: [], allow: true }));

/** `host`, `.host` (those below it alone), `ip`, `ip/bits`, `*`; all but the last two may have a port. */
function isExcepted(host: string, port: number, list: string): boolean {
  return list
    .split(",")
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry === "*" || isPrefixOf(entry, host) || isNameOf(entry, host, port));
}

function isPrefixOf(entry: string, host: string): boolean {
  const parts = /^([^/]+)\/(\d{1,3})$/.exec(entry);
  const bytes = addressBytes(parts?.[1] ?? "");
  if (bytes === undefined || Number(parts?.[2]) > bytes.length * 8) return false;
  return new IpPolicy([{ prefix: entry, ports: [], allow: true }]).allows(host, 0);
}

function isNameOf(entry: string, host: string, port: number): boolean {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)|([\da-f:.]+))(?::(\d+))?$/.exec(entry);
  const name = (net.isIPv6(entry) ? entry : (parts?.[1] ?? parts?.[2] ?? "")).replace(/^\*\./, ".");
  const wanted = net.isIPv6(entry) ? undefined : parts?.[4];
  if (name === "" || (wanted !== undefined && Number(wanted) !== port)) return false;
  if (net.isIP(name) !== 0 || net.isIP(host) !== 0) return name === host;
  return host === name || host.endsWith(name.startsWith(".") ? name : `.${name}`);
}

function readProxy(value: string, name: string): OriginProxy {
  const text = /^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === "") return unusable(`${name} is no URL`);
  if (url.protocol !== "http:") {
    return unusable(`${name} names a proxy by ${url.protocol}//, and only http:// is known here`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const user = credentialsOf(url);
  if (user === undefined) return unusable(`${name} has a user or a password with a % that begins no escape`);
  return {
    address: { kind: "tcp", host, port: Number(url.port || 80) },
    authorization: user === ":" ? undefined : `Basic ${Buffer.from(user).toString("base64")}`,
    problem: undefined,
  };
}

function credentialsOf({ username, password }: URL): string | undefined {
  try {
    return `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  } catch {
    return undefined;
  }
}

function unusable(problem: string): OriginProxy {
  const advice = "NO_PROXY has the hosts that are reached without it";
  return { address: { kind: "tcp", host: "", port: 0 }, authorization: undefined, problem: `${problem}; ${advice}` };
}
