/** Streams as no edge of ours would open them, over real sockets. */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { afterEach, expect, it } from "vitest";
import { DatagramSizes } from "../../src/edge/datagram-sizes.ts";
import { dialQuic, type QuicEdge } from "../../src/edge/quic.ts";
import { openServerSocket, type QuicPump, QuicServerSocket } from "../../src/edge/quic-socket.ts";
import { createQuicTls } from "../../src/edge/quic-tls.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { encodeStreamHead } from "../../src/protocol/argotunnel/stream-head.ts";
import { connectRequestType } from "../../src/protocol/capnp/connect.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { ServerEndpoint } from "../../src/protocol/quic/endpoint.ts";
import type { QuicStream } from "../../src/protocol/quic/streams/types.ts";

const authority = createAuthority();
const leaf = authority.issue({ dnsNames: ["quic.cftunnel.com"] });
const BUDGET = 1 << 20;

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Opened {
  readonly stream: QuicStream;
  readonly events: string[];
  readonly say: (bytes: Buffer, fin: boolean) => void;
}

interface Peers {
  readonly client: QuicEdge;
  readonly budget: { readonly held: number };
  /** Opens a stream; what becomes of it is told. */
  readonly open: (bidirectional: boolean) => Opened;
  /** Sends UDP datagrams without a byte. */
  readonly sendEmpty: (count: number) => void;
}

async function start(): Promise<Peers> {
  const socket = await openServerSocket("127.0.0.1", 0);
  let pump: QuicPump | undefined;
  let clientPort = 0;
  const endpoint = new ServerEndpoint({
    tls: {
      alpn: ["argotunnel"],
      certificateChain: [new X509Certificate(leaf.certPem).raw],
      privateKey: createPrivateKey(leaf.keyPem),
    },
    random: randomBytes,
    secret: randomBytes(32),
    accept: () => ({ onHandshakeComplete() {}, onStream() {}, onDatagram() {}, onClosed() {} }),
  });
  const server = new QuicServerSocket(socket, endpoint, (accepted, address) => {
    pump = accepted;
    clientPort = Number(address.slice(address.lastIndexOf(":") + 1));
  });
  closers.push(() => server.close(0));
  const budget = createMemoryBudget(BUDGET);
  const client = await dialQuic({
    connIndex: 0,
    address: { ip: "127.0.0.1", port: socket.address().port, family: 4 },
    tls: await createQuicTls({ cacert: authority.certPem, postQuantum: false }),
    bindPort: 0,
    sizes: new DatagramSizes(true),
    signal: AbortSignal.timeout(10_000),
    budget,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  closers.push(() => client.close({ kind: "shutdown" }));
  await expect.poll(() => pump?.connection.state).toBe("connected");
  return {
    client,
    budget,
    sendEmpty(count) {
      for (let n = 0; n < count; n++) socket.send(Buffer.alloc(0), clientPort, "127.0.0.1");
    },
    open(bidirectional) {
      const stream = pump?.connection.openStream(bidirectional);
      if (stream === undefined) throw new Error("no credit for a stream");
      const events: string[] = [];
      stream.sink = {
        onData() {},
        onEnd: () => void events.push("end"),
        onReset: (code) => void events.push(`reset ${code}`),
        onStopSending: (code) => void events.push(`stop ${code}`),
        onWritable() {},
        onEvicted() {},
      };
      const say = (bytes: Buffer, fin: boolean): void => {
        stream.write(bytes, fin);
        pump?.wake();
      };
      return { stream, events, say };
    },
  };
}

function headOf(bytes: number): Buffer {
  return encodeStreamHead(connectRequestType, {
    dest: "http://a.example/",
    type: 0,
    metadata: [
      { key: "HttpMethod", val: "GET" },
      { key: "HttpHost", val: "a.example" },
      { key: "HttpHeader:x-long", val: "x".repeat(bytes) },
    ],
  });
}

it("counts heads that never come whole against the memory limit, and gives up the stalest", async () => {
  const { client, budget, open } = await start();
  const head = headOf(300_000);
  const begun = Array.from({ length: 24 }, () => open(true));
  let most = 0;
  for (const { say } of begun) {
    say(head.subarray(0, 200_000), false);
    await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, budget.held);
  }
  const givenUp = (): number => begun.filter(({ events }) => events.includes("reset 0")).length;
  await expect.poll(givenUp, { timeout: 8_000 }).toBeGreaterThanOrEqual(24 - Math.floor(BUDGET / 200_000));
  expect(Math.max(most, budget.held)).toBeLessThanOrEqual(BUDGET);
  // One request more is served, however little memory is left.
  const asked = new Promise<string>((resolve) => {
    client.onRequest = (request) => {
      if (request.kind !== "http") return;
      request.stream.respond({ status: 200, headers: [], contentLength: 0, source: "origin" }, true);
      resolve(request.path);
    };
  });
  const last = open(true);
  last.say(head, true);
  expect(await asked).toBe("/");
  await expect.poll(() => last.events).toContain("end");
});

it("breaks off what does not begin as a stream, and stops one-way streams", async () => {
  const { client, open } = await start();
  const garbage = open(true);
  garbage.say(Buffer.from("GET / HTTP/1.1\r\n\r\n"), false);
  const ended = open(true);
  ended.say(headOf(10).subarray(0, 20), true);
  const oneWay = open(false);
  oneWay.say(Buffer.alloc(1000), false);
  await expect.poll(() => garbage.events).toEqual(expect.arrayContaining(["reset 0", "stop 0"]));
  await expect.poll(() => ended.events).toContain("reset 0");
  await expect.poll(() => oneWay.events).toEqual(["stop 0"]);
  garbage.stream.reset(0);
  oneWay.stream.reset(0);
  const promised = Buffer.from(headOf(10).subarray(0, 24));
  promised.writeUInt32LE(0x7fff_ffff, 12);
  const tooLong = open(true);
  tooLong.say(promised, false);
  await expect.poll(() => tooLong.events).toContain("reset 0");
  tooLong.stream.reset(0);
  tooLong.say(Buffer.alloc(0), false);
  await expect.poll(() => client.openStreams).toBe(0);
});

it("is not stalled, closed or kept busy by UDP datagrams without a byte (CVE-2026-11352 of curl)", async () => {
  const { client, open, sendEmpty } = await start();
  const asked = new Promise<string>((resolve) => {
    client.onRequest = (request) => {
      if (request.kind !== "http") return;
      request.stream.respond({ status: 200, headers: [], contentLength: 0, source: "origin" }, true);
      resolve(request.path);
    };
  });
  sendEmpty(2_000);
  const between = open(true);
  between.say(headOf(10), true);
  sendEmpty(2_000);
  expect(await asked).toBe("/");
  await expect.poll(() => between.events).toContain("end");
});
