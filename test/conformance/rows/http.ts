/** HTTP proxying: cases HTTP-01 to HTTP-23, and some more of our own from HTTP-31 on. */
import { ask, describeAnswer, describeHead, readToEnd, UPGRADE } from "./observe.ts";
import { comesTrue, type Json, type Row, type RowContext, within } from "./row.ts";

/** What the origin saw of the last request. */
function lastSeen({ origin }: RowContext): Json {
  const last = origin.seen.at(-1);
  return last === undefined ? null : { ...last };
}

/** Asks, and tells what the origin saw of it. */
async function seen(context: RowContext, request: Parameters<typeof ask>[1], body?: string): Promise<Json> {
  context.origin.seen.length = 0;
  await ask(context.edge, request, body);
  return lastSeen(context);
}

export const httpRows: readonly Row[] = [
  {
    id: "HTTP-01",
    title: "GET with cookies split over two fields, cf-ray, a stray host field",
    run: (context) =>
      seen(context, {
        path: "/a?b=c",
        fields: [
          ["cookie", "a=1"],
          ["cf-ray", "0123456789abcdef-LAB"],
          ["cookie", "b=2"],
          ["host", "stray.example.com"],
          ["user-agent", "test"],
          ["accept-encoding", "gzip"],
          ["x-same", "1"],
          ["x-same", "2"],
        ],
      }),
  },
  {
    id: "HTTP-02",
    title: "POST with content-length",
    run: (context) =>
      seen(
        context,
        {
          method: "POST",
          path: "/",
          fields: [
            ["content-length", "5"],
            ["accept-encoding", "gzip"],
          ],
        },
        "hello",
      ),
  },
  {
    id: "HTTP-03",
    title: "POST without a length",
    run: (context) => seen(context, { method: "POST", path: "/", fields: [["accept-encoding", "gzip"]] }, "hello"),
  },
  {
    id: "HTTP-06",
    title: "a response with content-length",
    run: ({ edge }) => ask(edge, { path: "/length" }),
  },
  {
    id: "HTTP-07",
    title: "server-sent events: the first one comes while the response is open",
    async run({ edge }) {
      const stream = edge.openStream({ authority: "app.example.com", path: "/events", end: true });
      const head = describeHead(await within(5_000, "a head", stream.head));
      const first = await within(5_000, "the first event", stream[Symbol.asyncIterator]().next());
      return { head, first: String(first.value) };
    },
  },
  {
    id: "HTTP-08",
    title: "several values of a name, empty values, odd bytes",
    run: ({ edge }) => ask(edge, { path: "/multi" }),
  },
  {
    id: "HTTP-09",
    title: "the origin sends names that are reserved",
    run: ({ edge }) => ask(edge, { path: "/reserved" }),
  },
  {
    id: "HTTP-10",
    title: "the origin sends trailers",
    run: ({ edge }) => ask(edge, { path: "/trailers" }),
  },
  {
    id: "HTTP-11",
    title: "the origin sends 103 and 102 first",
    run: ({ edge }) => ask(edge, { path: "/early-hints" }),
  },
  {
    id: "HTTP-12a",
    title: "204",
    run: ({ edge }) => ask(edge, { path: "/204" }),
  },
  {
    id: "HTTP-12b",
    title: "304",
    run: ({ edge }) => ask(edge, { path: "/304" }),
  },
  {
    id: "HTTP-12c",
    title: "HEAD",
    run: ({ edge }) => ask(edge, { method: "HEAD", path: "/length" }),
  },
  {
    id: "HTTP-13",
    title: "nothing listens at the origin",
    own: {},
    async run({ edge, origin, start }) {
      start({ url: `http://${origin.closed}` });
      await edge.registered(1);
      return await ask(edge, { path: "/" });
    },
  },
  {
    id: "HTTP-13b",
    title: "nothing listens at the origin, and the request's body is open",
    own: {},
    async run({ edge, origin, start }) {
      start({ url: `http://${origin.closed}` });
      await edge.registered(1);
      return await describeAnswer(edge.openStream({ method: "POST", authority: "app.example.com" }));
    },
  },
  {
    id: "HTTP-14a",
    title: "the origin dies in the middle of a chunked body",
    run: ({ edge }) => ask(edge, { path: "/die" }),
  },
  {
    id: "HTTP-14b",
    title: "the origin dies in the middle of a body with a length",
    async run({ edge }) {
      const stream = edge.openStream({ authority: "app.example.com", path: "/die-length", end: true });
      return { end: (await readToEnd(stream)).end };
    },
  },
  {
    id: "HTTP-14c",
    title: "the origin dies before its answer",
    run: ({ edge }) => ask(edge, { path: "/die-before" }),
  },
  {
    id: "HTTP-16",
    title: "a valid cf-trace-id",
    async run(context) {
      const fields: [string, string][] = [
        ["cf-trace-id", "ec31ad8a01fde11fdcabe2efdce36873:52726f6cabc144f5:0:1"],
        ["accept-encoding", "gzip"],
      ];
      const stream = context.edge.openStream({ authority: "app.example.com", path: "/", fields, end: true });
      const head = await within(5_000, "a head", stream.head);
      await readToEnd(stream);
      return { spans: head.fields.some(([name]) => name === "cf-int-cloudflared-tracing"), origin: lastSeen(context) };
    },
  },
  {
    id: "HTTP-18",
    title: "an upgrade value of another case",
    run: (context) =>
      seen(context, {
        path: "/",
        fields: [
          [UPGRADE, "Websocket"],
          ["accept-encoding", "gzip"],
        ],
      }),
  },
  {
    id: "HTTP-19",
    title: "CONNECT without proxy-src",
    run: (context) => seen(context, { method: "CONNECT", fields: [["accept-encoding", "gzip"]] }),
  },
  {
    id: "HTTP-23a",
    only: "http2",
    title: "upgrade websocket and proxy-src: WebSocket wins",
    async run({ edge }) {
      const stream = edge.openStream({
        authority: "app.example.com",
        path: "/ws",
        fields: [
          [UPGRADE, "websocket"],
          ["cf-cloudflared-proxy-src", "192.0.2.1"],
          ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
        ],
      });
      const head = describeHead(await within(5_000, "a head", stream.head));
      stream.destroy();
      return head;
    },
  },
  {
    id: "HTTP-23b",
    only: "http2",
    title: "proxy-src and upgrade control-stream: TCP wins",
    async run({ edge, origin }) {
      const stream = edge.openStream({
        authority: origin.tcp,
        fields: [
          [UPGRADE, "control-stream"],
          ["cf-cloudflared-proxy-src", "192.0.2.1"],
        ],
      });
      const head = describeHead(await within(5_000, "a head", stream.head));
      stream.destroy();
      return head;
    },
  },
  {
    id: "HTTP-31",
    title: "an empty POST with content-length 0",
    run: (context) =>
      seen(context, {
        method: "POST",
        path: "/",
        fields: [
          ["content-length", "0"],
          ["accept-encoding", "gzip"],
        ],
      }),
  },
  {
    id: "HTTP-32",
    title: "a request whose visitor does not accept gzip",
    async run(context) {
      const answer = await ask(context.edge, { path: "/gzip" });
      return { answer, origin: lastSeen(context) };
    },
  },
  {
    id: "HTTP-33",
    title: "a gzipped answer for a visitor who accepts gzip",
    async run({ edge }) {
      const stream = edge.openStream({
        authority: "app.example.com",
        path: "/gzip",
        fields: [["accept-encoding", "gzip"]],
        end: true,
      });
      const head = describeHead(await within(5_000, "a head", stream.head));
      const { body, end } = await readToEnd(stream);
      return { head, packed: body.startsWith("hex 1f8b"), end };
    },
  },
  {
    id: "HTTP-34",
    title: "a path with dots, double slashes and escapes",
    run: (context) =>
      seen(context, { path: "//a/../b%2fc/./d?x=%41&y=a%20b#f", fields: [["accept-encoding", "gzip"]] }),
  },
  {
    id: "HTTP-35",
    title: "a redirect is the visitor's to follow",
    run: ({ edge }) => ask(edge, { path: "/redirect" }),
  },
  {
    id: "HTTP-36",
    title: "the origin answers before it has read the body",
    async run({ edge }) {
      const stream = edge.openStream({ method: "POST", authority: "app.example.com", path: "/too-large" });
      stream.write("the first of much");
      const head = describeHead(await within(5_000, "a head", stream.head));
      const { body, end } = await readToEnd(stream);
      stream.destroy();
      return { head, body, end };
    },
  },
  {
    id: "HTTP-37",
    title: "request trailers",
    async run(context) {
      context.origin.seen.length = 0;
      const stream = context.edge.openStream({
        method: "POST",
        authority: "app.example.com",
        path: "/",
        fields: [
          ["trailer", "x-sum"],
          ["accept-encoding", "gzip"],
        ],
      });
      stream.setTrailers([["x-sum", "42"]]);
      stream.end("hello");
      await describeAnswer(stream);
      return lastSeen(context);
    },
  },
  {
    id: "HTTP-38",
    title: "a large upload and a large download",
    async run(context) {
      const size = 3_000_000;
      const stream = context.edge.openStream({
        method: "POST",
        authority: "app.example.com",
        path: "/length",
        fields: [["content-length", String(size)]],
      });
      stream.end(Buffer.alloc(size, 0x61));
      const { body, end } = await readToEnd(stream);
      return { uploaded: context.origin.seen.at(-1)?.body ?? null, body, end };
    },
  },
  {
    id: "H2-12",
    title: "the edge resets a stream in the middle of the response",
    async run({ edge, origin }) {
      origin.cut.length = 0;
      const stream = edge.openStream({ authority: "app.example.com", path: "/hold", end: true });
      await within(5_000, "a head", stream.head);
      stream.cancel();
      return { cancelledAtOrigin: await comesTrue(5_000, () => origin.cut.includes("/hold")) };
    },
  },
];
