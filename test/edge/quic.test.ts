/** The QUIC transport against the mock edge, over real sockets. */
import dgram from "node:dgram";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatagramSizes } from "../../src/edge/datagram-sizes.ts";
import { dialQuic, type QuicEdge } from "../../src/edge/quic.ts";
import { createQuicTls } from "../../src/edge/quic-tls.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { createRegistrationClient } from "../../src/rpc/registration-client.ts";
import type { EdgeRequest, HttpRequest } from "../../src/types.ts";
import { parseToken } from "../../src/config/token.ts";
import { closedUdpPort } from "../ports.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

let edge: MockEdge;
const open: QuicEdge[] = [];
beforeEach(async () => {
  edge = await startMockEdge();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((connection) => connection.close({ kind: "shutdown" })));
  await edge.close();
});

async function dial(): Promise<QuicEdge> {
  const [ip = "", port = ""] = edge.edgeAddress.split(":");
  const connection = await dialQuic({
    connIndex: 0,
    address: { ip, port: Number(port), family: 4 },
    tls: await createQuicTls({ cacert: edge.caPem, postQuantum: false }),
    bindPort: 0,
    sizes: new DatagramSizes(true),
    signal: AbortSignal.timeout(10_000),
    budget: createMemoryBudget(256 << 20),
    logger: silent,
  });
  open.push(connection);
  return connection;
}

async function register(connection: QuicEdge, onRequest: (request: EdgeRequest) => void): Promise<void> {
  connection.onRequest = onRequest;
  const { accountTag, tunnelSecret, tunnelId } = parseToken(edge.issueToken());
  const client = createRegistrationClient(await connection.control());
  const answer = await client.register(
    {
      accountTag,
      tunnelSecret: tunnelSecret.reveal(),
      tunnelId,
      connIndex: 0,
      clientId: crypto.randomUUID(),
      features: [],
      version: "test",
      arch: "linux_amd64",
      originLocalIp: "127.0.0.1",
      replaceExisting: false,
      numPreviousAttempts: 0,
    },
    { timeoutMs: 5_000 },
  );
  expect(answer).toMatchObject({ kind: "registered" });
  await edge.registered(1);
}

/** Answers each request with its method, path and body. */
function echo(request: EdgeRequest): void {
  const { kind } = request;
  if (kind !== "http") throw new Error(`unexpected ${kind}`);
  const { stream, method, path } = request satisfies HttpRequest;
  const chunks: Buffer[] = [];
  const answer = (): void => {
    stream.respond({ status: 203, headers: [], contentLength: undefined, source: "origin" }, false);
    stream.write(Buffer.from(`${method} ${path} `), false);
    stream.write(Buffer.concat(chunks), true);
  };
  stream.sink = {
    onData(chunk) {
      chunks.push(Buffer.from(chunk));
      stream.consumed(chunk.length);
    },
    onEnd: answer,
    onCancel() {},
    onWritable() {},
  };
  if (stream.bodyless) answer();
}

describe("a QUIC connection to the edge", () => {
  it("registers, and serves requests with and without a body", async () => {
    const connection = await dial();
    expect(connection.protocol).toBe("quic");
    await register(connection, echo);
    expect(edge.connections[0]?.protocol).toBe("quic");
    const get = await edge.fetch("/a?b");
    expect([get.status, await get.text()]).toEqual([203, "GET /a?b "]);
    const body = Buffer.alloc(300_000, "x").toString();
    const post = await edge.fetch("/up", { method: "POST", body });
    expect(await post.text()).toBe(`POST /up ${body}`);
  });

  it("is refused where the certificate is not trusted", async () => {
    edge.useCertificate("untrusted");
    await expect(dial()).rejects.toMatchObject({
      code: "ERR_UNDERPASS_EDGE_QUIC",
      message: expect.stringMatching(/does something intercept TLS here\?.*--cacert names other trust anchors/),
    });
  });

  it.each(["expired", "wrong-name"] as const)("is refused where the certificate is %s", async (kind) => {
    edge.useCertificate(kind);
    await expect(dial()).rejects.toMatchObject({ code: "ERR_UNDERPASS_EDGE_QUIC" });
  });

  async function dialPort(port: number): Promise<QuicEdge> {
    return await dialQuic({
      connIndex: 0,
      address: { ip: "127.0.0.1", port, family: 4 },
      tls: await createQuicTls({ cacert: edge.caPem, postQuantum: false }),
      bindPort: 0,
      sizes: new DatagramSizes(true),
      signal: AbortSignal.timeout(3_000),
      budget: createMemoryBudget(1 << 20),
      logger: silent,
    });
  }

  it("fails at once where nobody listens, and with the signal where nothing answers", async () => {
    const socket = dgram.createSocket("udp4").bind(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address();
    await expect(dialPort(port)).rejects.toMatchObject({ name: "TimeoutError" });
    socket.close();
    await expect(dialPort(await closedUdpPort())).rejects.toMatchObject({
      message: expect.stringContaining("nothing listens there"),
    });
  });

  it("tells the connector when the edge closes", async () => {
    const connection = await dial();
    await register(connection, echo);
    edge.connections[0]?.close();
    expect(await connection.closed).toEqual({ kind: "edge-closed" });
  });
});
