/** WebSockets and CONNECT at the public listener, in front of a connector whose HTTP/2 is Node's. */
import { once } from "node:events";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import net from "node:net";
import { beforeEach, describe, expect, it } from "vitest";
import type { MockEdge } from "../../src/mock-edge/index.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";
import { start } from "./start.ts";

let edge: MockEdge;

beforeEach(async () => {
  edge = await start();
});

async function connector(onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void): Promise<void> {
  await startNodeConnector(edge, { onStream });
  await edge.registered(1);
}

describe("WebSocket", () => {
  const handshake =
    "GET /socket HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

  async function dial(bytes: string): Promise<net.Socket> {
    const socket = net.connect(Number(new URL(edge.publicUrl).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(bytes);
    await once(socket, "readable");
    return socket;
  }

  it("is spliced both ways, half-close included", async () => {
    let seen: IncomingHttpHeaders = {};
    await connector((stream, headers) => {
      seen = headers;
      stream.respond(originHead(200, { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Accept": "x" }));
      stream.on("data", (chunk: Buffer) => stream.write(`<${chunk.toString()}>`));
      stream.on("end", () => stream.end("bye"));
    });
    const socket = await dial(`${handshake}early`);
    socket.end("late");
    const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    const [head = "", body = ""] = text.split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.1 101 /);
    expect(head).toContain("Sec-WebSocket-Accept: x");
    expect(body.replace("><", "")).toBe("<earlylate>bye");
    expect(seen).toMatchObject({
      "cf-cloudflared-proxy-connection-upgrade": "websocket",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ":path": "/socket",
    });
    expect(seen).not.toHaveProperty("upgrade");
  });

  it("is accepted only with an accept key, not by a mere offer to upgrade", async () => {
    await connector((stream) => {
      stream.respond(originHead(200, { Upgrade: "h2,h2c", "Content-Length": "5" }));
      stream.end("plain");
    });
    const socket = await dial(handshake);
    const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    expect(text).toMatch(/^HTTP\/1\.1 200 .*plain$/s);
  });

  it("whose answer would break out of its line becomes a 502 page", async () => {
    await connector((stream) =>
      stream.respond(originHead(200, { "Sec-WebSocket-Accept": "x\r\nX-Injected: 1" }), { endStream: true }),
    );
    const socket = await dial(handshake);
    const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).not.toContain("X-Injected");
  });

  it("that the origin declines gets the origin's answer", async () => {
    await connector((stream) => {
      stream.respond(originHead(403, { "Content-Type": "text/plain" }));
      stream.end("no sockets here");
    });
    const socket = await dial(handshake);
    const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(text).toContain("no sockets here");
  });

  it("without a connection is error 1033", async () => {
    const socket = await dial(handshake);
    expect(Buffer.concat((await socket.toArray()) as Buffer[]).toString()).toMatch(
      /^HTTP\/1\.1 530 .*error code: 1033$/s,
    );
  });

  it("another protocol's upgrade is an ordinary request", async () => {
    await connector((stream) => {
      stream.respond(originHead(200, { "Content-Length": "5" }));
      stream.end("plain");
    });
    const socket = await dial(
      "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    const text = Buffer.concat((await socket.toArray()) as Buffer[]).toString();
    expect(text).toMatch(/^HTTP\/1\.1 200 .*plain$/s);
  });
});

describe("CONNECT", () => {
  async function tunnel(target: string): Promise<{ status: string; socket: net.Socket }> {
    const socket = net.connect(Number(new URL(edge.publicUrl).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    return { status: chunk.toString().split("\r\n")[0] ?? "", socket };
  }

  it("opens a TCP stream to the target", async () => {
    let seen: IncomingHttpHeaders = {};
    await connector((stream, headers) => {
      seen = headers;
      stream.respond(originHead(200));
      stream.on("data", (chunk: Buffer) => stream.write(chunk.toString().toUpperCase()));
      stream.on("end", () => stream.end());
    });
    const { status, socket } = await tunnel("10.0.0.7:22");
    expect(status).toBe("HTTP/1.1 200 Connection Established");
    socket.end("shout");
    expect(Buffer.concat((await socket.toArray()) as Buffer[]).toString()).toBe("SHOUT");
    expect(seen).toMatchObject({ ":authority": "10.0.0.7:22", "cf-cloudflared-proxy-src": "127.0.0.1" });
  });

  it("answers 502 where the connector can't connect", async () => {
    await connector((stream) =>
      stream.respond({ ":status": 502, "cf-cloudflared-response-meta": '{"src":"cloudflared"}' }, { endStream: true }),
    );
    expect((await tunnel("10.0.0.7:22")).status).toMatch(/^HTTP\/1\.1 502 /);
  });
});
