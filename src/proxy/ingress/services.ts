/** Services as rules name them (ingress § 5). */
import { domainToASCII } from "node:url";
import { describeValue } from "./redact.ts";
import type { Origin, Service, WireOrigin } from "../../types.ts";
import { nearest } from "./nearest.ts";
import type { Scope } from "./problems.ts";

export type Handlers = Readonly<Record<string, Origin>>;

const HTTP_SCHEMES = ["http", "https", "ws", "wss", "h2c"];
const TCP_PORTS: ReadonlyMap<string, number> = new Map([
  ["tcp", 7864],
  ["ssh", 22],
  ["rdp", 3389],
  ["smb", 445],
]);
const WORDS: Readonly<Record<string, Service>> = {
  hello_world: { kind: "hello-world" },
  "hello-world": { kind: "hello-world" },
  bastion: { kind: "bastion" },
  "socks-proxy": { kind: "socks-proxy" },
};
/** With their colons. */
const PREFIXES = ["unix:", "unix+tls:", "http_status:", "handler:"];
const EXPECTED =
  "http://, https://, ws://, wss://, h2c://, tcp://, ssh://, rdp:// or smb:// with a host, unix:/path, unix+tls:/path, http_status:404, hello_world, bastion or socks-proxy";

/** The service of a rule: a text, or a list of HTTP services of which the first that works is taken. */
export function readService(value: unknown, scope: Scope, handlers: Handlers): Service | undefined {
  if (Array.isArray(value)) return readFailover(value, scope, handlers);
  if (typeof value === "string") return readServiceText(value.trim(), scope, handlers);
  scope.wrong(value, EXPECTED);
  return undefined;
}

/** Whether cloudflared would take this for a URL, which bastionMode replaces. */
export function isUrlService(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (typeof value !== "string") return false;
  const text = value.trim();
  return !Object.hasOwn(WORDS, text) && !PREFIXES.some((prefix) => text.startsWith(prefix));
}

function readFailover(values: readonly unknown[], scope: Scope, handlers: Handlers): Service | undefined {
  const origins: WireOrigin[] = [];
  values.forEach((value, index) => {
    const item = scope.at(index);
    const service = typeof value === "string" ? readService(value, item, handlers) : undefined;
    if (service?.kind === "url" || service?.kind === "unix") origins.push(service);
    else if (typeof value !== "string" || service !== undefined)
      item.wrong(withoutUser(value), "an http, https or unix service");
  });
  if (values.length === 0) scope.problem("found an empty list; at least one service would be right");
  const [first] = origins;
  if (first === undefined || origins.length < values.length) return undefined;
  return origins.length === 1 ? first : { kind: "failover", origins };
}

function readServiceText(text: string, scope: Scope, handlers: Handlers): Service | undefined {
  const word = Object.hasOwn(WORDS, text) ? WORDS[text] : undefined;
  if (word !== undefined) return word;
  const prefix = PREFIXES.find((start) => text.startsWith(start));
  const rest = text.slice(prefix?.length ?? 0);
  switch (prefix) {
    case "unix:":
    case "unix+tls:":
      return readUnix(rest, prefix === "unix+tls:", scope);
    case "http_status:":
      return readStatus(rest, scope);
    case "handler:":
      return readHandler(rest, scope, handlers);
    default:
      return readUrl(text, scope);
  }
}

function readUnix(path: string, tls: boolean, scope: Scope): Service | undefined {
  if (path === "" || path.includes("\0")) {
    scope.wrong(path === "" ? "no path" : path, "the path of a socket, as in unix:/run/app.sock,");
    return undefined;
  }
  // unix:///run/app.sock is the same path, written as a URL.
  return { kind: "unix", path: path.replace(/^\/\/(?=\/)/, ""), tls };
}

/** Unlike in cloudflared, 1xx is refused: it never ends a request, and 101 would open a WebSocket. */
function readStatus(text: string, scope: Scope): Service | undefined {
  const status = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (status >= 200) return { kind: "status", status };
  scope.problem(`found the status ${describeValue(text)}; http_status: and a number from 200 to 999 would be right`);
  return undefined;
}

function readHandler(name: string, scope: Scope, handlers: Handlers): Service | undefined {
  const handler = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
  if (handler !== undefined) return handler;
  const names = Object.keys(handlers);
  if (names.length === 0) {
    scope.problem(
      `found the handler ${describeValue(name)}; only programs that give handlers to the library can name them`,
    );
  } else {
    scope.wrong(name, `one of the handlers ${names.map((known) => describeValue(known)).join(", ")}`);
  }
  return undefined;
}

