/** Listeners and http.Servers in this process behave as behind a port. */
import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import type { InProcessOrigin } from "../../../src/proxy/in-process/endpoint.ts";
import type { RequestListener } from "../../../src/types.ts";
import { answer, CONNECTOR_ID, listenerOrigin, serve } from "./serve.ts";

const kinds: readonly [string, (listener: RequestListener) => InProcessOrigin][] = [
  ["listener", (listener) => listenerOrigin(listener)],
  ["http.Server", (listener) => ({ kind: "server", server: http.createServer(listener) })],
];

describe.each(kinds)("a %s", (_kind, originOf) => {
  it("gets the request as it was sent", async () => {
    let seen: IncomingMessage | undefined;
    const { stream, outcome } = await answer(
      originOf((request, response) => {
        seen = request;
        response.end("hello");
      }),
      {
        path: "/a%2Fb//../c?x=1&&y=%20",
        authority: "app.example.com:8443",
        headers: { "x-b": "2", "x-a": "caf\u00e9", cookie: "a=1; b=2" },
      },
    );
    expect(seen?.method).toBe("GET");
    expect(seen?.url).toBe("/a%2Fb//../c?x=1&&y=%20");
    expect(seen?.rawHeaders).toEqual([
      "Host",
      "app.example.com:8443",
      "X-B",
      "2",
      "X-A",
      "caf\u00e9",
      "Cookie",
      "a=1; b=2",
      "Cf-Warp-Tag-Id",
      CONNECTOR_ID,
      "Connection",
      "close",
    ]);
    expect(seen?.socket).toMatchObject({ remoteAddress: "127.0.0.1", connIndex: 3 });
    expect(seen).toBeInstanceOf(http.IncomingMessage);
    expect(stream.head).toMatchObject({ status: 200, contentLength: 5, source: "origin" });
    expect(stream.body.toString()).toBe("hello");
    expect(await outcome()).toEqual({ class: "ok", status: 200 });
  });

  it("answers with status, repeated fields and trailers, and says nothing of its connection", async () => {
    const { stream, text } = await answer(
      originOf((_request, response) => {
        response.setHeader("Set-Cookie", ["a=1", "b=2"]);
        response.setHeader("Trailer", "X-Digest");
        response.writeHead(418, { "X-Latin": "caf\u00e9", "Keep-Alive": "timeout=9" });
        response.write("tea");
        response.addTrailers({ "X-Digest": "abc" });
        response.end();
      }),
    );
    expect(stream.head?.status).toBe(418);
    expect(stream.head?.contentLength).toBeUndefined();
    expect(stream.fields.filter((field) => !field.startsWith("Date"))).toEqual([
      "Set-Cookie: a=1",
      "Set-Cookie: b=2",
      "X-Latin: caf\u00e9",
    ]);
    expect(text).toBe("tea");
    expect(stream.trailers.map(({ name, value }) => [name, value])).toEqual([["X-Digest", "abc"]]);
  });

  it.each([
    ["HEAD", 200, 5],
    ["GET", 204, undefined],
    ["GET", 304, undefined],
  ])("answers %s with %i without a body", async (method, status, contentLength) => {
    const { stream, outcome } = await answer(
      originOf((_request, response) => {
        response.statusCode = status;
        if (contentLength !== undefined) response.setHeader("Content-Length", contentLength);
        response.end(status === 200 ? "hello" : undefined);
      }),
      { method },
    );
    expect(stream.head).toMatchObject({ status, contentLength });
    expect(stream.chunks).toEqual([]);
    expect(await outcome()).toEqual({ class: "ok", status });
  });

  it("keeps interim responses to itself", async () => {
    const { stream } = await answer(
      originOf((_request, response) => {
        response.writeEarlyHints({ link: "</style.css>; rel=preload" });
        response.writeProcessing();
        response.end("done");
      }),
    );
    expect([stream.head?.status, stream.body.toString()]).toEqual([200, "done"]);
  });

  it("sends each chunk on at once", async () => {
    let response: ServerResponse | undefined;
    const { stream, outcome } = serve(
      originOf((_request, res) => {
        response = res;
        // What event stream handlers commonly do.
        res.writeHead(200, { "Content-Type": "text/event-stream", Connection: "keep-alive" });
        res.flushHeaders();
      }),
    );
    await stream.until(({ head }) => head !== undefined);
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      response?.write(event);
      await stream.until(({ body }) => body.toString().endsWith(event));
    }
    response?.end();
    await stream.done();
    expect(stream.body.toString()).toBe("data: 1\n\ndata: 2\n\n");
    expect((await outcome()).class).toBe("ok");
  });

  it.each([
    ["with a length", 11],
    ["without a length", undefined],
  ])("reads a body %s as it comes", async (_name, contentLength) => {
    const chunks: string[] = [];
    let request: IncomingMessage | undefined;
    const { stream } = serve(
      originOf((req, res) => {
        request = req;
        req.setEncoding("latin1");
        req.on("data", (chunk: string) => chunks.push(chunk));
        req.on("end", () => res.end(JSON.stringify(req.trailers)));
      }),
      { method: "POST", bodyless: false, ...(contentLength === undefined ? {} : { contentLength }) },
    );
    stream.give("hello ");
    await expect.poll(() => chunks).toEqual(["hello "]);
    stream.give("");
    stream.give("world");
    stream.giveEnd([new HeaderField("x-digest", "abc"), new HeaderField("content-length", "9")]);
    await stream.done();
    expect(chunks.join("")).toBe("hello world");
    expect(request?.headers["content-length"]).toBe(contentLength === undefined ? undefined : "11");
    expect(request?.headers["transfer-encoding"]).toBe(contentLength === undefined ? "chunked" : undefined);
    expect(stream.body.toString()).toBe(contentLength === undefined ? '{"x-digest":"abc"}' : "{}");
    expect(stream.credited).toBe(stream.given);
  });

  it("sees an empty POST as one of length 0", async () => {
    const { text } = await answer(
      originOf((request, response) => {
        request.resume();
        request.on("end", () => response.end(String(request.headers["content-length"])));
      }),
      { method: "POST" },
    );
    expect(text).toBe("0");
  });

  it("is told to continue when the visitor waits for it", async () => {
    const { text } = await answer(
      originOf((request, response) => {
        request.resume();
        response.end(request.headers.expect);
      }),
      { method: "POST", headers: { expect: "100-continue" } },
    );
    expect(text).toBe("100-continue");
  });

  it("waits for a slow visitor", async () => {
    const total = 4_000_000;
    const drained: boolean[] = [];
    const { stream, outcome } = serve(
      originOf((_request, response) => {
        let sent = 0;
        const pump = (): void => {
          while (sent < total) {
            sent += 50_000;
            if (!response.write(Buffer.alloc(50_000, sent / 50_000))) break;
          }
          if (sent >= total) response.end();
          else
            response.once("drain", () => {
              drained.push(true);
              pump();
            });
        };
        pump();
      }),
      { window: 100_000 },
    );
    await stream.until(({ blocked }) => blocked);
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
    expect(stream.body.length).toBeLessThan(400_000);
    expect(drained.length).toBeLessThan(4);
    while (!stream.ended) {
      await stream.until(({ blocked, ended }) => blocked || ended);
      stream.drain();
    }
    const body = stream.body;
    expect(body.length).toBe(total);
    expect(body.every((byte, at) => byte === (Math.floor(at / 50_000) + 1) % 256)).toBe(true);
    expect(drained.length).toBeGreaterThan(5);
    expect((await outcome()).class).toBe("ok");
  });

  it("copies a huge write only as fast as the visitor reads", async () => {
    const { stream } = serve(
      originOf((_request, response) => response.end(Buffer.alloc(10_000_000, 7))),
      { window: 100_000 },
    );
    await stream.until(({ blocked }) => blocked);
    await new Promise(setImmediate);
    expect(stream.body.length).toBeLessThan(600_000);
    while (!stream.ended) {
      stream.drain();
      await stream.until(({ blocked, ended }) => blocked || ended);
    }
    expect(stream.body.equals(Buffer.alloc(10_000_000, 7))).toBe(true);
  });

  it("holds back a visitor whose body is not read", async () => {
    let request: IncomingMessage | undefined;
    const { stream, outcome } = serve(
      originOf((req, res) => {
        request = req;
        req.on("end", () => res.end("read"));
      }),
      { method: "POST", bodyless: false },
    );
    for (let i = 0; i < 64; i++) {
      stream.give(Buffer.alloc(16_384, i));
      await new Promise(setImmediate);
    }
    expect(stream.credited).toBeLessThan(300_000);
    request?.resume();
    await stream.until(({ credited, given }) => credited === given);
    stream.giveEnd();
    await stream.done();
    expect((await outcome()).class).toBe("ok");
  });

  it("learns that the visitor has left", async () => {
    const seen: string[] = [];
    let arrived = (): void => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const { stream, outcome } = serve(
      originOf((request, response) => {
        request.on("aborted", () => seen.push("aborted"));
        request.on("close", () => seen.push("request closed"));
        response.on("close", () => seen.push(`response closed, ${String(response.writableFinished)}`));
        response.write("part");
        arrived();
      }),
      { method: "POST", bodyless: false },
    );
    stream.give("some");
    await arrival;
    stream.cancel("client-abort");
    expect(await outcome()).toEqual({ class: "client-abort", status: 200, phase: "response-body" });
    await expect.poll(() => seen.toSorted()).toEqual(["aborted", "request closed", "response closed, false"]);
    expect(stream.credited).toBe(stream.given);
    expect(stream.aborted).toBe(false);
  });

  it("may answer before it has read the body", async () => {
    const { stream, outcome } = serve(
      originOf((_request, response) => {
        response.writeHead(413);
        response.end("too much");
      }),
      { method: "POST", bodyless: false, contentLength: 1_000_000 },
    );
    stream.give(Buffer.alloc(200_000));
    await stream.done();
    expect([stream.head?.status, stream.body.toString()]).toEqual([413, "too much"]);
    expect(await outcome()).toEqual({ class: "ok", status: 413 });
    stream.give("late");
    await stream.until(({ credited, given }) => credited === given);
  });

  it("may end its response well after the last byte", async () => {
    let failed: unknown = "unfinished";
    await answer(
      originOf((_request, response) => {
        response.writeHead(200, { "Content-Length": 5 });
        const source = Readable.from(
          (async function* () {
            yield "hello";
            await new Promise((resolve) => setTimeout(resolve, 20));
          })(),
        );
        pipeline(source, response).then(
          () => (failed = undefined),
          (error: unknown) => (failed = error),
        );
      }),
    );
    await expect.poll(() => failed).toBeUndefined();
  });

  it("answers 500 when it throws", async () => {
    const boom = new Error("boom");
    const { stream, text, outcome } = await answer(
      originOf(() => {
        throw boom;
      }),
    );
    expect([stream.head?.status, stream.head?.source, text]).toEqual([500, "origin", "Internal Server Error\n"]);
    const report = await outcome();
    expect(report).toMatchObject({ class: "handler-error", status: 500, phase: "response-head" });
    expect(report.error).toMatchObject({ code: "ERR_UNDERPASS_HANDLER", cause: boom });
  });

  it("breaks its answer off when it throws in the middle", async () => {
    const { stream, outcome } = serve(
      originOf((request, response) => {
        response.write("part");
        request.on("data", () => {
          throw new Error("boom");
        });
      }),
      { method: "POST", bodyless: false },
    );
    await stream.until(({ body }) => body.length === 4);
    stream.give("x");
    await stream.done();
    expect([stream.aborted, stream.ended]).toEqual([true, false]);
    expect(await outcome()).toMatchObject({ class: "handler-error", status: 200, phase: "response-body" });
  });

  it("breaks the answer off when it destroys it", async () => {
    const { stream, outcome } = serve(
      originOf((_request, response) => {
        response.write("part", () => response.destroy(new Error("no more")));
      }),
    );
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(await outcome()).toMatchObject({ class: "origin-reset", status: 200, phase: "response-body" });
  });

  it("gives a 502 when it destroys the socket instead of answering", async () => {
    const { stream, outcome } = await answer(originOf((request) => void request.socket.destroy()));
    expect([stream.head, stream.aborted]).toEqual([undefined, true]);
    const report = await outcome();
    expect(report).toMatchObject({ class: "origin-reset", status: 502, phase: "response-head" });
    expect(report.error).toMatchObject({ code: "ERR_UNDERPASS_ORIGIN_RESET" });
  });

  it.each([
    ["garbage", "SSH-2.0-whatever\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ["a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
  ])("gives a 502 when it writes %s by hand", async (_name, bytes) => {
    const { stream, outcome } = await answer(originOf((request) => void request.socket.write(bytes)));
    expect([stream.head, stream.aborted]).toEqual([undefined, true]);
    expect(await outcome()).toMatchObject({ class: "origin-protocol", status: 502, phase: "response-head" });
  });

  it("may write an answer that lasts until it closes", async () => {
    const { stream, text, outcome } = await answer(
      originOf((request) => void request.socket.end("HTTP/1.0 200 OK\r\n\r\nold style")),
    );
    expect([stream.ended, text, (await outcome()).class]).toEqual([true, "old style", "ok"]);
  });

  it("is told when its time-out has passed", async () => {
    const { text } = await answer(
      originOf((_request, response) => {
        response.setTimeout(5, () => response.end("timed out"));
      }),
    );
    expect(text).toBe("timed out");
  });

  it("refuses a method that node:http does not know, as behind a port", async () => {
    const { stream, outcome } = await answer(
      originOf(() => {}),
      { method: "BREW" },
    );
    expect(stream.head?.status).toBe(400);
    expect((await outcome()).class).toBe("ok");
  });

  it("is spared a body of another length than its head said", async () => {
    for (const [bytes, end] of [
      ["hello!", false],
      ["hell", true],
    ] as const) {
      const { stream, outcome } = serve(
        originOf((request) => void request.resume()),
        { method: "POST", bodyless: false, contentLength: 5 },
      );
      stream.give(bytes);
      if (end) stream.giveEnd();
      await stream.done();
      expect(stream.head?.status).toBe(400);
      expect(await outcome()).toMatchObject({ class: "bad-request", status: 400, phase: "request" });
      await stream.until(({ credited, given }) => credited === given);
    }
  });

  it("frees everything of requests whose visitors leave", async () => {
    const count = 300;
    let arrived = 0;
    let closed = 0;
    const origin = originOf((request, response) => {
      arrived++;
      request.resume();
      response.on("close", () => closed++);
      if (arrived % 3 !== 0) response.write("x".repeat(arrived % 2 === 0 ? 10 : 200_000));
    });
    const served = Array.from({ length: count }, () =>
      serve(origin, { method: "POST", bodyless: false, window: 1000 }),
    );
    for (const { stream } of served) stream.give(Buffer.alloc(1000));
    await expect.poll(() => arrived).toBe(count);
    for (const { stream } of served) stream.cancel();
    await expect.poll(() => closed).toBe(count);
    for (const { stream, reports } of served) {
      expect(reports.map((report) => report.class)).toEqual(["client-abort"]);
      expect(stream.credited).toBe(stream.given);
      expect(stream.aborted).toBe(false);
    }
  });

  it("compresses, as middleware does", async () => {
    const { stream } = await answer(
      originOf((_request, response) => {
        response.setHeader("Content-Encoding", "gzip");
        const gzip = createGzip();
        gzip.pipe(response);
        gzip.end("x".repeat(100_000));
      }),
    );
    expect(gunzipSync(stream.body).toString()).toBe("x".repeat(100_000));
  });
});

