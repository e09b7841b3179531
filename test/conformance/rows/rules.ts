/** Ingress rules and their options: case HTTP-15, and more of our own from RULE-01 on. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { serve } from "./configuration.ts";
import { ask, describeHead } from "./observe.ts";
import { type Json, type Row, type RowContext, within } from "./row.ts";

/** Status of one GET. */
async function status({ edge }: RowContext, authority: string, path = "/length"): Promise<Json> {
  const stream = edge.openStream({ authority, path, end: true });
  const head = await within(5_000, "a head", stream.head);
  stream.resume();
  return head.status;
}

/** What rules answer to hosts, and paths of them. */
function matches(
  id: string,
  title: string,
  ingress: readonly object[],
  requests: readonly (readonly [string, string?])[],
): Row {
  return {
    id,
    title,
    own: {},
    async run(context) {
      await serve(context, { ingress });
      const answers: Record<string, Json> = {};
      for (const [host, path = "/"] of requests) answers[`${host}${path}`] = await status(context, host, path);
      return answers;
    },
  };
}

/** One request to a rule with options: the answer, and what the origin saw. */
function withOptions(
  id: string,
  title: string,
  originRequest: object,
  request: Parameters<typeof ask>[1],
  body?: string,
): Row {
  return {
    id,
    title,
    own: {},
    async run(context) {
      const { edge, origin } = context;
      await serve(context, { ingress: [{ service: origin.url, originRequest }] });
      const answer = await ask(
        edge,
        { ...request, fields: [["accept-encoding", "gzip"], ...(request.fields ?? [])] },
        body,
      );
      return { answer, origin: { ...origin.seen[0] } };
    },
  };
}

