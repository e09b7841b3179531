/** WebSockets to origins in this process, with `ws` as the independent peer. */
import { once } from "node:events";
import http, { type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import type { InProcessOrigin } from "../../../src/proxy/in-process/endpoint.ts";
import type { UpgradeListener } from "../../../src/types.ts";
import { CLOSE, clientFrame, serverFrames, TEXT } from "./frames.ts";
import { answer, fetchOrigin, listenerOrigin, serve, type ServeOptions } from "./serve.ts";

// RFC 6455 § 1.3: the nonce of the example, and what it is answered with.
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const HANDSHAKE: ServeOptions = {
  websocket: true,
  path: "/socket?x=1",
  headers: { "sec-websocket-key": KEY, "sec-websocket-version": "8" },
};

const kinds: readonly [string, (upgrade: UpgradeListener) => InProcessOrigin][] = [
  [
    "http.Server",
    (upgrade) => {
      const server = http.createServer();
      server.on("upgrade", upgrade);
      return { kind: "server", server };
    },
  ],
  ["listener", (upgrade) => listenerOrigin((_request, response) => response.end(), upgrade)],
  ["fetch handler", (upgrade) => fetchOrigin(() => new Response(), upgrade)],
];

const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

describe.each(kinds)("an upgrade by a %s", (_kind, originOf) => {
  it("works with the ws package", async () => {
    const sockets = new WebSocketServer({ noServer: true });
    let seen: IncomingMessage | undefined;
    const { stream, outcome } = serve(
      originOf((request, socket, head) => {
        seen = request;
        sockets.handleUpgrade(request, socket, head, (ws) => {
          ws.on("message", (data) => ws.send(`echo ${Buffer.isBuffer(data) ? data.toString() : "?"}`));
        });
      }),
      HANDSHAKE,
    );
    await stream.until(({ head }) => head !== undefined);
    expect(stream.head).toMatchObject({ status: 101, contentLength: undefined, source: "origin" });
    expect(stream.header("sec-websocket-accept")).toBe(ACCEPT);
    expect(stream.header("connection")).toBe("Upgrade");
    expect(seen?.url).toBe("/socket?x=1");
    expect(seen?.headers["sec-websocket-version"]).toBe("13");
    stream.give(clientFrame(TEXT, Buffer.from("one")));
    stream.give(clientFrame(TEXT, Buffer.from("two")));
    await stream.until(({ body }) => serverFrames(body).length === 2);
    stream.give(clientFrame(CLOSE, Buffer.from([0x03, 0xe8])));
    await stream.until(({ ended }) => ended);
    stream.giveEnd();
    expect(serverFrames(stream.body)).toEqual([
      { opcode: TEXT, payload: "echo one" },
      { opcode: TEXT, payload: "echo two" },
      { opcode: CLOSE, payload: "\u0003\u00e8" },
    ]);
    expect(await outcome()).toEqual({ class: "ok", status: 101 });
    expect(stream.credited).toBe(stream.given);
  });

  it("keeps what is glued to the 101, and what the visitor sent before it", async () => {
    const { stream } = serve(
      originOf((_request, socket, head) => {
        socket.write(`${SWITCH}welcome|`);
        socket.write(head);
        socket.pipe(socket);
      }),
      HANDSHAKE,
    );
    stream.give("early");
    stream.giveEnd();
    await stream.done();
    expect([stream.head?.status, stream.body.toString()]).toEqual([101, "welcome|early"]);
  });

  it("half-closes in either direction", async () => {
    let socket: Duplex | undefined;
    const { stream, outcome } = serve(
      originOf((_request, upgraded) => {
        socket = upgraded;
        upgraded.write(SWITCH);
      }),
      HANDSHAKE,
    );
    await stream.until(({ head }) => head !== undefined);
    // The visitor ends first, the handler goes on.
    const received: string[] = [];
    socket?.on("data", (chunk: Buffer) => received.push(chunk.toString()));
    stream.give("last words");
    stream.giveEnd();
    if (socket !== undefined) await once(socket, "end");
    expect(received).toEqual(["last words"]);
    expect(stream.ended).toBe(false);
    socket?.end("reply");
    await stream.done();
    expect(stream.body.toString()).toBe("reply");
    expect((await outcome()).class).toBe("ok");
    // And the other way round.
    const other = serve(
      originOf((_request, upgraded) => {
        socket = upgraded;
        upgraded.end(`${SWITCH}goodbye`);
      }),
      HANDSHAKE,
    );
    await other.stream.done();
    expect(other.reports).toEqual([]);
    const late: string[] = [];
    socket?.on("data", (chunk: Buffer) => late.push(chunk.toString()));
    other.stream.give("one thing more");
    other.stream.giveEnd();
    expect((await other.outcome()).class).toBe("ok");
    expect(late).toEqual(["one thing more"]);
    expect(other.stream.credited).toBe(other.stream.given);
  });

  it("may be refused, also by a socket that is destroyed at once", async () => {
    const { stream, outcome } = await answer(
      originOf((_request, socket) => {
        socket.write("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n");
        socket.destroy();
      }),
      HANDSHAKE,
    );
    expect([stream.head?.status, stream.ended, stream.aborted]).toEqual([401, true, false]);
    expect(stream.fields).toEqual(["WWW-Authenticate: Basic"]);
    expect(await outcome()).toEqual({ class: "ok", status: 401 });
    stream.give("late");
    expect(stream.credited).toBe(stream.given);
  });

  it("answers 500 when the handler throws", async () => {
    const { stream, outcome } = await answer(
      originOf(() => {
        throw new Error("boom");
      }),
      HANDSHAKE,
    );
    expect(stream.head?.status).toBe(500);
    expect((await outcome()).error).toMatchObject({ code: "ERR_UNDERPASS_HANDLER", cause: new Error("boom") });
  });

  it("is broken off when a later listener throws", async () => {
    const { stream, outcome } = serve(
      originOf((_request, socket) => {
        socket.write(SWITCH);
        socket.on("data", () => {
          throw new Error("boom");
        });
      }),
      HANDSHAKE,
    );
    await stream.until(({ head }) => head !== undefined);
    stream.give("x");
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(await outcome()).toMatchObject({ class: "handler-error", status: 101, phase: "splice" });
  });

  it("ends like a closed connection when the socket is destroyed, and breaks off on an error", async () => {
    let socket: Duplex | undefined;
    const origin = originOf((_request, upgraded) => {
      socket = upgraded;
      upgraded.write(SWITCH);
    });
    const quiet = serve(origin, HANDSHAKE);
    await quiet.stream.until(({ head }) => head !== undefined);
    socket?.destroy();
    expect(await quiet.outcome()).toEqual({ class: "ok", status: 101 });
    expect([quiet.stream.ended, quiet.stream.aborted]).toEqual([true, false]);
    quiet.stream.give("late");
    expect(quiet.stream.credited).toBe(quiet.stream.given);

    const loud = serve(origin, HANDSHAKE);
    await loud.stream.until(({ head }) => head !== undefined);
    socket?.destroy(new Error("broken"));
    expect(await loud.outcome()).toMatchObject({ class: "origin-reset", status: 101, phase: "splice" });
    expect(loud.stream.aborted).toBe(true);
  });

  it("closes the socket when the visitor is gone", async () => {
    let closed = 0;
    const origin = originOf((_request, socket) => {
      socket.write(SWITCH);
      socket.on("close", () => closed++);
    });
    const served = Array.from({ length: 100 }, () => serve(origin, HANDSHAKE));
    for (const { stream } of served) {
      await stream.until(({ head }) => head !== undefined);
      stream.give("unread");
      stream.cancel("edge-lost");
    }
    await expect.poll(() => closed).toBe(100);
    for (const { stream, reports } of served) {
      expect(reports).toEqual([{ class: "edge-lost", status: 101, phase: "splice" }]);
      expect(stream.credited).toBe(stream.given);
    }
  });

  it("holds either side back while the other does not read", async () => {
    let socket: Duplex | undefined;
    const { stream } = serve(
      originOf((_request, upgraded) => {
        socket = upgraded;
        upgraded.write(SWITCH);
      }),
      { ...HANDSHAKE, window: 100_000 },
    );
    await stream.until(({ head }) => head !== undefined);
    for (let i = 0; i < 40; i++) stream.give(Buffer.alloc(10_000, i));
    expect(stream.credited).toBeLessThan(100_000);
    socket?.resume();
    await stream.until(({ credited, given }) => credited === given);
    let written = 0;
    let room = true;
    while (room && written < 100) {
      room = socket?.write(Buffer.alloc(10_000)) === true;
      written++;
    }
    expect([stream.blocked, written < 100]).toEqual([true, true]);
    expect(stream.body.length).toBeLessThan(200_000);
    stream.drain();
    socket?.end();
    while (!stream.ended) {
      await stream.until(({ blocked, ended }) => blocked || ended);
      stream.drain();
    }
    expect(stream.body.length).toBe(written * 10_000);
  });
});

describe("WebSocketServer({ server })", () => {
  it("echoes, and refuses other paths", async () => {
    const server = http.createServer();
    const sockets = new WebSocketServer({ server, path: "/socket" });
    sockets.on("connection", (ws) => ws.on("message", (data) => ws.send(data as Buffer, { binary: false })));
    const origin: InProcessOrigin = { kind: "server", server };
    const { stream } = serve(origin, HANDSHAKE);
    await stream.until(({ head }) => head !== undefined);
    stream.give(clientFrame(TEXT, Buffer.from("hello")));
    await stream.until(({ body }) => serverFrames(body).length === 1);
    expect(serverFrames(stream.body)).toEqual([{ opcode: TEXT, payload: "hello" }]);
    const [socket] = sockets.clients;
    if (socket === undefined) throw new Error("no client");
    const closed = once(socket, "close");
    stream.cancel();
    expect((await closed)[0]).toBe(1006);

    const refused = await answer(origin, { ...HANDSHAKE, path: "/other" });
    expect([refused.stream.head?.status, refused.text]).toEqual([400, "Bad Request"]);
  });
});

describe("without an upgrade handler", () => {
  it.each([
    ["http.Server", { kind: "server", server: http.createServer(() => {}) } satisfies InProcessOrigin],
    ["listener", listenerOrigin(() => {})],
    ["fetch handler", fetchOrigin(() => new Response())],
  ])("a %s answers 501", async (_kind, origin) => {
    const { stream, text, outcome } = await answer(origin, HANDSHAKE);
    expect([stream.head?.status, stream.head?.source, text]).toEqual([501, "origin", "Not Implemented\n"]);
    expect(await outcome()).toMatchObject({
      class: "no-origin",
      status: 501,
      phase: "match",
      error: { code: "ERR_UNDERPASS_NO_UPGRADE_HANDLER" },
    });
    stream.give("frames");
    expect(stream.credited).toBe(stream.given);
  });
});

it("an upgrade handler that is async and rejected answers 500", async () => {
  const { stream } = await answer(
    listenerOrigin(
      () => {},
      async () => {
        await Promise.resolve();
        throw new Error("boom");
      },
    ),
    HANDSHAKE,
  );
  expect(stream.head?.status).toBe(500);
});
