/** What an edge, or its visitors, may do to a QUIC connection: it costs them, and nobody else. */
import { afterEach, describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type Tunnel } from "../../src/index.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { recordingLogger } from "../connector/fake-edge.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(options: Partial<ConnectOptions>): Promise<{ edge: MockEdge; tunnel: Tunnel }> {
  const edge = await startMockEdge();
  closers.push(() => edge.close());
  const tunnel = await connect({
    token: edge.issueToken(),
    edge: edge.edgeAddress,
    cacert: edge.caPem,
    origin: () => new Response("served"),
    protocol: "quic",
    haConnections: 1,
    healthCheck: false,
    ...options,
  });
  closers.push(() => tunnel.close({ grace: 0 }));
  await edge.registered(1);
  return { edge, tunnel };
}

describe("a QUIC connection", () => {
  it("survives 20,000 requests that are reset at once, and leaves nothing of them at work", {
    timeout: 30_000,
  }, async () => {
    let atWork = 0;
    let most = 0;
    const { edge, tunnel } = await start({
      origin: {
        listener: (request, response) => {
          if (request.url === "/quick") {
            response.end("served");
            return;
          }
          atWork++;
          most = Math.max(most, atWork);
          response.on("close", () => atWork--);
        },
      },
    });
    const lost: unknown[] = [];
    tunnel.on("disconnected", (_info, error) => lost.push(error));
    const [connection] = edge.connections;
    for (let batch = 0; batch < 100; batch++) {
      for (let i = 0; i < 200; i++) {
        const stream = connection?.openStream({ authority: "a.example", path: "/slow", end: true });
        stream?.on("error", () => {});
        stream?.head.catch(() => {});
        stream?.cancel();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await (await edge.fetch("/quick")).text()).toBe("served");
    await expect.poll(() => atWork, { timeout: 10_000 }).toBe(0);
    expect(most).toBeLessThanOrEqual(20_000);
    expect(lost).toEqual([]);
  });

  it("refuses a head that no request has with an error, and goes on", async () => {
    const { edge } = await start({});
    for (const path of ["/a b", "/\u0000", `/${"x".repeat(70_000)}`]) {
      const stream = edge.openStream({ authority: "a.example", path, end: true });
      stream.on("error", () => {});
      await stream.head.catch(() => {});
      stream.destroy();
    }
    const fields = Array.from({ length: 5_000 }, (_, i) => [`x-${i}`, "y"] as const);
    const many = edge.openStream({ authority: "a.example", path: "/", fields, end: true });
    many.on("error", () => {});
    await many.head.catch(() => {});
    many.destroy();
    expect(await (await edge.fetch("/")).text()).toBe("served");
    expect(edge.connections[0]?.state).toBe("registered");
  });

  it("drops an origin's trailers with one warning, whatever comes after", async () => {
    const { logger, lines } = recordingLogger();
    const { edge } = await start({
      logger,
      origin: {
        listener: (_request, response) => {
          response.writeHead(200, { trailer: "x-sum" });
          response.write("body");
          response.addTrailers({ "x-sum": "1" });
          response.end();
        },
      },
    });
    for (let i = 0; i < 3; i++) expect(await (await edge.fetch("/")).text()).toBe("body");
    expect(lines.filter(({ message }) => message.includes("trailers were dropped"))).toHaveLength(1);
  });
});