/** What a proxy of the environment is asked. It connects nobody; other origins of these tests are on this machine, and not its concern. */
async function behindProxy(context: RowContext): Promise<Json> {
  const { edge, origin } = context;
  const asked: Json[] = [];
  const proxy = http.createServer((request, response) => {
    const { host = null, "proxy-authorization": credentials = null, "x-of-visitor": visitors = null } = request.headers;
    asked.push([request.method ?? "", request.url ?? "", host, credentials, visitors]);
    response.end("by the proxy");
  });
  proxy.on("connect", (request: http.IncomingMessage, socket: Duplex) => {
    asked.push([
      "CONNECT",
      request.url ?? "",
      request.headers.host ?? null,
      request.headers["proxy-authorization"] ?? null,
    ]);
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const url = `http://me:pass%20word@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const environment = { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: "direct.invalid,.below.invalid" };
  try {
    const ingress = [
      { hostname: "plain.example.com", service: "http://app.invalid:8080" },
      { hostname: "secure.example.com", service: "https://app.invalid" },
      { hostname: "direct.example.com", service: "http://direct.invalid" },
      { hostname: "below.example.com", service: "http://x.below.invalid" },
      { hostname: "beside.example.com", service: "http://below.invalid" },
      { service: origin.url },
    ];
    await serve(context, { ingress }, { environment });
    const statuses: Record<string, Json> = {};
    for (const name of ["plain", "secure", "direct", "below", "beside", "local"]) {
      const stream = edge.openStream({
        authority: `${name}.example.com`,
        path: "/a%2Fb?c",
        fields: [["x-of-visitor", "value"]],
        end: true,
      });
      statuses[name] = (await within(10_000, "a head", stream.head)).status;
      stream.resume();
    }
    return { statuses, asked };
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
}

const answer = (code: number, rule: object = {}): object => ({ ...rule, service: `http_status:${code}` });

export const ruleRows: readonly Row[] = [
  {
    id: "HTTP-15",
    title: "rules for a host, for hosts below one, for paths, and for all others",
    own: {},
    async run(context) {
      const { edge, origin } = context;
      await serve(context, {
        ingress: [
          { hostname: "app.example.com", path: "^/teapot", service: "http_status:418" },
          { hostname: "app.example.com", service: origin.url },
          { hostname: "*.example.com", service: "http_status:410" },
          { service: "http_status:404" },
        ],
      });
      return {
        app: await ask(edge, { authority: "app.example.com", path: "/length" }),
        teapot: await ask(edge, { authority: "app.example.com", path: "/teapot/x" }),
        below: await ask(edge, { authority: "other.example.com" }),
        unmatched: await ask(edge, { authority: "example.org" }),
        unmatchedHead: await ask(edge, { authority: "example.org", method: "HEAD" }),
        unmatchedPost: await ask(edge, { authority: "example.org", method: "POST" }, "body"),
      };
    },
  },
  matches(
    "RULE-01",
    "hosts",
    [
      answer(411, { hostname: "a.example.com" }),
      answer(412, { hostname: "*.example.com" }),
      answer(413, { hostname: "xn--maana-pta.example" }),
      answer(414, { hostname: "bücher.example" }),
      answer(404),
    ],
    [
      ["a.example.com"],
      ["a.example.com:8443"],
      ["b.example.com"],
      ["a.b.example.com"],
      ["example.com"],
      ["xexample.com"],
      ["xn--maana-pta.example"],
      ["xn--bcher-kva.example"],
      ["[::1]:80"],
    ],
  ),
  matches(
    "RULE-02",
    "hosts in another case, and with a dot at their end",
    [answer(411, { hostname: "a.example.com" }), answer(412, { hostname: "*.example.org" }), answer(404)],
    [["A.Example.COM"], ["B.EXAMPLE.ORG"], ["a.example.com."], ["b.example.org."]],
  ),
  matches(
    "RULE-03",
    "a wildcard of a name that is not ASCII",
    [answer(411, { hostname: "*.mañana.example" }), answer(404)],
    [["a.xn--maana-pta.example"], ["xn--maana-pta.example"]],
  ),
  matches(
    "RULE-04",
    "paths",
    [
      answer(411, { path: "^/api" }),
      answer(412, { path: "\\.(jpe?g|png)$" }),
      answer(413, { path: "(?i)^/CASE$" }),
      answer(414, { path: "^/a b/ü$" }),
      answer(415, { hostname: "*", path: "/deep" }),
      answer(404),
    ],
    [
      ["a", "/api"],
      ["a", "/apiary/x?y"],
      ["a", "/x/api"],
      ["a", "/x.png"],
      ["a", "/x.png?v=1"],
      ["a", "/x.pngx"],
      ["a", "/case"],
      ["a", "/a%20b/%C3%BC"],
      ["a", "/%61pi"],
      ["a", "/x/../deep"],
      ["a", "//deep"],
      ["a", "/API"],
      ["a", "/x?/deep"],
    ],
  ),
  matches(
    "RULE-05",
    "the first rule that matches counts",
    [
      answer(411, { hostname: "*.example.com", path: "^/first" }),
      answer(412, { hostname: "a.example.com" }),
      answer(413, { path: "^/second" }),
      answer(414, { hostname: "*.a.example.com" }),
      answer(404),
    ],
    [
      ["a.example.com", "/first"],
      ["a.example.com", "/second"],
      ["b.example.com", "/second"],
      ["b.a.example.com", "/"],
      ["b.a.example.com", "/first"],
      ["b.example.com", "/"],
    ],
  ),
  withOptions("RULE-10", "httpHostHeader", { httpHostHeader: "inside.example.com:81" }, { path: "/x" }),
  withOptions(
    "RULE-11",
    "options of the whole beside those of the rule",
    { noTLSVerify: true, connectTimeout: 1 },
    { path: "/" },
  ),
  withOptions(
    "RULE-12",
    "disableChunkedEncoding, and a body of a stated length",
    { disableChunkedEncoding: true },
    { method: "POST", path: "/", fields: [["content-length", "5"]] },
    "hello",
  ),
  {
    id: "RULE-13",
    title: "disableChunkedEncoding, and a body of a length that nobody stated: what the origin sees",
    own: {},
    async run(context) {
      const { edge, origin } = context;
      await serve(context, { ingress: [{ service: origin.url, originRequest: { disableChunkedEncoding: true } }] });
      // Whether it answers 200, or 400 to what it takes for the next request, depends on how TCP cuts cloudflared's bytes.
      await ask(edge, { method: "POST", path: "/", fields: [["accept-encoding", "gzip"]] }, "hello");
      return { ...origin.seen[0] };
    },
  },
  withOptions("RULE-14", "no idle connections are kept", { keepAliveConnections: -1 }, { path: "/length" }),
  {
    id: "RULE-15",
    title: "options of the whole, and a rule that takes them back",
    own: {},
    async run(context) {
      const { edge, origin } = context;
      await serve(context, {
        originRequest: { httpHostHeader: "whole.example.com" },
        ingress: [
          { hostname: "own.example.com", service: origin.url, originRequest: { httpHostHeader: "own.example.org" } },
          { hostname: "back.example.com", service: origin.url, originRequest: { httpHostHeader: "" } },
          { service: origin.url },
        ],
      });
      const hosts: Record<string, Json> = {};
      for (const authority of ["own.example.com", "back.example.com", "app.example.com"]) {
        origin.seen.length = 0;
        await ask(edge, { authority });
        const headers = origin.seen[0]?.headers as readonly (readonly [string, string])[] | undefined;
        hosts[authority] = (headers ?? []).filter(([name]) => name === "host" || name === "x-forwarded-host");
      }
      return hosts;
    },
  },
  {
    id: "RULE-16",
    title: "an origin for which the environment has a proxy, with TLS and without, and one that NO_PROXY names",
    own: {},
    run: behindProxy,
  },
  {
    id: "RULE-20",
    title: "access is required, and the request has no token",
    own: {},
    async run(context) {
      const access = { required: true, teamName: "team", audTag: ["tag"] };
      await serve(context, { ingress: [{ service: context.origin.url, originRequest: { access } }] });
      const answered = await ask(context.edge, { path: "/length" });
      return { answered, originSaw: context.origin.seen.length };
    },
  },
  {
    id: "RULE-21",
    title: "access is required for all rules, at the top",
    own: {},
    async run(context) {
      const access = { required: true, teamName: "team", audTag: ["tag"] };
      await serve(context, { originRequest: { access }, ingress: [{ service: context.origin.url }] });
      const answered = await ask(context.edge, { path: "/length" });
      return { answered, originSaw: context.origin.seen.length };
    },
  },
  {
    id: "RULE-22",
    title: "access is required, and the token is none",
    own: {},
    async run(context) {
      const access = { required: true, teamName: "team", audTag: ["tag"] };
      await serve(context, { ingress: [{ service: context.origin.url, originRequest: { access } }] });
      const answered = await ask(context.edge, { path: "/length", fields: [["cf-access-jwt-assertion", "a.b.c"]] });
      return { answered, originSaw: context.origin.seen.length };
    },
  },
  {
    id: "RULE-30",
    title: "the built-in demonstration",
    own: {},
    async run(context) {
      await serve(context, { ingress: [{ service: "hello_world" }] });
      const health = await ask(context.edge, { path: "/_health" });
      const page = context.edge.openStream({ authority: "app.example.com", path: "/", end: true });
      const head = describeHead(await within(5_000, "a head", page.head)) as Record<string, Json>;
      page.resume();
      const body = (health as Record<string, Json>)["body"] ?? null;
      return { health: body, page: head["status"] ?? null };
    },
  },
  {
    id: "RULE-31",
    title: "a service by ws://",
    own: {},
    async run(context) {
      await serve(context, { ingress: [{ service: context.origin.url.replace("http:", "ws:") }] });
      return await ask(context.edge, { path: "/length" });
    },
  },
];