describe("an async listener", () => {
  it("answers 500 when it is rejected, and no rejection goes unhandled", async () => {
    const { stream, outcome } = await answer(
      listenerOrigin(async () => {
        await Promise.resolve();
        throw new TypeError("boom");
      }),
    );
    expect(stream.head?.status).toBe(500);
    expect((await outcome()).error).toMatchObject({ cause: new TypeError("boom") });
  });

  it("may fail because the visitor has left", async () => {
    let rejected = false;
    const { stream, outcome } = serve(
      listenerOrigin(async (_request, response) => {
        response.write("part");
        await once(response, "close");
        rejected = true;
        throw new Error("premature close");
      }),
    );
    await stream.until(({ head }) => head !== undefined);
    stream.cancel();
    expect((await outcome()).class).toBe("client-abort");
    await expect.poll(() => rejected).toBe(true);
  });

  it("warns when it fails after its response", async () => {
    const warning = once(process, "warning");
    const { outcome } = await answer(
      listenerOrigin(async (_request, response) => {
        response.end("done");
        await once(response, "finish");
        throw new Error("boom");
      }),
    );
    expect((await outcome()).class).toBe("ok");
    expect((await warning)[0]).toMatchObject({ code: "ERR_UNDERPASS_HANDLER", cause: new Error("boom") });
  });
});

