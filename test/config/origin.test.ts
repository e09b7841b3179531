/** What programs may give as the origin, and what is said of everything else. */
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { describe, expect, it } from "vitest";
import { type OriginInput, parseOrigin } from "../../src/config/origin.ts";
import { ConfigError } from "../../src/config/problem.ts";
import type { Origin } from "../../src/types.ts";

describe("a URL", () => {
  it.each([
    ["http://localhost:8080", "http://localhost:8080/"],
    ["https://example.com", "https://example.com/"],
    ["HTTP://LocalHost:3000", "http://localhost:3000/"],
    // With a scheme cloudflared drops the path, without one it is never used.
    ["http://localhost:8080/api/?x=1", "http://localhost:8080/"],
    ["localhost:8080/api", "http://localhost:8080/"],
    ["localhost:8080", "http://localhost:8080/"],
    ["127.0.0.1", "http://127.0.0.1/"],
    ["127.0.0.1:9", "http://127.0.0.1:9/"],
    ["[::1]:8080", "http://[::1]:8080/"],
    ["::1", "http://[::1]/"],
    ["https://[::1]:8443/x", "https://[::1]:8443/"],
    ["8080", "http://localhost:8080/"],
    [":8080", "http://localhost:8080/"],
    ["  app.internal:80 ", "http://app.internal/"],
  ])("%s goes to %s", (text, href) => {
    const origin = parseOrigin(text);
    expect(origin).toMatchObject({ kind: "url" });
    expect((origin as Extract<Origin, { kind: "url" }>).url.href).toBe(href);
  });

  it("may be a URL object", () => {
    expect(parseOrigin(new URL("https://example.com:8443/path"))).toEqual({
      kind: "url",
      url: new URL("https://example.com:8443"),
    });
  });

  it.each([
    ["tcp://localhost:22", { kind: "tcp", scheme: "tcp", host: "localhost", port: 22 }],
    ["ssh://localhost", { kind: "tcp", scheme: "ssh", host: "localhost", port: 22 }],
    ["hello_world", { kind: "hello-world" }],
    ["http_status:418", { kind: "status", status: 418 }],
  ])("%s is the service of that name", (text, service) => {
    expect(parseOrigin(text)).toEqual(service);
  });

  it.each(["", "http://", "ftp://host", "http://host:99999", "http://a b"])("%j is refused", (text) => {
    expect(() => parseOrigin(text)).toThrow(ConfigError);
  });

  it("object of another scheme is refused", () => {
    expect(() => parseOrigin(new URL("file:///etc/passwd"))).toThrow(/^origin: found the scheme "file"/);
  });
});

describe("a Unix socket", () => {
  it.each<[OriginInput, Origin]>([
    [{ unix: "/run/app.sock" }, { kind: "unix", path: "/run/app.sock", tls: false }],
    ["unix:/run/app.sock", { kind: "unix", path: "/run/app.sock", tls: false }],
    ["unix+tls:/run/app.sock", { kind: "unix", path: "/run/app.sock", tls: true }],
  ])("%j is taken", (input, origin) => {
    expect(parseOrigin(input)).toEqual(origin);
  });

  it.each(["", "a\0b", 5, null])("of path %j is refused", (unix) => {
    expect(() => parseOrigin({ unix } as OriginInput)).toThrow(/^origin: unix is .*; the path of a socket/);
  });
});

describe("a server", () => {
  it.each([
    ["http", http.createServer()],
    ["https", https.createServer() as unknown as http.Server],
  ])("of %s is taken as it is", (_name, server) => {
    expect(parseOrigin(server)).toEqual({ kind: "server", server });
  });

  it.each([
    ["net", net.createServer()],
    ["http2", http2.createServer()],
  ])("of %s is refused", (_name, server) => {
    expect(() => parseOrigin(server as unknown as OriginInput)).toThrow(/neither unix, listener nor fetch/);
  });
});

describe("a function", () => {
  const cases: readonly [string, "listener" | "fetch", OriginInput][] = [
    ["(req, res)", "listener", (_req: http.IncomingMessage, res: http.ServerResponse) => res.end()],
    [
      "(req, res, next), as Express",
      "listener",
      ((_req: unknown, _res: unknown, _next: unknown) => {}) as http.RequestListener,
    ],
    ["(request)", "fetch", (_request: Request) => new Response()],
    ["()", "fetch", () => new Response()],
    ["(request, ...rest), as Hono's fetch", "fetch", (_request: Request, ..._rest: unknown[]) => new Response()],
  ];
  it.each(cases)("%s is taken as a %s", (_name, kind, input) => {
    expect(parseOrigin(input)).toEqual({ kind, [kind]: input, upgrade: undefined });
  });
});

describe("an object with a handler", () => {
  it("keeps its listener, which is called on it", () => {
    const calls: unknown[] = [];
    const app = {
      name: "app",
      listener(this: { name: string }, ...args: unknown[]) {
        calls.push([this.name, ...args]);
      },
      upgrade(this: { name: string }, ...args: unknown[]) {
        calls.push([this.name, ...args]);
      },
    };
    const origin = parseOrigin(app);
    if (origin.kind !== "listener") throw new Error(origin.kind);
    const [request, response] = [{} as http.IncomingMessage, {} as http.ServerResponse];
    origin.listener(request, response);
    const head = Buffer.from("head");
    origin.upgrade?.(request, {} as net.Socket, head);
    expect(calls).toEqual([
      ["app", request, response],
      ["app", request, {}, head],
    ]);
  });

  it("keeps its fetch handler, which is called on it", async () => {
    class App {
      readonly #answer = "from the app";
      fetch(_request: Request): Response {
        return new Response(this.#answer);
      }
    }
    const origin = parseOrigin(new App());
    if (origin.kind !== "fetch") throw new Error(origin.kind);
    expect(await (await origin.fetch(new Request("http://x/"))).text()).toBe("from the app");
    expect(origin.upgrade).toBeUndefined();
  });

  it.each([
    [{}, /found an object with neither unix, listener nor fetch; an http or https URL/],
    [{ upgrade() {} }, /neither/],
    [{ listener: "x" }, /listener is "x"; a function would be right/],
    [{ fetch: {} }, /fetch is an object; a function/],
    [{ listener() {}, fetch() {} }, /found both listener and fetch/],
    [{ unix: "/x", fetch() {} }, /found both unix and fetch/],
    [{ fetch() {}, upgrade: true }, /upgrade is true; a function \(req, socket, head\)/],
    [{ unix() {} }, /unix is a function; the path/],
    [null, /found nothing/],
    [undefined, /found nothing/],
    [8080, /found 8080; an http or https URL/],
    [[], /neither/],
  ])("such as %o is refused with a reason", (input, message) => {
    const parse = (): unknown => parseOrigin(input as unknown as OriginInput);
    expect(parse).toThrow(ConfigError);
    expect(parse).toThrow(message);
  });
});
