/** How requests stand on the wire to the origin: framing, hosts, and what can't be written safely. */
import { afterEach, describe, expect, it } from "vitest";
import type { HttpRequest } from "../../src/types.ts";
import { type FakeRequestOptions, FakeStream, fieldsOf, httpRequest } from "./fake-stream.ts";
import { Cleanup, CONNECTOR_ID, ORIGIN_REQUEST, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const TAIL = [`Cf-Warp-Tag-Id: ${CONNECTOR_ID}`, "Connection: keep-alive"];

interface Sent {
  readonly request?: FakeRequestOptions & { readonly contentLength?: number };
  readonly bodyless?: boolean;
  readonly options?: Partial<typeof ORIGIN_REQUEST>;
}

/** The lines of the head that the origin gets. */
async function headLines({ request = {}, bodyless = true, options = {} }: Sent): Promise<string[]> {
  const origin = await cleanup.raw();
  const harness = cleanup.harness(urlOrigin(origin.server), options);
  const stream = new FakeStream({ bodyless });
  harness.proxy.handle(httpRequest(stream, request), 0);
  if (!bodyless) stream.giveEnd();
  const connection = await origin.connection();
  const head = await connection.head();
  return head.split("\r\n").slice(0, -2);
}

describe("a request head", () => {
  it("of a GET has no framing", async () => {
    expect(await headLines({})).toEqual(["GET / HTTP/1.1", "Host: app.example.com", ...TAIL]);
  });

  it("never asks for gzip or names an agent on its own", async () => {
    expect((await headLines({})).join()).not.toMatch(/accept-encoding|user-agent/i);
    expect(
      await headLines({ request: { headers: fieldsOf({ "accept-encoding": "br", "user-agent": "x/1" }) } }),
    ).toEqual(expect.arrayContaining(["Accept-Encoding: br", "User-Agent: x/1"]));
  });

  for (const method of ["POST", "PUT", "PATCH"]) {
    it(`of an empty ${method} says that it is empty`, async () => {
      expect(await headLines({ request: { method } })).toContain("Content-Length: 0");
    });
  }

  it("of an empty DELETE has no length, unless the visitor gave one", async () => {
    expect((await headLines({ request: { method: "DELETE" } })).join()).not.toContain("Content-Length");
    expect(await headLines({ request: { method: "DELETE", contentLength: 0 } })).toContain("Content-Length: 0");
  });

  it("keeps a length of 0 where the body is open and ends empty", async () => {
    expect(await headLines({ request: { method: "POST", contentLength: 0 }, bodyless: false })).toContain(
      "Content-Length: 0",
    );
  });

  it("of an open body without a length is chunked, whatever the method", async () => {
    const lines = await headLines({ request: { method: "GET" }, bodyless: false });
    expect(lines).toContain("Transfer-Encoding: chunked");
    expect(lines.join()).not.toContain("Content-Length");
  });

  it("drops what belongs to one hop, and what the connector writes itself", async () => {
    const headers = fieldsOf({
      connection: "x-a",
      "keep-alive": "timeout=1",
      "proxy-connection": "x",
      "transfer-encoding": "chunked",
      upgrade: "h2c",
      "content-length": "5",
      host: "evil.example.com",
      te: "gzip",
      "x-a": "kept",
    });
    expect(await headLines({ request: { headers } })).toEqual([
      "GET / HTTP/1.1",
      "Host: app.example.com",
      "X-A: kept",
      ...TAIL,
    ]);
  });

  it("replaces the host and passes the visitor's on", async () => {
    const headers = fieldsOf({ "x-forwarded-host": "forged.example.com" });
    expect(await headLines({ request: { headers }, options: { httpHostHeader: "internal.local" } })).toEqual([
      "GET / HTTP/1.1",
      "Host: internal.local",
      "X-Forwarded-Host: app.example.com",
      ...TAIL,
    ]);
  });

  it("without a host names the origin's", async () => {
    const lines = await headLines({ request: { authority: "" } });
    expect(lines[1]).toMatch(/^Host: 127\.0\.0\.1:\d+$/);
  });

  it("of CONNECT has the authority as its target, of other methods without a path the root", async () => {
    const connect = { method: "CONNECT", path: "", authority: "db.example.com:5432" };
    expect((await headLines({ request: connect }))[0]).toBe("CONNECT db.example.com:5432 HTTP/1.1");
    expect((await headLines({ request: { path: "" } }))[0]).toBe("GET / HTTP/1.1");
    expect((await headLines({ request: { method: "OPTIONS", path: "*" } }))[0]).toBe("OPTIONS * HTTP/1.1");
  });

  const REFUSED: readonly [string, Partial<HttpRequest>][] = [
    ["a space in the path", { path: "/a b" }],
    ["CRLF in the path", { path: "/a\r\nX-Injected: 1" }],
    ["a NUL in the path", { path: "/\0" }],
    ["a space in the method", { method: "GET /x" }],
    ["CRLF in the method", { method: "GET\r\n" }],
    ["an empty method", { method: "" }],
    ["CRLF in the host", { authority: "a\r\nX-Injected: 1" }],
    ["a space in the host", { authority: "a b" }],
    ["a slash in the host", { authority: "a/b" }],
    ["CR in a value", { headers: fieldsOf({ "x-a": "b\rc" }) }],
    ["LF in a value", { headers: fieldsOf({ "x-a": "b\nc" }) }],
    ["NUL in a value", { headers: fieldsOf({ "x-a": "b\0c" }) }],
    ["an escape character in a value", { headers: fieldsOf({ "x-a": "\x1b[2J" }) }],
    ["CRLF in a name", { headers: fieldsOf({ "x-a\r\ny": "b" }) }],
    ["a colon in a name", { headers: fieldsOf({ "x-a:": "b" }) }],
    ["an empty name", { headers: fieldsOf({ "": "b" }) }],
    ["a length without a body", { method: "POST", contentLength: 5 }],
  ];
  for (const [name, request] of REFUSED) {
    it(`is refused with ${name}`, async () => {
      const origin = await cleanup.raw();
      const harness = cleanup.harness(urlOrigin(origin.server));
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle({ ...httpRequest(stream), ...request }, 0);
      expect(stream.aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: "bad-request", phase: "request", status: 502 });
      expect(harness.outcomes[0]?.error).toMatchObject({
        code: expect.stringMatching(/^ERR_UNDERPASS_(HTTP1|BAD)_REQUEST$/),
      });
      expect(origin.connections).toHaveLength(0);
      expect(harness.proxy.activeRequests).toBe(0);
    });
  }
});

