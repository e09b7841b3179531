/** What stays open while a tunnel is closed, or comes only then: uploads, WebSockets, event streams, new requests. */
import { once } from "node:events";
import http, { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, onTestFinished } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { connect } from "../../src/index.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";

async function startOrigin(): Promise<string> {
  const origin = createServer((request, response) => {
    if (request.url === "/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: first\n\n");
      return;
    }
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    request.on("end", () => response.end(`${request.url} took ${length}`));
  });
  const sockets = new WebSocketServer({ server: origin });
  sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  onTestFinished(() => {
    origin.closeAllConnections();
    origin.close();
  });
  return `http://127.0.0.1:${(origin.address() as AddressInfo).port}`;
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return text;
}

describe.each(["http2", "quic"] as const)("over %s", (protocol) => {
  it("all of it is served until the grace period ends, and then broken off, never ended as if it were whole", async ({
    expect,
  }) => {
    // Passive, as Cloudflare's edge is where streams stay open.
    const edge = await startMockEdge({ closeDrained: false });
    onTestFinished(() => edge.close());
    const addresses = Array.from({ length: 2 }, () => edge.edgeAddress);
    const tunnel = await connect({
      token: edge.issueToken(),
      edge: addresses,
      cacert: edge.caPem,
      protocol,
      origin: await startOrigin(),
    });
    onTestFinished(() => tunnel.close({ grace: 0 }));
    await edge.registered(2);

    const upload = http.request(`${edge.publicUrl}/upload`, { method: "POST" });
    const uploaded = once(upload, "response");
    upload.write("begun, ");
    const events = http.get(`${edge.publicUrl}/events`);
    const [stream] = (await once(events, "response")) as [http.IncomingMessage];
    const [first] = (await once(stream.setEncoding("utf8"), "data")) as [string];
    const socket = new WebSocket(edge.publicUrl.replace("http", "ws"));
    await once(socket, "open");
    const broken = once(stream, "error");
    const socketClosed = once(socket, "close");

    let isClosed = false;
    const closed = tunnel.close({ grace: 60_000 }).then(() => {
      isClosed = true;
    });
    await edge.until(() => edge.connections.every(({ state }) => state === "draining"));
    upload.end("finished");
    const [answer] = (await uploaded) as [http.IncomingMessage];
    expect(await textOf(answer)).toBe("/upload took 15");
    const echo = once(socket, "message");
    socket.send("still there");
    expect(String((await echo)[0])).toBe("still there");
    const late = edge.connections.map((connection, index) =>
      connection.openStream({ method: "GET", authority: "app.example.com", path: `/late/${index}`, end: true }),
    );
    expect(late).toHaveLength(2);
    for (const [index, one] of late.entries()) {
      let text = "";
      for await (const chunk of one ?? []) text += String(chunk);
      expect(text).toBe(`/late/${index} took 0`);
    }
    expect(first).toBe("data: first\n\n");
    expect(isClosed).toBe(false);

    // Brought forward, as by a second signal: the two streams never end by themselves.
    void tunnel.close({ grace: 0 });
    expect(String((await broken)[0])).toMatch(/aborted/);
    expect((await socketClosed)[0]).toBe(1006);
    await closed;
  });
});
