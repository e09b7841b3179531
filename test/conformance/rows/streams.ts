/** WebSocket and TCP streams: cases WS-01 to WS-05, TCP-01 to TCP-05, and half-close. */
import type { VisitorStream } from "../../../src/mock-edge/index.ts";
import { ask, describeHead, readToEnd, UPGRADE } from "./observe.ts";
import { comesTrue, type Json, type Row, type RowContext, within } from "./row.ts";

function openWebSocket({ edge }: RowContext, path: string): VisitorStream {
  return edge.openStream({
    authority: "app.example.com",
    path,
    fields: [
      [UPGRADE, "websocket"],
      ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
      ["sec-websocket-version", "13"],
      ["sec-websocket-protocol", "chat"],
      ["origin", "https://app.example.com"],
    ],
  });
}

function openTcp({ edge }: RowContext, destination: string): VisitorStream {
  return edge.openStream({ authority: destination, fields: [["cf-cloudflared-proxy-src", "192.0.2.1"]] });
}

async function head(stream: VisitorStream): Promise<Json> {
  return describeHead(await within(5_000, "a head", stream.head));
}

/** Reads until `length` bytes have come. */
async function readBytes(stream: VisitorStream, length: number): Promise<string> {
  let text = "";
  await within(
    5_000,
    `${length} bytes`,
    new Promise<void>((resolve) => {
      stream.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.length >= length) resolve();
      });
    }),
  );
  return text;
}

export const streamRows: readonly Row[] = [
  {
    id: "WS-01",
    title: "WebSocket to an HTTP origin: its handshake, then bytes both ways",
    async run(context) {
      context.origin.seen.length = 0;
      const stream = openWebSocket(context, "/ws");
      const answered = await head(stream);
      stream.write(Buffer.from("not a frame, only bytes"));
      const bytes = await readBytes(stream, "glued".length + "not a frame, only bytes".length);
      stream.destroy();
      return { head: answered, bytes, origin: { ...context.origin.seen[0] } as Json };
    },
  },
  {
    id: "WS-02",
    title: "the origin answers 200 to the handshake",
    async run(context) {
      const stream = openWebSocket(context, "/ws-decline");
      const answered = await head(stream);
      const { body, end } = await readToEnd(stream);
      stream.destroy();
      return { head: answered, body, end };
    },
  },
  {
    id: "WS-04",
    title: "the edge ends its side; the origin replies after that",
    async run(context) {
      const stream = openWebSocket(context, "/ws-reply-at-end");
      await head(stream);
      stream.end("question");
      const { body, end } = await readToEnd(stream);
      return { replyArrives: body.endsWith("got question"), end };
    },
  },
  {
    id: "WS-05",
    title: "the origin closes",
    async run(context) {
      const stream = openWebSocket(context, "/ws-close");
      await head(stream);
      const { body, end } = await readToEnd(stream);
      stream.destroy();
      return { body, end };
    },
  },
  {
    id: "WS-06",
    title: "the edge resets a WebSocket",
    async run(context) {
      const stream = openWebSocket(context, "/ws?reset");
      await head(stream);
      context.origin.cut.length = 0;
      stream.cancel();
      return { closedAtOrigin: await comesTrue(5_000, () => context.origin.cut.includes("/ws?reset")) };
    },
  },
  {
    id: "TCP-01",
    title: "a TCP stream to a literal address",
    async run(context) {
      const stream = openTcp(context, context.origin.tcp);
      const answered = await head(stream);
      const bytes = await readBytes(stream, "hello ".length);
      stream.destroy();
      return { head: answered, bytes };
    },
  },
  {
    id: "TCP-02a",
    title: "the destination refuses",
    run: (context) =>
      ask(context.edge, { authority: context.origin.closed, fields: [["cf-cloudflared-proxy-src", "192.0.2.1"]] }),
  },
  {
    id: "TCP-02b",
    title: "the destination is a host name",
    run: (context) =>
      ask(context.edge, { authority: "localhost:22", fields: [["cf-cloudflared-proxy-src", "192.0.2.1"]] }),
  },
  {
    id: "TCP-05",
    title: "the edge resets a TCP stream",
    async run(context) {
      const stream = openTcp(context, context.origin.tcp);
      await head(stream);
      context.origin.cut.length = 0;
      stream.cancel();
      return { closedAtOrigin: await comesTrue(5_000, () => context.origin.cut.includes("tcp")) };
    },
  },
  {
    id: "TCP-06",
    title: "the edge ends its side; the destination replies after that",
    async run(context) {
      const stream = openTcp(context, context.origin.tcp);
      await head(stream);
      stream.end("question");
      const { body, end } = await readToEnd(stream);
      return { replyArrives: body.endsWith("got question"), end };
    },
  },
];
