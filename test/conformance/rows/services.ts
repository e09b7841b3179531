/** TCP over WebSocket, bastion and SOCKS5, as remote configurations name them: WS-03, and what stands in ingress §§ 5.4 to 5.6. */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import type { VisitorStream } from "../../../src/mock-edge/index.ts";
import { ask, describeHead, readToEnd, UPGRADE } from "./observe.ts";
import { comesTrue, type Json, type Row, type RowContext, within } from "./row.ts";

interface Services {
  /** Says hello, echoes, and says goodbye once the other side has ended. */
  readonly echo: string;
  readonly context: RowContext;
  readonly open: (host: string, fields?: readonly (readonly [string, string])[]) => VisitorStream;
}

async function listening(server: net.Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A connector whose rules go to streams. */
async function withServices(context: RowContext, run: (services: Services) => Promise<Json>): Promise<Json> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write("hello");
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
    socket.on("end", () => setTimeout(() => socket.end("goodbye"), 200));
  });
  const echo = await listening(server);
  const { edge, origin, start } = context;
  start();
  await edge.registered(1);
  const allowed = [
    { prefix: "127.0.0.1/32", ports: [1], allow: false },
    { prefix: "127.0.0.1/32", allow: true },
  ];
  await edge.pushConfiguration(1, {
    ingress: [
      { hostname: "tcp.example.com", service: `tcp://${echo}` },
      { hostname: "closed.example.com", service: `ssh://${origin.closed}` },
      { hostname: "jump.example.com", service: "bastion" },
      { hostname: "socks.example.com", service: "socks-proxy", originRequest: { ipRules: allowed } },
      { hostname: "denied.example.com", service: "socks-proxy" },
      { hostname: "fixed.example.com", service: `tcp://${echo}`, originRequest: { proxyType: "socks" } },
      { service: "http_status:404" },
    ],
  });
  try {
    return await run({
      echo,
      context,
      open: (host, fields = []) =>
        edge.openStream({
          authority: host,
          path: "/",
          fields: [
            [UPGRADE, "websocket"],
            ["sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="],
            ["sec-websocket-version", "13"],
            ...fields,
          ],
        }),
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

/** A masked frame; with a key of zeros the payload stays as it is. */
function frame(first: number, payload: Buffer | string): Buffer {
  const bytes = Buffer.from(payload);
  const head = Buffer.from([first, 0xfe, bytes.length >> 8, bytes.length & 0xff, 0, 0, 0, 0]);
  if (bytes.length < 126) head.copyWithin(2, 4).writeUInt8(0x80 + bytes.length, 1);
  return Buffer.concat([bytes.length < 126 ? head.subarray(0, 6) : head, bytes]);
}

/** Frames of the connector, read so far. */
class Frames {
  #bytes = Buffer.alloc(0);

  constructor(stream: VisitorStream) {
    stream.on("data", (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
    });
  }

  /** Payload of the data frames, and the others by their opcodes. */
  get read(): { readonly text: string; readonly data: Buffer; readonly control: readonly string[] } {
    const bytes = this.#bytes;
    const data: Buffer[] = [];
    const control: string[] = [];
    for (let at = 0; at + 2 <= bytes.length; ) {
      const first = bytes[at] ?? 0;
      const short = bytes[at + 1] ?? 0;
      if (short > 126) throw new Error(`a frame is masked, or longer than expected: ${short}`);
      const from = at + (short === 126 ? 4 : 2);
      if (from > bytes.length) break;
      const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
      if (from + length > bytes.length) break;
      const payload = bytes.subarray(from, from + length);
      if ((first & 0x0f) < 8) data.push(payload);
      else control.push(`${first.toString(16)} ${payload.toString("hex")}`);
      at = from + length;
    }
    const all = Buffer.concat(data);
    return { data: all, text: all.toString("latin1"), control };
  }

  async until(condition: (read: Frames["read"]) => boolean, ms = 5_000): Promise<boolean> {
    return await comesTrue(ms, () => condition(this.read));
  }
}

async function head(stream: VisitorStream): Promise<Json> {
  return describeHead(await within(5_000, "a head", stream.head));
}

const hex = (port: string): string => Number(port).toString(16).padStart(4, "0");

/** A SOCKS5 conversation: greeting, request, then "ping" where the answer is yes. The address that was bound is not compared. */
async function socks(services: Services, host: string, greeting: string, request: string): Promise<Json> {
  const stream = services.open(host);
  const status = await head(stream);
  const frames = new Frames(stream);
  stream.write(frame(0x82, Buffer.from(greeting, "hex")));
  await frames.until(({ data }) => data.length >= 2, 1_000);
  const method = frames.read.data.subarray(0, 2).toString("hex");
  if (request !== "") stream.write(frame(0x82, Buffer.from(request, "hex")));
  await frames.until(({ data }) => data.length >= 12, 1_000);
  const reply = frames.read.data.subarray(2, 4).toString("hex");
  let echoed = false;
  if (reply === "0500") {
    stream.write(frame(0x82, "ping"));
    echoed = await frames.until(({ text }) => text.endsWith("helloping"));
  }
  stream.destroy();
  return { status: (status as { status: Json }).status, method, reply, echoed };
}

export const serviceRows: readonly Row[] = [
  {
    id: "WS-03a",
    title: "a TCP service: the handshake, binary messages, a ping",
    own: {},
    run: (context) =>
      withServices(context, async ({ open }) => {
        const stream = open("tcp.example.com");
        const answered = await head(stream);
        const frames = new Frames(stream);
        await frames.until(({ text }) => text === "hello");
        stream.write(frame(0x82, "one"));
        await frames.until(({ text }) => text === "helloone");
        stream.write(frame(0x89, "are you there"));
        stream.write(frame(0x82, "two"));
        await frames.until(({ control, text }) => text === "helloonetwo" && control.length > 0);
        stream.destroy();
        return { head: answered, text: frames.read.text, control: frames.read.control };
      }),
  },
  {
    id: "WS-03b",
    title: "a TCP service: the handshake without a key",
    own: {},
    run: (context) =>
      withServices(context, async ({ context: { edge } }) => {
        const stream = edge.openStream({ authority: "tcp.example.com", path: "/", fields: [[UPGRADE, "websocket"]] });
        const answered = await head(stream);
        stream.destroy();
        return answered;
      }),
  },
  {
    id: "WS-03c",
    title: "a TCP service: messages of text, of several frames, and larger than a buffer",
    own: {},
    run: (context) =>
      withServices(context, async ({ open }) => {
        const run = async (...parts: readonly Buffer[]): Promise<string> => {
          const stream = open("tcp.example.com");
          await head(stream);
          const frames = new Frames(stream);
          for (const part of parts) stream.write(part);
          stream.write(frame(0x82, "end"));
          await frames.until(({ text }) => text.endsWith("end"));
          stream.destroy();
          const { text } = frames.read;
          return text.length > 100 ? `${text.length} bytes` : text;
        };
        return {
          text: await run(frame(0x81, "text ")),
          fragments: await run(frame(0x02, "frag"), frame(0x00, "men"), frame(0x80, "ts ")),
          large: await run(frame(0x82, Buffer.alloc(40_000, "x"))),
        };
      }),
  },
  {
    id: "WS-03d",
    title: "a TCP service: the visitor's Close, and the end of its stream",
    own: {},
    run: (context) =>
      withServices(context, async ({ open }) => {
        const results: Record<string, Json> = {};
        for (const [how, last] of [
          ["close", frame(0x88, Buffer.from("03e8", "hex"))],
          ["end", Buffer.alloc(0)],
        ] as const) {
          const stream = open("tcp.example.com");
          await head(stream);
          const frames = new Frames(stream);
          await frames.until(({ text }) => text === "hello");
          stream.end(last);
          const { end } = await readToEnd(stream);
          results[how] = { text: frames.read.text, control: frames.read.control, end };
        }
        return results;
      }),
  },
  {
    id: "WS-03e",
    title: "a TCP service: an unmasked frame, and an origin that breaks off",
    own: {},
    run: (context) =>
      withServices(context, async ({ context: { edge }, open }) => {
        const wrong = open("tcp.example.com");
        await head(wrong);
        const wrongFrames = new Frames(wrong);
        await wrongFrames.until(({ text }) => text === "hello");
        wrong.write(Buffer.from("820161", "hex"));
        const violated = await readToEnd(wrong);
        const breaking = net.createServer((socket) => socket.on("data", () => socket.resetAndDestroy()));
        const at = await listening(breaking);
        await edge.pushConfiguration(2, { ingress: [{ service: `tcp://${at}` }] });
        const broken = open("tcp.example.com");
        await head(broken);
        const brokenFrames = new Frames(broken);
        broken.write(frame(0x82, "x"));
        const { end } = await readToEnd(broken);
        breaking.close();
        return {
          unmasked: { control: wrongFrames.read.control, end: violated.end },
          broken: { control: brokenFrames.read.control, end },
        };
      }),
  },
  {
    id: "WS-03f",
    title: "a TCP service: nothing listens",
    own: {},
    run: (context) =>
      withServices(context, async ({ open }) => {
        const stream = open("closed.example.com");
        return { head: await head(stream), ...(await readToEnd(stream)) };
      }),
  },
  {
    id: "WS-03g",
    title: "a TCP service: a GET that is no WebSocket",
    own: {},
    run: (context) =>
      withServices(context, async ({ context: { edge } }) => {
        const stream = edge.openStream({ authority: "tcp.example.com", path: "/", end: true });
        const answered = await head(stream);
        stream.destroy();
        return (answered as { status: Json }).status;
      }),
  },
  {
    id: "BASTION-01",
    title: "bastion: where the header says, and without one",
    own: {},
    run: (context) =>
      withServices(context, async ({ context: { edge, origin }, echo, open }) => {
        const reached: Record<string, Json> = {};
        for (const destination of [echo, `ssh://${echo}/path`, `${echo}/path`]) {
          const stream = open("jump.example.com", [["cf-access-jump-destination", destination]]);
          await head(stream);
          const frames = new Frames(stream);
          reached[destination] = await frames.until(({ text }) => text === "hello");
          stream.destroy();
        }
        const failing = async (fields: readonly (readonly [string, string])[]): Promise<Json> =>
          await ask(edge, { authority: "jump.example.com", path: "/", fields: [[UPGRADE, "websocket"], ...fields] });
        return {
          reached: Object.values(reached),
          none: await failing([]),
          refused: await failing([["cf-access-jump-destination", origin.closed]]),
          noPort: await failing([["cf-access-jump-destination", "127.0.0.1"]]),
        };
      }),
  },
  {
    id: "SOCKS-01",
    title: "socks-proxy: what ipRules allow, what they do not, what is not served",
    own: {},
    run: (context) =>
      withServices(context, async (services) => {
        const [, port = ""] = services.echo.split(":");
        const [, closed = ""] = context.origin.closed.split(":");
        const run = (host: string, request: string, greeting = "050100"): Promise<Json> =>
          socks(services, host, greeting, request);
        const to = (bytes: string, at: string): string => `05010001${bytes}${hex(at)}`;
        const name = (text: string, at: string): string =>
          `05010003${text.length.toString(16).padStart(2, "0")}${Buffer.from(text).toString("hex")}${hex(at)}`;
        return {
          allowed: await run("socks.example.com", to("7f000001", port)),
          byName: await run("socks.example.com", name("localhost", port)),
          mapped: await run("socks.example.com", `05010004${"00".repeat(10)}ffff7f000001${hex(port)}`),
          refused: await run("socks.example.com", to("7f000001", closed)),
          portDenied: await run("socks.example.com", to("7f000001", "1")),
          addressDenied: await run("socks.example.com", to("7f000002", port)),
          noRules: await run("denied.example.com", to("7f000001", port)),
          bind: await run("socks.example.com", `050200017f000001${hex(port)}`),
          associate: await run("socks.example.com", `050300017f000001${hex(port)}`),
          password: await run("socks.example.com", "", "050102"),
        };
      }),
  },
  {
    id: "SOCKS-02",
    title: "proxyType socks: whatever is asked for, the service is reached",
    own: {},
    run: (context) =>
      withServices(context, (services) =>
        socks(services, "fixed.example.com", "050100", `050100030b${Buffer.from("example.com").toString("hex")}0050`),
      ),
  },
  {
    id: "SOCKS-03",
    title: "socks-proxy: a name that does not exist",
    own: {},
    run: (context) =>
      withServices(context, (services) =>
        socks(
          services,
          "socks.example.com",
          "050100",
          `050100030f${Buffer.from("nowhere.invalid").toString("hex")}0050`,
        ),
      ),
  },
];