describe("a server of the user's own", () => {
  it("keeps its options, classes and events", async () => {
    class MyRequest extends http.IncomingMessage {}
    class MyResponse extends http.ServerResponse<MyRequest> {}
    const events: string[] = [];
    const server = http.createServer({ IncomingMessage: MyRequest, ServerResponse: MyResponse, maxHeaderSize: 4096 });
    server.on("connection", () => events.push("connection"));
    server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
      events.push(`checkContinue ${request instanceof MyRequest} ${response instanceof MyResponse}`);
      response.writeContinue();
      response.end("checked");
    });
    const origin: InProcessOrigin = { kind: "server", server };
    const { text } = await answer(origin, { headers: { expect: "100-continue" } });
    expect(text).toBe("checked");
    expect(events).toEqual(["connection", "checkContinue true true"]);
    const { stream } = await answer(origin, { headers: { "x-long": "x".repeat(5000) } });
    expect(stream.head?.status).toBe(431);
  });

  it("may listen on a port at the same time", async () => {
    const server = http.createServer((request, response) => response.end(request.url));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { text } = await answer({ kind: "server", server }, { path: "/tunnel" });
    expect(text).toBe("/tunnel");
    server.close();
    await once(server, "close");
  });

  it("may be an https.Server, whose TLS is the edge's matter", async () => {
    const server = https.createServer((request, response) => response.end(request.url));
    const { text } = await answer({ kind: "server", server }, { path: "/secure" });
    expect(text).toBe("/secure");
  });

  it("that throws when it is given a connection answers 500", async () => {
    const server = http.createServer();
    server.on("connection", () => {
      throw new Error("boom");
    });
    const { stream, outcome } = await answer({ kind: "server", server });
    expect(stream.head?.status).toBe(500);
    expect((await outcome()).class).toBe("handler-error");
  });
});

it("takes request heads as large as Cloudflare's", async () => {
  const { text } = await answer(
    listenerOrigin((request, response) => response.end(String(request.headers["x-long"]?.length))),
    { headers: { "x-long": "x".repeat(120_000) } },
  );
  expect(text).toBe("120000");
});