/** `scheme://user@host:port/path?query#fragment`; all but the first is optional here, to say what is missing. */
const URL_PARTS = /^([a-z][a-z\d+.-]*):\/\/(?:([^/?#]*)@)?([^/?#]*)([^?#]*)(.*)$/is;

function readUrl(text: string, scope: Scope): Service | undefined {
  const parts = URL_PARTS.exec(text);
  if (parts === null) {
    notAUrl(text, scope);
    return undefined;
  }
  const [, givenScheme = "", user, authority = "", path = "", rest = ""] = parts;
  const scheme = givenScheme.toLowerCase();
  if (!HTTP_SCHEMES.includes(scheme) && !TCP_PORTS.has(scheme)) {
    unknownScheme(scheme, authority, scope);
    return undefined;
  }
  const address = readAuthority(authority);
  if (address === undefined) {
    scope.wrong(
      withoutUser(text),
      `${scheme}:// with a host, and a port from 1 to 65535 where it is not the usual one,`,
    );
    return undefined;
  }
  if (path !== "") {
    scope.problem(
      `found the path ${describeValue(withoutUser(path))} in the service; ${scheme}://${authority} would be right: requests keep the visitor's path (addPrefix puts something before it)`,
    );
    return undefined;
  }
  if (address.host.includes("%") && !TCP_PORTS.has(scheme)) {
    scope.wrong(withoutUser(text), "an address without a zone, which HTTP has no place for,");
    return undefined;
  }
  if (user !== undefined) scope.warning("the user name and password in the service are ignored");
  if (rest !== "") scope.warning(`${describeValue(rest)} in the service is ignored: requests keep the visitor's query`);
  return serviceAt(scheme, address);
}

interface Address {
  /** Without brackets; IPv6 may have a zone. */
  readonly host: string;
  readonly port: number | undefined;
}

function readAuthority(authority: string): Address | undefined {
  const parts = /^(?:\[([\da-f:.]+(?:%[\w.~-]+)?)\]|([^:[\]@\s]+))(?::(\d*))?$/i.exec(authority);
  if (parts === null) return undefined;
  const host = parts[1]?.replace(/%(?:25)?/, "%") ?? asciiName(parts[2] ?? "");
  const port = parts[3] === undefined || parts[3] === "" ? undefined : Number(parts[3]);
  if (host === undefined || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  // What Node's parser refuses can't be dialled either: 300.1.2.3, [::1::2].
  const checked = parts[1] === undefined ? host : `[${host.replace(/%.*/, "")}]`;
  return URL.canParse(`http://${checked}`) ? { host, port } : undefined;
}

function asciiName(name: string): string | undefined {
  const ascii = /[^\0-\x7f]/.test(name) ? domainToASCII(name) : name.toLowerCase();
  return /^[\w.~-]+$/.test(ascii) ? ascii : undefined;
}

function serviceAt(scheme: string, { host, port }: Address): Service {
  const usual = TCP_PORTS.get(scheme);
  if (usual !== undefined) return { kind: "tcp", scheme, host, port: port ?? usual };
  const authority = host.includes(":") ? `[${host}]` : host;
  return { kind: "url", url: new URL(`${scheme}://${authority}${port === undefined ? "" : `:${port}`}`) };
}

function notAUrl(text: string, scope: Scope): void {
  const shown = withoutUser(text);
  if (text === "") {
    scope.problem(`found no service; ${EXPECTED} would be right`);
  } else if (/^[\w.-]+(?::\d+)?$|^:\d+$/.test(text) && nearWord(text) === undefined) {
    const host = /^\d+$/.test(text) ? `localhost:${text}` : text.replace(/^:/, "localhost:");
    scope.wrong(shown, `a scheme before it, as in http://${host},`);
  } else {
    scope.wrong(shown, nearWord(text) ?? EXPECTED);
  }
}

function nearWord(text: string): string | undefined {
  return nearest(text, Object.keys(WORDS));
}

function unknownScheme(scheme: string, authority: string, scope: Scope): void {
  if (scheme === "unix" || scheme === "unix+tls") {
    scope.problem(`found ${scheme} in capitals; ${scheme}:/path would be right`);
    return;
  }
  const known = scheme.startsWith("grpc")
    ? scheme === "grpc"
      ? "h2c"
      : "https"
    : (nearest(scheme, [...HTTP_SCHEMES, ...TCP_PORTS.keys()]) ?? "tcp");
  const purpose = known === "tcp" ? " for any protocol over TCP" : "";
  scope.problem(
    `found the scheme ${describeValue(scheme)}, which is not known; ${known}://${authority} would be right${purpose}`,
  );
}

/** A service as a message may show it. */
function withoutUser(value: unknown): unknown {
  return typeof value === "string" ? value.replace(/^([a-z][a-z\d+.-]*:\/\/)?.*@/is, "$1…@") : value;
}
