/** Origins over HTTP/2, with prior knowledge and by ALPN. */
import { once } from "node:events";
import http2 from "node:http2";
import tls from "node:tls";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import { type Certificate, selfSigned } from "../certificates.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "../fake-stream.ts";
import { Cleanup, type Harness, listen, portOrigin, urlOrigin } from "../harness.ts";
import { http2Origin, type StreamListener } from "./origin.ts";
import { closedPort } from "../../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
afterEach(() => {
  vi.useRealTimers();
});

let certificate: Certificate;
beforeAll(() => {
  certificate = selfSigned("DNS:origin.test,IP:127.0.0.1");
});

function deferred<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Answers with what it was asked. */
const describing: StreamListener = (stream, headers) => {
  stream.respond({ ":status": 200, "content-type": "application/json" });
  stream.end(JSON.stringify(headers));
};

const echoing: StreamListener = (stream) => {
  stream.respond({ ":status": 200 });
  stream.pipe(stream);
};

function send(harness: Harness, stream: FakeStream, options: Parameters<typeof httpRequest>[1] = {}): FakeStream {
  harness.proxy.handle(httpRequest(stream, options), 0);
  return stream;
}

async function get(harness: Harness, options: Parameters<typeof httpRequest>[1] = {}): Promise<FakeStream> {
  return send(harness, new FakeStream({ bodyless: true }), options).done();
}

