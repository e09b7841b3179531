/** An origin as programs give it to the library. */
import { Server as HttpServer } from "node:http";
import { Server as HttpsServer } from "node:https";
import { describeValue } from "../proxy/ingress/redact.ts";
import type { FetchHandler, Origin, RequestListener, Service, UpgradeListener } from "../types.ts";
import { ConfigError } from "./problem.ts";
import { readService } from "./service.ts";

/**
 * Where a tunnel's requests go:
 *
 * - a text or `URL`: `http://…`, `https://…`, `host:port`, a port, `unix:/path`, or another service of an ingress rule. The
 *   path of a URL is dropped, as cloudflared does: requests keep the visitor's.
 * - `{ unix: path }`: HTTP over a Unix socket.
 * - an `http.Server`, which need not listen; its `upgrade` event gets the WebSockets.
 * - `{ listener }`: a `(req, res)` listener, such as an Express application or Koa's `callback()`.
 * - `{ fetch }`: a `(Request) => Response` handler. Both take WebSockets by `upgrade(req, socket, head)`; without it the
 *   visitor gets 501.
 * - a bare function: one that declares two parameters or more (`function.length`) is taken as a listener, any other as a
 *   fetch handler. Parameters with defaults and rest parameters don't count: where they come first, say `{ listener }`.
 */
export type OriginInput =
  | string
  | URL
  | { readonly unix: string }
  | HttpServer
  | { readonly listener: RequestListener; readonly upgrade?: UpgradeListener | undefined }
  | { readonly fetch: FetchHandler; readonly upgrade?: UpgradeListener | undefined }
  | RequestListener
  | FetchHandler;

const EXPECTED =
  "an http or https URL, { unix: path }, an http.Server, { listener }, { fetch }, or a function would be right";

/** Throws a ConfigError on what is none of them. `where` names the option; `warn` is told of what does not count. */
export function parseOrigin(input: OriginInput, where = "origin", warn: (warning: string) => void = () => {}): Service {
  // Programs in JavaScript give anything.
  const value: unknown = input instanceof URL ? input.href : input;
  if (typeof value === "string") {
    const { service, warnings } = readService({ value, where });
    warnings.forEach(warn);
    return service;
  }
  try {
    return parseHandler(value);
  } catch (error) {
    if (error instanceof RefusedError) throw new ConfigError([{ where, text: error.message }]);
    throw error;
  }
}

/** What is wrong, without the name of the option. */
class RefusedError extends Error {}

function parseHandler(value: unknown): Origin {
  if (value instanceof HttpServer) return { kind: "server", server: value };
  // The same events and options, over TLS that the edge has taken off already.
  if (value instanceof HttpsServer) return { kind: "server", server: value as unknown as HttpServer };
  if (isFunction(value)) return parseFunction(value);
  if (typeof value !== "object" || value === null) return refuse(`found ${describe(value)}; ${EXPECTED}`);
  return parseObject(value);
}

type AnyFunction = (...args: never[]) => unknown;

function isFunction(value: unknown): value is AnyFunction {
  return typeof value === "function";
}

function parseFunction(value: AnyFunction): Origin {
  return value.length >= 2
    ? { kind: "listener", listener: value as RequestListener, upgrade: undefined }
    : { kind: "fetch", fetch: value as FetchHandler, upgrade: undefined };
}

function parseObject(value: object): Origin {
  const parts = value as Partial<Record<"unix" | "listener" | "fetch" | "upgrade", unknown>>;
  const given = (["unix", "listener", "fetch"] as const).filter((name) => parts[name] !== undefined);
  const [kind, second] = given;
  if (kind === undefined) {
    return refuse(`found an object with neither unix, listener nor fetch; ${EXPECTED}`);
  }
  if (second !== undefined) return refuse(`found both ${kind} and ${second}; one of them would be right`);
  if (kind === "unix") return parseUnix(parts.unix);
  const { upgrade } = parts;
  if (!isFunction(parts[kind])) return refuse(`${kind} is ${describe(parts[kind])}; a function would be right`);
  if (upgrade !== undefined && !isFunction(upgrade)) {
    return refuse(`upgrade is ${describe(upgrade)}; a function (req, socket, head) would be right`);
  }
  return kind === "listener"
    ? listenerOrigin(value as Extract<OriginInput, { listener: RequestListener }>)
    : fetchOrigin(value as Extract<OriginInput, { fetch: FetchHandler }>);
}

// The functions are called on the object that they came with: it may be an instance of a class.

function listenerOrigin(given: { listener: RequestListener; upgrade?: UpgradeListener | undefined }): Origin {
  return {
    kind: "listener",
    listener: (request, response) => given.listener(request, response),
    upgrade: upgradeOf(given),
  };
}

function fetchOrigin(given: { fetch: FetchHandler; upgrade?: UpgradeListener | undefined }): Origin {
  return { kind: "fetch", fetch: (request) => given.fetch(request), upgrade: upgradeOf(given) };
}

function upgradeOf(given: { upgrade?: UpgradeListener | undefined }): UpgradeListener | undefined {
  return given.upgrade === undefined ? undefined : (request, socket, head) => given.upgrade?.(request, socket, head);
}

function parseUnix(path: unknown): Origin {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return { kind: "unix", path, tls: false };
  return refuse(`unix is ${describe(path)}; the path of a socket would be right`);
}

function describe(value: unknown): string {
  if (typeof value === "function") return "a function";
  return typeof value === "object" && value !== null ? "an object" : describeValue(value);
}

function refuse(text: string): never {
  throw new RefusedError(text);
}
