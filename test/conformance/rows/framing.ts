/** HTTP/2 framing: cases H2-01 to H2-11. */
import { ask, describeAnswer, readToEnd } from "./observe.ts";
import { type Frame, frame, getHead, literal, PREFACE, type RawPeer, rawPeer } from "./raw-http2.ts";
import { comesTrue, type Json, type Row, type RowContext, untilReady, within } from "./row.ts";

const SETTINGS: Readonly<Record<number, string>> = {
  1: "HEADER_TABLE_SIZE",
  2: "ENABLE_PUSH",
  3: "MAX_CONCURRENT_STREAMS",
  4: "INITIAL_WINDOW_SIZE",
  5: "MAX_FRAME_SIZE",
  6: "MAX_HEADER_LIST_SIZE",
  8: "ENABLE_CONNECT_PROTOCOL",
  9: "NO_RFC7540_PRIORITIES",
};

function readSettings({ payload }: Frame): Json {
  const settings: Record<string, number> = {};
  for (let at = 0; at < payload.length; at += 6) {
    const id = payload.readUInt16BE(at);
    settings[SETTINGS[id] ?? String(id)] = payload.readUInt32BE(at + 2);
  }
  return settings;
}

/** Starts a connector and takes its first connection by hand. */
async function connected({ edge, start }: RowContext): Promise<RawPeer> {
  const peer = rawPeer(edge);
  start();
  return await within(30_000, "a connection", peer);
}

const isPingAck = ({ type, flags }: Frame): boolean => type === "PING" && flags === 1;
const PING = frame("PING", 0, 0, Buffer.from("mockedge"));