describe("h2c://", () => {
  it("sends requests over HTTP/2, one connection for all", async () => {
    const { server, sessions } = await http2Origin(cleanup, describing);
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const streams = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        get(harness, {
          path: `/a%2Fb?n=${at}`,
          headers: fieldsOf({
            "x-one": "1",
            te: "trailers",
            "keep-alive": "5",
            expect: "100-continue",
            "http2-settings": "AAAA",
          }),
        }),
      ),
    );
    expect(sessions).toHaveLength(1);
    const seen = streams.map(({ body }) => JSON.parse(body.toString()) as Record<string, string>);
    expect(seen.map((headers) => headers[":path"])).toEqual(streams.map((_, at) => `/a%2Fb?n=${at}`));
    expect(seen[0]).toEqual({
      ":authority": "app.example.com",
      ":method": "GET",
      ":path": "/a%2Fb?n=0",
      ":scheme": "http",
      "cf-warp-tag-id": "0a1b2c3d-0000-4000-8000-000000000001",
      te: "trailers",
      "x-one": "1",
    });
    expect(harness.outcomes.every(({ class: outcome, status }) => outcome === "ok" && status === 200)).toBe(true);
  });

  it("carries gRPC: streams both ways, and trailers both ways", async () => {
    const trailersSeen = deferred<http2.IncomingHttpHeaders>();
    const { server } = await http2Origin(cleanup, (stream) => {
      stream.on("trailers", (trailers) => trailersSeen.resolve(trailers));
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine" }));
      stream.on("data", (chunk: Buffer) => stream.write(`<${chunk.toString()}>`));
      stream.on("end", () => stream.end());
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const stream = send(harness, new FakeStream(), {
      method: "POST",
      path: "/pkg.Service/Method",
      headers: fieldsOf({ "content-type": "application/grpc", te: "trailers" }),
    });
    // Each message is answered before the next one is sent.
    for (const message of ["one", "two", "three"]) {
      stream.give(message);
      await stream.until(({ body }) => body.includes(`<${message}>`));
      expect(stream.ended).toBe(false);
    }
    stream.giveEnd([new HeaderField("x-checksum", "77")]);
    await stream.done();
    expect({ ...(await trailersSeen.promise) }).toMatchObject({ "x-checksum": "77" });
    expect(stream.body.toString()).toBe("<one><two><three>");
    expect(stream.trailers.map(({ name, value }) => [name, value])).toEqual([
      ["grpc-status", "0"],
      ["grpc-message", "fine"],
    ]);
    expect(stream.header("content-type")).toBe("application/grpc");
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 200 });
    expect(stream.credited).toBe(stream.given);
  });

  it("passes on an answer without a body, and one that only has a head for gRPC", async () => {
    const { server } = await http2Origin(cleanup, (stream, headers) => {
      if (headers[":method"] === "HEAD") stream.respond({ ":status": 200, "content-length": 7 }, { endStream: true });
      else stream.respond({ ":status": 200, "grpc-status": "12" }, { endStream: true });
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const head = await get(harness, { method: "HEAD" });
    expect(head.head).toMatchObject({ status: 200, contentLength: 7, source: "origin" });
    const grpc = await get(harness, { method: "POST" });
    expect(grpc.header("grpc-status")).toBe("12");
    expect([head.chunks, grpc.chunks]).toEqual([[], []]);
    await harness.outcome(2);
  });

  it("holds the visitor back when the origin does not read", async () => {
    const opened = deferred<http2.ServerHttp2Stream>();
    const { server } = await http2Origin(cleanup, (stream) => opened.resolve(stream));
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const stream = send(harness, new FakeStream(), { method: "POST" });
    const origin = await opened.promise;
    const chunk = Buffer.alloc(16 * 1024, "x");
    // Far beyond the 64 KiB of a node:http2 stream that nobody reads; what is not credited the visitor can't send.
    for (let at = 0; at < 64; at++) stream.give(chunk);
    // Its answer comes behind all that could be sent.
    await new Promise((resolve) => origin.session?.ping(resolve));
    expect(stream.credited).toBeLessThan(512 * 1024);
    let read = 0;
    origin.on("data", (bytes: Buffer) => (read += bytes.length));
    await stream.until(({ credited, given }) => credited === given);
    stream.giveEnd();
    await once(origin, "end");
    expect(read).toBe(64 * chunk.length);
    origin.respond({ ":status": 204 }, { endStream: true });
    await stream.done();
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 204 });
  });

  it("holds the origin back when the visitor does not read, and no other request", async () => {
    const total = 8 * 1024 * 1024;
    let sent = 0;
    const { server } = await http2Origin(cleanup, (stream, headers) => {
      stream.respond({ ":status": 200 });
      if (headers[":path"] === "/small") {
        stream.end("small");
        return;
      }
      const fill = (): void => {
        while (sent < total) {
          sent += 64 * 1024;
          if (!stream.write(Buffer.alloc(64 * 1024, "y"))) {
            stream.once("drain", fill);
            return;
          }
        }
        stream.end();
      };
      fill();
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const slow = send(harness, new FakeStream({ bodyless: true, window: 100_000 }), { path: "/large" });
    await slow.until(({ blocked }) => blocked);
    for (let at = 0; at < 20; at++) expect((await get(harness, { path: "/small" })).body.toString()).toBe("small");
    // The stream's window is 1 MiB; the rest waits at the origin.
    expect(slow.body.length).toBeLessThanOrEqual(1024 * 1024);
    expect(sent).toBeLessThan(total);
    while (!slow.ended) {
      slow.drain();
      await slow.until(({ blocked, ended }) => blocked || ended);
    }
    expect(slow.body.length).toBe(total);
  });

  it("tells the origin when the visitor goes away, and the connection lives on", async () => {
    const codes: number[] = [];
    const opened = deferred<void>();
    const closed = deferred<void>();
    const { server, sessions } = await http2Origin(cleanup, (stream, headers) => {
      if (headers[":path"] !== "/slow") {
        describing(stream, headers);
        return;
      }
      stream.respond({ ":status": 200 });
      stream.write("begun");
      opened.resolve();
      stream.on("close", () => {
        codes.push(stream.rstCode);
        closed.resolve();
      });
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const stream = send(harness, new FakeStream(), { method: "POST", path: "/slow" });
    await opened.promise;
    await stream.until(({ body }) => body.length > 0);
    stream.cancel();
    await closed.promise;
    expect(codes).toEqual([http2.constants.NGHTTP2_CANCEL]);
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "response-body" });
    expect((await get(harness)).head?.status).toBe(200);
    expect(sessions).toHaveLength(1);
  });

  it("breaks the visitor's stream off when the origin does", async () => {
    const { server } = await http2Origin(cleanup, (stream, headers) => {
      if (headers[":path"] === "/late") {
        stream.respond({ ":status": 200 });
        stream.write("half", () => stream.destroy(new Error("no more")));
      } else {
        stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      }
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const early = await get(harness);
    expect(early.aborted && early.head === undefined).toBe(true);
    expect(await harness.outcome(1)).toMatchObject({ class: "origin-reset", phase: "response-head", status: 502 });
    const late = await get(harness, { path: "/late" });
    expect([late.aborted, late.ended, late.body.toString()]).toEqual([true, false, "half"]);
    expect(await harness.outcome(2)).toMatchObject({ class: "origin-reset", phase: "response-body", status: 200 });
  });

  it("ends the request when the answer is complete before it", async () => {
    const { server } = await http2Origin(cleanup, (stream) => {
      stream.respond({ ":status": 413 });
      stream.end("too long");
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const stream = send(harness, new FakeStream(), { method: "POST" });
    stream.give("beginning");
    await stream.done();
    expect([stream.head?.status, stream.body.toString()]).toEqual([413, "too long"]);
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 413 });
    stream.give("more");
    expect(stream.credited).toBe(stream.given);
  });

  it("opens a second connection only where the origin's limit of streams is reached", async () => {
    const waiting: http2.ServerHttp2Stream[] = [];
    const arrived = { wake: () => {} };
    const { server, sessions } = await http2Origin(
      cleanup,
      (stream) => {
        waiting.push(stream);
        arrived.wake();
      },
      undefined,
      { maxConcurrentStreams: 3 },
    );
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const streams = Array.from({ length: 7 }, () => send(harness, new FakeStream({ bodyless: true })));
    while (waiting.length < 7) await new Promise<void>((resolve) => (arrived.wake = resolve));
    expect(sessions).toHaveLength(3);
    for (const stream of waiting) {
      stream.respond({ ":status": 200 });
      stream.end("ok");
    }
    await Promise.all(streams.map((stream) => stream.done()));
    expect(streams.map(({ body }) => body.toString())).toEqual(Array(7).fill("ok"));
  });

  it("goes to a new connection after GOAWAY; what is under way is finished", async () => {
    const held = deferred<http2.ServerHttp2Stream>();
    const { server, sessions } = await http2Origin(cleanup, (stream, headers) => {
      if (headers[":path"] === "/held") held.resolve(stream);
      else describing(stream, headers);
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const first = send(harness, new FakeStream({ bodyless: true }), { path: "/held" });
    const stream = await held.promise;
    sessions[0]?.close();
    // Whichever comes first, the GOAWAY or these, each is answered.
    for (let at = 0; at < 3; at++) expect((await get(harness)).head?.status).toBe(200);
    expect(sessions).toHaveLength(2);
    stream.respond({ ":status": 200 });
    stream.end("finished");
    await first.done();
    expect(first.body.toString()).toBe("finished");
    if (sessions[0]?.destroyed === false) await once(sessions[0], "close");
  });

  it("asks once more for what the origin has not looked at", async () => {
    let refused = 0;
    const { server } = await http2Origin(cleanup, (stream, headers) => {
      const isEndless = headers[":path"] === "/never";
      if (isEndless || refused === 0) {
        refused++;
        stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      } else {
        describing(stream, headers);
      }
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    expect((await get(harness, { method: "POST" })).head?.status).toBe(200);
    expect(refused).toBe(1);
    expect((await get(harness, { path: "/never" })).aborted).toBe(true);
    expect(refused).toBe(3);
  });

  it("repeats what can be repeated when an idle connection turns out to be dead", async () => {
    let requests = 0;
    const { server, sessions } = await http2Origin(cleanup, (stream, headers) => {
      requests++;
      if (requests === 2) sessions[0]?.destroy();
      else describing(stream, headers);
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    await get(harness);
    expect((await get(harness)).head?.status).toBe(200);
    expect(requests).toBe(3);
    expect(sessions).toHaveLength(2);
  });

  it("loses what was under way with the connection", async () => {
    const { server, sockets } = await http2Origin(cleanup, () => {
      for (const socket of sockets) socket.resetAndDestroy();
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    expect((await get(harness, { method: "POST" })).aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "origin-reset", phase: "response-head", status: 502 });
  });

  it("names an origin that does not speak HTTP/2", async () => {
    const origin = await cleanup.http((_request, response) => response.end());
    const harness = cleanup.harness(urlOrigin(origin, "h2c"));
    const stream = send(harness, new FakeStream(), { method: "POST" });
    stream.give("body");
    await stream.done();
    const outcome = await harness.outcome();
    expect(outcome).toMatchObject({ class: "origin-protocol", phase: "connect", status: 502 });
    expect(outcome.error?.message).toMatch(/would http:\/\/ be right\?/);
    expect(stream.credited).toBe(stream.given);
  });

  it("tells a refused connection, and a visitor that left while it was opened", async () => {
    const harness = cleanup.harness(portOrigin(await closedPort(), "h2c"));
    await get(harness);
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
    const stream = send(harness, new FakeStream());
    stream.give("body");
    stream.cancel();
    expect(await harness.outcome(2)).toMatchObject({ class: "client-abort", phase: "connect" });
    expect(stream.credited).toBe(stream.given);
  });

  it("sends WebSockets over HTTP/1.1, to the same address", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection
        .head()
        .then(() => connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhi"));
    });
    const harness = cleanup.harness(urlOrigin(origin.server, "h2c"));
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    await stream.until(({ body }) => body.toString() === "hi");
    expect(stream.head?.status).toBe(101);
    expect(await (await origin.connection()).head()).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
  });

  it("closes idle connections after keepAliveTimeout, at once without keep-alive, and with its rule", async () => {
    for (const options of [{ keepAliveTimeoutMs: 20 }, { keepAliveConnections: -1 }]) {
      const { server, sessions } = await http2Origin(cleanup, describing);
      const harness = cleanup.harness(urlOrigin(server, "h2c"), options);
      await get(harness);
      await get(harness);
      const session = sessions.at(-1);
      if (session?.destroyed === false) await once(session, "close");
      await get(harness);
      expect(sessions.length).toBeGreaterThan(1);
    }
    const { server, sessions } = await http2Origin(cleanup, describing);
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    await get(harness);
    await harness.proxy.close();
    if (sessions[0]?.destroyed === false) await once(sessions[0], "close");
  });
});

describe("http2Origin", () => {
  const options = (): { http2Origin: boolean; caPool: string } => ({ http2Origin: true, caPool: certificate.cert });

  it("speaks HTTP/2 with an origin whose TLS chooses it", async () => {
    const { server, sessions } = await http2Origin(cleanup, describing, certificate);
    const harness = cleanup.harness(urlOrigin(server, "https"), options());
    const answers = [await get(harness), await get(harness)].map(({ body }) => JSON.parse(body.toString()));
    expect(answers).toMatchObject([{ ":scheme": "https" }, { ":scheme": "https" }]);
    expect(sessions).toHaveLength(1);
  });

  it("speaks HTTP/1.1 with one that does not, and does not ask again each time", async () => {
    const { default: https } = await import("node:https");
    const origin = https.createServer(certificate, (request, response) => {
      request.resume();
      request.on("end", () => response.end(request.httpVersion));
    });
    let connections = 0;
    origin.on("connection", () => connections++);
    cleanup.add(await listen(origin), (each) => {
      each.closeAllConnections();
      each.close();
    });
    const harness = cleanup.harness(urlOrigin(origin, "https"), options());
    const first = send(harness, new FakeStream(), { method: "POST" });
    first.give("body");
    first.giveEnd();
    await first.done();
    expect(first.body.toString()).toBe("1.1");
    for (let at = 0; at < 3; at++) expect((await get(harness)).body.toString()).toBe("1.1");
    expect(connections).toBe(2);
  });

  it("is not offered without the option", async () => {
    const { server, sessions } = await http2Origin(cleanup, describing, certificate);
    if ("setTimeout" in server) {
      server.on("request", (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => {
        if (request.httpVersion === "1.1") response.end("one");
      });
    }
    const harness = cleanup.harness(urlOrigin(server, "https"), { caPool: certificate.cert });
    expect((await get(harness)).body.toString()).toBe("one");
    expect(sessions).toHaveLength(0);
  });

  it("has no effect on origins without TLS", async () => {
    const origin = await cleanup.http((request, response) => response.end(request.httpVersion));
    const harness = cleanup.harness(urlOrigin(origin), { http2Origin: true });
    expect((await get(harness)).body.toString()).toBe("1.1");
  });

  it("keeps to tlsTimeout and to matchSNItoHost", async () => {
    const names: unknown[] = [];
    const { server, sessions } = await http2Origin(cleanup, describing, certificate);
    server.on("secureConnection", (socket: { servername?: unknown }) => names.push(socket.servername));
    const harness = cleanup.harness(urlOrigin(server, "https"), {
      ...options(),
      noTLSVerify: true,
      matchSNItoHost: true,
    });
    for (const authority of ["a.example.com:8443", "b.example.com", "A.example.com."])
      await get(harness, { authority });
    expect(names).toEqual(["a.example.com", "b.example.com"]);
    expect(sessions).toHaveLength(2);
    const silent = await cleanup.raw();
    const slow = cleanup.harness(urlOrigin(silent.server, "https"), { ...options(), tlsTimeoutMs: 30 });
    await get(slow);
    expect(await slow.outcome()).toMatchObject({ class: "origin-timeout", phase: "tls", status: 504 });
  });
});

describe("an answer over HTTP/2 that is too slow", () => {
  it.each(["connectTimeout", "responseHeaderTimeout"])("runs into %s before the origin's SETTINGS", async (name) => {
    const silent = await cleanup.raw();
    const secure = tls.createServer({ ...certificate, ALPNProtocols: ["h2"] }, (socket) =>
      socket.on("error", () => {}),
    );
    cleanup.add(await listen(secure), (server) => server.close());
    const limits = { noTLSVerify: true, http2Origin: true, [`${name}Ms`]: 100 };
    for (const origin of [urlOrigin(silent.server, "h2c"), urlOrigin(secure, "https")]) {
      const harness = cleanup.harness(origin, limits);
      expect((await get(harness)).head).toMatchObject({ status: 504, source: "connector" });
      const outcome = await harness.outcome();
      expect(outcome).toMatchObject({ class: "origin-timeout", phase: "connect", status: 504 });
      expect(outcome.error?.message).toMatch(new RegExp(`no SETTINGS of HTTP/2 within 100 ms \\(${name}\\)`));
    }
    await (await silent.connection()).until(({ ended, closed }) => ended || closed);
  });

  it("is not waited for without end where the options set no limit", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    const silent = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(silent.server, "h2c"), { connectTimeoutMs: 0 });
    const stream = send(harness, new FakeStream({ bodyless: true }));
    await (await silent.connection()).until(({ received }) => received.startsWith("PRI * HTTP/2.0"));
    await vi.advanceTimersByTimeAsync(8_999);
    expect(stream.head).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    expect(await harness.outcome()).toMatchObject({ class: "origin-timeout", phase: "connect", status: 504 });
  });

  it("runs into responseHeaderTimeout and idleTimeout", async () => {
    const { server } = await http2Origin(cleanup, (stream, headers) => {
      if (headers[":path"] !== "/begin") return;
      stream.respond({ ":status": 200 });
      stream.write("some");
    });
    const harness = cleanup.harness(urlOrigin(server, "h2c"), { responseHeaderTimeoutMs: 300, idleTimeoutMs: 30 });
    expect((await get(harness)).head).toMatchObject({ status: 504, source: "connector" });
    expect(await harness.outcome(1)).toMatchObject({ class: "origin-timeout", phase: "response-head", status: 504 });
    expect((await get(harness, { path: "/begin" })).aborted).toBe(true);
    expect(await harness.outcome(2)).toMatchObject({ class: "origin-timeout", phase: "response-body", status: 200 });
  });
});

describe("a proxy that closes", () => {
  it("ends requests, connections and attempts to connect", async () => {
    const { server } = await http2Origin(cleanup, echoing);
    const harness = cleanup.harness(urlOrigin(server, "h2c"));
    const open = send(harness, new FakeStream());
    open.give("x");
    await open.until(({ body }) => body.toString() === "x");
    const silent = await cleanup.raw();
    const connecting = cleanup.harness(urlOrigin(silent.server, "https"), options());
    const waiting = send(connecting, new FakeStream());
    await silent.connection();
    await Promise.all([harness.proxy.close(), connecting.proxy.close()]);
    expect([open.aborted, waiting.aborted]).toEqual([true, true]);
    expect([...harness.outcomes, ...connecting.outcomes].map((each) => each.class)).toEqual(["shutdown", "shutdown"]);
  });

  function options(): { http2Origin: boolean } {
    return { http2Origin: true };
  }
});