describe("a request body", () => {
  it("of known length that is too long never reaches the origin in full", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: 3 }), 0);
    stream.give("abc");
    stream.give("GET /smuggled HTTP/1.1\r\n\r\n");
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "bad-request" });
    expect(stream.credited).toBe(stream.given);
    const connection = origin.connections[0];
    await connection?.until(({ closed, ended }) => closed || ended);
    expect(connection?.received ?? "").not.toContain("smuggled");
  });

  it("of known length that is too short leaves the origin with a broken request", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: 5 }), 0);
    stream.give("abc");
    const connection = await origin.connection();
    await connection.until(({ received }) => received.endsWith("abc"));
    stream.giveEnd();
    expect(stream.aborted).toBe(true);
    await connection.until(({ closed, ended }) => closed || ended);
    expect(await harness.outcome()).toMatchObject({ class: "bad-request" });
  });

  it("leaves in one write with its head when both come together", async () => {
    const chunks: string[] = [];
    const origin = await cleanup.raw(({ socket }) =>
      socket.on("data", (chunk: Buffer) => chunks.push(chunk.toString("latin1"))),
    );
    const harness = cleanup.harness(urlOrigin(origin.server));
    const warm = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(warm), 0);
    const connection = await origin.connection();
    await connection.head();
    connection.write("HTTP/1.1 204 No Content\r\n\r\n");
    await warm.done();
    chunks.length = 0;
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    stream.give("part one, ");
    stream.give("part two");
    stream.giveEnd();
    await connection.until(({ received }) => received.endsWith("0\r\n\r\n"));
    expect(chunks).toHaveLength(1);
    expect(chunks[0]).toMatch(/\r\n\r\n12\r\npart one, part two\r\n0\r\n\r\n$/);
  });

  it("of a size that fills buffers exactly stays whole", async () => {
    const origin = await cleanup.http((request, response) => {
      let length = 0;
      request.on("data", (chunk: Buffer) => {
        length += chunk.length;
      });
      request.on("end", () => response.end(String(length)));
    });
    const harness = cleanup.harness(urlOrigin(origin));
    for (const size of [4_087, 4_088, 4_089, 4_096, 65_527, 65_528, 65_529, 65_536, 131_072, 200_001]) {
      const stream = new FakeStream();
      harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
      stream.give(Buffer.alloc(size));
      stream.giveEnd();
      await stream.done();
      expect(stream.body.toString()).toBe(String(size));
    }
  });

  it("stands behind a head of any length", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    const headers = fieldsOf({ "x-long": "v".repeat(200_000) });
    harness.proxy.handle(httpRequest(stream, { method: "POST", headers }), 0);
    stream.give("abc");
    stream.giveEnd(fieldsOf({ "x-trailer": "t".repeat(100_000) }));
    const connection = await origin.connection();
    await connection.until(({ received }) => received.endsWith("t\r\n\r\n"));
    const [, rest] = connection.received.split(`X-Long: ${"v".repeat(200_000)}\r\n`);
    expect(rest).toMatch(/\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: t{100000}\r\n\r\n$/);
  });

  it("with trailers that can't be written is refused", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    stream.give("abc");
    stream.giveEnd(fieldsOf({ "x-a": "b\r\nc" }));
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "bad-request" });
  });
});

describe("Expect: 100-continue", () => {
  const HEADERS = fieldsOf({ expect: "100-continue" });

  it("keeps the body back until the origin wants it", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT", contentLength: 4, headers: HEADERS }), 0);
    stream.give("body");
    stream.giveEnd();
    const connection = await origin.connection();
    const head = await connection.head();
    expect(head).toContain("Expect: 100-continue\r\n");
    expect(connection.received).toBe(head);
    connection.write("HTTP/1.1 100 Continue\r\n\r\n");
    await connection.until(({ received }) => received.endsWith("\r\n\r\nbody"));
    connection.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    await stream.done();
    expect(stream.head?.status).toBe(201);
    expect(stream.credited).toBe(4);
  });

  it("never sends the body when the origin refuses it", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT", headers: HEADERS }), 0);
    stream.give("body");
    const connection = await origin.connection();
    const head = await connection.head();
    connection.write("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
    await stream.done();
    expect(stream.head?.status).toBe(417);
    expect(stream.credited).toBe(stream.given);
    await connection.until(({ closed, ended }) => closed || ended);
    expect(connection.received).toBe(head);
  });

  it("does not wait for ever for an origin that ignores it", async () => {
    const origin = await cleanup.http((request, response) => {
      request.resume();
      request.on("end", () => response.end("done"));
    });
    // node:http answers 100 by itself unless someone else looks after it.
    origin.on("checkContinue", (request, response) => origin.emit("request", request, response));
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT", contentLength: 4, headers: HEADERS }), 0);
    stream.give("body");
    stream.giveEnd();
    await stream.done();
    expect(stream.body.toString()).toBe("done");
  });
});