export const framingRows: readonly Row[] = [
  {
    id: "H2-01",
    only: "http2",
    title: "what the connector says, and that it does not wait for the preface",
    own: {},
    async run(context) {
      const peer = await connected(context);
      const settings = await peer.find("SETTINGS", ({ type }) => type === "SETTINGS");
      peer.greet();
      const window = await peer.find("WINDOW_UPDATE", ({ type }) => type === "WINDOW_UPDATE");
      peer.destroy();
      return { settings: readSettings(settings), connectionWindow: 65_535 + window.payload.readUInt32BE(0) };
    },
  },
  {
    id: "H2-02",
    only: "http2",
    title: "no preface: closed after ten seconds",
    own: {},
    async run(context) {
      const peer = await connected(context);
      await within(20_000, "the end of the connection", peer.closed);
      return { closed: true };
    },
  },
  {
    id: "H2-03",
    only: "http2",
    title: "HTTP/1.1 in the place of the preface",
    own: {},
    async run(context) {
      const peer = await connected(context);
      peer.send(Buffer.from("GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"));
      await within(5_000, "the end of the connection", peer.closed);
      return { closed: true };
    },
  },
  {
    id: "H2-04",
    only: "http2",
    title: "PING",
    own: {},
    async run(context) {
      const peer = await connected(context);
      peer.greet();
      peer.send(PING);
      const answer = await peer.find("a PING with ACK", isPingAck);
      peer.destroy();
      return { payload: answer.payload.toString() };
    },
  },
  {
    id: "H2-05",
    only: "http2",
    title: "GOAWAY(NO_ERROR) with a request in flight",
    own: {},
    async run({ edge, origin, start }) {
      start();
      const [connection] = await edge.registered(1);
      const stream = edge.openStream({ authority: "app.example.com", path: "/hold", end: true });
      await within(5_000, "a head", stream.head);
      const ended = readToEnd(stream);
      connection?.goaway();
      await connection?.ping();
      origin.held[0]?.end("finished");
      const { body, end } = await ended;
      return { body, end };
    },
  },
  {
    id: "H2-06",
    only: "http2",
    title: "an even stream id",
    own: {},
    async run(context) {
      const peer = await connected(context);
      peer.greet();
      peer.send(frame("HEADERS", 5, 2, getHead()));
      const goaway = await peer.find("GOAWAY", ({ type }) => type === "GOAWAY");
      await within(5_000, "the end of the connection", peer.closed);
      return { goaway: goaway.payload.readUInt32BE(4), closed: true };
    },
  },
  {
    id: "H2-07",
    only: "http2",
    title: "an upper-case header name",
    own: {},
    async run(context) {
      const peer = await connected(context);
      peer.greet();
      peer.send(frame("HEADERS", 5, 1, getHead(literal("X-Upper", "1"))));
      const reset = await peer.find("RST_STREAM", ({ type, streamId }) => type === "RST_STREAM" && streamId === 1);
      peer.send(PING);
      await peer.find("a PING with ACK", isPingAck);
      peer.destroy();
      return { reset: reset.payload.readUInt32BE(0), connection: "lives" };
    },
  },
  {
    id: "H2-08",
    only: "http2",
    title: "a connection field in a request",
    async run({ edge }) {
      const answer = await ask(edge, { path: "/", fields: [["connection", "close"]] });
      return { answer, next: await ask(edge, { path: "/length" }) };
    },
  },
  {
    id: "H2-09",
    title: "TCP is closed after the registration",
    own: {},
    async run({ edge, start }) {
      const instance = start();
      await edge.registered(1);
      await within(10_000, "readiness", untilReady(instance));
      edge.dropConnections();
      await edge.until(() => edge.connections.length === 0);
      await edge.registered(1, { timeoutMs: 60_000 });
      const [first, second] = edge.registrations;
      const exited = await Promise.race([instance.exit.then(() => true), Promise.resolve(false)]);
      return {
        registersAnew: second !== undefined,
        sameIndex: first?.connIndex === second?.connIndex,
        sameClient: first?.clientId === second?.clientId,
        exited,
      };
    },
  },
  {
    id: "H2-10",
    title: "a header block of 1.2 MB",
    own: {},
    async run({ edge, start }) {
      start();
      await edge.registered(1);
      const fields = Array.from({ length: 12 }, (_, i): [string, string] => [`x-large-${i}`, "a".repeat(100_000)]);
      const stream = edge.openStream({ authority: "app.example.com", fields, end: true });
      await describeAnswer(stream);
      // What it is answered with, or whether the connection ends, is the connector's choice; what counts is that it serves on.
      await edge.registered(1, { timeoutMs: 60_000 });
      const served = await comesTrue(40_000, () => edge.connections.some(({ routable }) => routable));
      const next = await ask(edge, { path: "/length" });
      return { reachedOrigin: stream.errored === null && (await stream.head).status === 200, served, next };
    },
  },
  {
    id: "H2-11",
    title: "500 requests at once",
    async run({ edge }) {
      const streams = Array.from({ length: 500 }, () =>
        edge.openStream({ authority: "app.example.com", path: "/length", end: true }),
      );
      const ends = await Promise.all(streams.map(async (stream) => (await readToEnd(stream)).body));
      return { answered: ends.filter((body) => body === "12345").length };
    },
  },
  {
    id: "H2-13",
    only: "http2",
    title: "the preface in two pieces",
    own: {},
    async run(context) {
      const peer = await connected(context);
      peer.send(PREFACE.subarray(0, 10));
      await peer.find("SETTINGS", ({ type }) => type === "SETTINGS");
      peer.send(PREFACE.subarray(10), frame("SETTINGS", 0, 0), frame("SETTINGS", 1, 0), PING);
      await peer.find("a PING with ACK", isPingAck);
      peer.destroy();
      return { connection: "lives" };
    },
  },
  {
    id: "H2-14",
    only: "http2",
    title: "windows of 16 bytes for the connector",
    own: { initialWindowSize: 16 },
    async run({ edge, start }) {
      start();
      await edge.registered(1);
      return await ask(edge, { path: "/length" });
    },
  },
];
