import type http from "node:http";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { FakeStream, fieldsOf, httpRequest } from "./fake-stream.ts";
import { Cleanup, CONNECTOR_ID, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  void text(request).then((body) =>
    response.end(
      JSON.stringify({
        method: request.method,
        url: request.url,
        raw: request.rawHeaders,
        body,
        trailers: request.rawTrailers,
      }),
    ),
  );
}

interface Echo {
  method: string;
  url: string;
  raw: string[];
  body: string;
  trailers: string[];
}

function echoed(stream: FakeStream): Echo {
  const parsed: Echo = JSON.parse(stream.body.toString());
  return parsed;
}

/** `Name: value` of what the origin received. */
function received(stream: FakeStream): string[] {
  const { raw } = echoed(stream);
  return raw.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${raw[at + 1]}`] : []));
}

describe("a request to an HTTP origin", () => {
  it("returns status, fields, length and body as the origin sent them", async () => {
    const origin = await cleanup.http((_, response) => {
      response.writeHead(201, { "Content-Type": "text/plain", "Content-Length": 5, "X-Odd": "\u00e9\u00ff" });
      // A Buffer: node:http writes the head as UTF-8 when it joins it with a string.
      response.end(Buffer.from("hello"));
    });
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 2);
    await stream.done();
    expect(stream.head).toMatchObject({ status: 201, contentLength: 5, source: "origin" });
    expect(stream.fields).toContain("Content-Type: text/plain");
    expect(stream.header("x-odd")).toBe("\u00e9\u00ff");
    expect(stream.body.toString()).toBe("hello");
    expect(stream.aborted).toBe(false);
    expect(await harness.outcome()).toMatchObject({
      class: "ok",
      kind: "http",
      status: 201,
      connIndex: 2,
      phase: undefined,
    });
    expect(harness.proxy.activeRequests).toBe(0);
  });

  it("sends the visitor's fields in Go's canonical case with the connector's own changes", async () => {
    const origin = await cleanup.http(echo);
    const harness = cleanup.harness(urlOrigin(origin), {}, { tags: [{ name: "region", value: "eu" }] });
    const stream = new FakeStream({ bodyless: true });
    const headers = fieldsOf({
      "cf-ray": "8f00-FRA",
      cookie: "a=1; b=2",
      "x-forwarded-for": "203.0.113.9",
      te: "trailers",
      "x-utf8": "\u00c3\u00a9",
    });
    harness.proxy.handle(
      httpRequest(stream, { path: "/a%2Fb/../c?x=%20&y", headers, authority: "app.example.com:8443" }),
      0,
    );
    await stream.done();
    expect(echoed(stream).url).toBe("/a%2Fb/../c?x=%20&y");
    expect(received(stream)).toEqual([
      "Host: app.example.com:8443",
      "Cf-Ray: 8f00-FRA",
      "Cookie: a=1; b=2",
      "X-Forwarded-For: 203.0.113.9",
      "Te: trailers",
      "X-Utf8: \u00c3\u00a9",
      "Cf-Warp-Tag-Region: eu",
      `Cf-Warp-Tag-Id: ${CONNECTOR_ID}`,
      "Connection: keep-alive",
    ]);
  });

  it("streams a body of known length with that length", async () => {
    const origin = await cleanup.http(echo);
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT", contentLength: 10 }), 0);
    stream.give("01234");
    stream.give("56789");
    stream.giveEnd();
    await stream.done();
    expect(echoed(stream).body).toBe("0123456789");
    expect(received(stream)).toContain("Content-Length: 10");
    expect(stream.credited).toBe(10);
  });

  it("sends a body of unknown length chunked, trailers included", async () => {
    const origin = await cleanup.http(echo);
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    stream.give("abc");
    await stream.until(({ credited }) => credited === 3);
    stream.give("d".repeat(100_000));
    stream.giveEnd(fieldsOf({ "x-digest": "77", "content-length": "3" }));
    await stream.done();
    expect(echoed(stream).body).toBe(`abc${"d".repeat(100_000)}`);
    expect(received(stream)).toContain("Transfer-Encoding: chunked");
    expect(echoed(stream).trailers).toEqual(["X-Digest", "77"]);
    expect(stream.credited).toBe(100_003);
  });

  it("keeps the connection for the next request", async () => {
    const sockets = new Set<unknown>();
    const origin = await cleanup.http((request, response) => {
      sockets.add(request.socket);
      response.end("x");
    });
    const harness = cleanup.harness(urlOrigin(origin));
    for (let i = 0; i < 5; i++) {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream), 0);
      await stream.done();
    }
    expect(sockets.size).toBe(1);
  });
});
