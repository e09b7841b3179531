/** Visitors of the public listener, in front of a connector whose HTTP/2 is Node's. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { beforeEach, describe, expect, it } from "vitest";
import type { MockEdge } from "../../src/mock-edge/index.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";
import { start } from "./start.ts";

let edge: MockEdge;

beforeEach(async () => {
  edge = await start();
});

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function connector(onStream: OnStream): Promise<void> {
  await startNodeConnector(edge, { onStream });
  await edge.registered(1);
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: NodeJS.Dict<string>;
}

/** Node's client keeps what fetch hides: trailers, 1xx, hop-by-hop fields. */
async function ask(path: string, options: http.RequestOptions = {}, body = ""): Promise<Answer> {
  // Not as a URL, which would be normalised.
  const request = http.request(edge.publicUrl, { path, ...options });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const chunks = (await response.toArray()) as Buffer[];
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString(),
    trailers: response.trailers,
  };
}

describe("requests", () => {
  it("carry what the visitor sent, what the edge adds, and nothing in the edge's name", async () => {
    let seen: IncomingHttpHeaders = {};
    let body = "";
    await connector((stream, headers) => {
      seen = headers;
      stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
      stream.on("end", () => {
        stream.respond(originHead(201, { "X-Answer": "1", "Content-Length": "4", Connection: "keep-alive" }));
        stream.end("done");
      });
    });
    const answer = await ask(
      "/a/../b?q=%20",
      {
        method: "POST",
        headers: {
          host: "app.example.com",
          "content-length": "5",
          "x-mine": "yes",
          "x-forwarded-for": "192.0.2.1",
          connection: "x-hop",
          "x-hop": "1",
          te: "trailers",
          "cf-connecting-ip": "192.0.2.66",
          "cf-cloudflared-proxy-src": "192.0.2.66",
          "cf-cloudflared-proxy-connection-upgrade": "control-stream",
        },
      },
      "hello",
    );
    expect(answer).toMatchObject({ status: 201, body: "done", headers: { "x-answer": "1", "content-length": "4" } });
    const ray = String(answer.headers["cf-ray"]);
    expect(ray).toMatch(/^[0-9a-f]{16}-LAB$/);
    expect(body).toBe("hello");
    expect(seen).toEqual(
      expect.objectContaining({
        ":method": "POST",
        ":scheme": "https",
        ":authority": "app.example.com",
        ":path": "/a/../b?q=%20",
        "content-length": "5",
        "x-mine": "yes",
        te: "trailers",
        "cf-connecting-ip": "127.0.0.1",
        "x-forwarded-for": "192.0.2.1, 127.0.0.1",
        "x-forwarded-proto": "http",
        "cf-visitor": '{"scheme":"http"}',
        "cdn-loop": "cloudflare; loops=1",
        "cf-ray": ray,
      }),
    );
    for (const name of [
      "x-hop",
      "connection",
      "host",
      "cf-cloudflared-proxy-src",
      "cf-cloudflared-proxy-connection-upgrade",
    ])
      expect(seen).not.toHaveProperty(name);
  });

  it.each(["GET", "HEAD", "DELETE", "OPTIONS"])("%s without a body ends with its head", async (method) => {
    let ended = false;
    await connector((stream) => {
      ended = stream.endAfterHeaders;
      stream.respond(originHead(200, { "Content-Length": "0" }), { endStream: true });
    });
    expect((await ask("/", { method })).status).toBe(200);
    expect(ended).toBe(true);
  });

  it("send an upload without a length on as it comes, with its trailers", async () => {
    let trailers: IncomingHttpHeaders = {};
    await connector((stream, headers) => {
      stream.respond(originHead(200));
      stream.on("trailers", (fields: IncomingHttpHeaders) => (trailers = fields));
      stream.once("data", (chunk: Buffer) => stream.write(`${String(headers["content-length"])} ${chunk.toString()};`));
      stream.on("end", () => stream.end());
    });
    const request = http.request(`${edge.publicUrl}/`, { method: "PUT", headers: { trailer: "x-sum" } });
    request.addTrailers({ "x-sum": "42" });
    request.write("first");
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    const chunks = response[Symbol.asyncIterator]();
    // The answer to the first bytes is here while the upload is still open.
    expect(String((await chunks.next()).value)).toBe("undefined first;");
    request.end();
    expect((await chunks.next()).done).toBe(true);
    expect(trailers).toMatchObject({ "x-sum": "42" });
  });

  it("are cancelled when the visitor goes away", async () => {
    const cancelled = new Promise<number>((resolve) => {
      void connector((stream) => {
        stream.respond(originHead(200));
        stream.write("tick");
        stream.on("close", () => resolve(stream.rstCode));
      });
    });
    await edge.registered(1);
    const request = http.get(`${edge.publicUrl}/`);
    request.on("error", () => {});
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    await once(response, "data");
    request.destroy();
    expect(await cancelled).toBe(8);
  });

  it("wait for a connector that does not read", async () => {
    let taken = 0;
    const size = 12 * 1024 * 1024;
    const hash = createHash("sha256");
    const streams: ServerHttp2Stream[] = [];
    await connector((stream) => {
      streams.push(stream);
      stream.respond(originHead(200));
    });
    const request = http.request(`${edge.publicUrl}/`, { method: "POST", headers: { "content-length": size } });
    const chunk = Buffer.alloc(64 * 1024, "x");
    let drained = 0;
    for (let sent = 0; sent < size; sent += chunk.length) if (!request.write(chunk)) drained++;
    expect(drained).toBeGreaterThan(0);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    // Nothing was read yet: what has left the visitor is bounded by the buffers on the way.
    expect(request.writableLength).toBeGreaterThan(size / 2);
    streams[0]?.on("data", (bytes: Buffer) => {
      taken += bytes.length;
      hash.update(bytes);
    });
    streams[0]?.on("end", () => streams[0]?.end());
    request.end();
    await response.toArray();
    expect(taken).toBe(size);
    expect(hash.digest("hex")).toBe(createHash("sha256").update(Buffer.alloc(size, "x")).digest("hex"));
  });
});

describe("answers", () => {
  it("reach the visitor piece by piece, and trailers after them", async () => {
    const streams: ServerHttp2Stream[] = [];
    await connector((stream) => {
      streams.push(stream);
      stream.respond(originHead(200, { "Content-Type": "text/event-stream" }), { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42" }));
    });
    const request = http.get(`${edge.publicUrl}/`);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.headers["content-type"]).toBe("text/event-stream");
    const chunks = response[Symbol.asyncIterator]();
    streams[0]?.write("data: 1\n\n");
    expect(String((await chunks.next()).value)).toBe("data: 1\n\n");
    streams[0]?.end("data: 2\n\n");
    expect(String((await chunks.next()).value)).toBe("data: 2\n\n");
    expect((await chunks.next()).done).toBe(true);
    expect(response.trailers).toEqual({ "x-sum": "42" });
  });

  it("keep every value of a name, in order, and odd bytes", async () => {
    await connector((stream) => {
      const pair = (name: string, value: string) =>
        `${btoa(name).replace(/=+$/, "")}:${btoa(value).replace(/=+$/, "")}`;
      stream.respond(
        {
          ":status": 200,
          "cf-cloudflared-response-headers": [
            pair("Set-Cookie", "a=1"),
            pair("Set-Cookie", "b=2"),
            pair("X-Odd", "\u00e9\u00ff"),
            pair("X-Empty", ""),
          ].join(";"),
          "cf-cloudflared-response-meta": '{"src":"origin"}',
          "x-noise": "of the transport",
        },
        { endStream: true },
      );
    });
    const { headers } = await ask("/");
    expect(headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(headers["x-odd"]).toBe("\u00e9\u00ff");
    expect(headers["x-empty"]).toBe("");
    expect(headers).not.toHaveProperty("x-noise");
    expect(headers).not.toHaveProperty("cf-cloudflared-response-headers");
  });

  it("of 204, 304 and to HEAD have no body", async () => {
    await connector((stream, headers) => {
      const status = Number(String(headers[":path"]).slice(1));
      stream.respond(originHead(status, status === 200 ? { "Content-Length": "7" } : {}), { endStream: true });
    });
    expect(await ask("/204")).toMatchObject({ status: 204, body: "" });
    expect(await ask("/304")).toMatchObject({ status: 304, body: "" });
    expect(await ask("/200", { method: "HEAD" })).toMatchObject({
      status: 200,
      body: "",
      headers: { "content-length": "7" },
    });
  });

  it.each([
    ["the stream is reset", (stream: ServerHttp2Stream) => stream.close(2)],
    ["the connection is lost", (stream: ServerHttp2Stream) => stream.session?.destroy()],
  ])("that break off look broken to the visitor: %s", async (_name, breakOff) => {
    const streams: ServerHttp2Stream[] = [];
    await connector((stream) => {
      streams.push(stream);
      stream.respond(originHead(200));
      // More than the windows allow, so that the end can't be reached before the break.
      stream.write(Buffer.alloc(8 * 1024 * 1024));
    });
    const request = http.get(`${edge.publicUrl}/`);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    for (const stream of streams) breakOff(stream);
    await expect(response.toArray()).rejects.toThrow("aborted");
  });

  it.each([
    ["the connector's own 502", { ":status": 502, "cf-cloudflared-response-meta": '{"src":"cloudflared"}' }],
    ["an answer without the origin's fields", { ":status": 200 }],
    ["fields that are not base64", { ":status": 200, "cf-cloudflared-response-headers": "?:?" }],
    ["fields with two colons", { ":status": 200, "cf-cloudflared-response-headers": "YQ:YQ:YQ" }],
    ["fields that HTTP can't carry", { ":status": 200, "cf-cloudflared-response-headers": "YQ:DQo" }],
    ["meta that is not JSON", { ":status": 200, "cf-cloudflared-response-meta": "origin" }],
  ])("become a 502 page: %s", async (_name, head) => {
    await connector((stream) => stream.respond(head, { endStream: true }));
    const answer = await ask("/");
    expect(answer.status).toBe(502);
    expect(answer.body).toContain("Bad gateway");
    // The listener goes on.
    expect((await ask("/")).status).toBe(502);
  });

  it("that never come become a 502 page when the stream is reset", async () => {
    await connector((stream) => stream.close(2));
    expect((await ask("/")).status).toBe(502);
  });

  it("wait for a visitor who does not read", async () => {
    const size = 24 * 1024 * 1024;
    let sent = 0;
    await connector((stream) => {
      stream.respond(originHead(200));
      const chunk = Buffer.alloc(64 * 1024, "y");
      const pump = (): void => {
        while (sent < size) {
          sent += chunk.length;
          if (!stream.write(chunk)) {
            stream.once("drain", pump);
            return;
          }
        }
        stream.end();
      };
      pump();
    });
    const request = http.get(`${edge.publicUrl}/`);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let before = -1;
    // It stands still once every buffer on the way is full.
    await expect
      .poll(
        () => {
          const still = sent === before;
          before = sent;
          return still;
        },
        { interval: 150, timeout: 10_000 },
      )
      .toBe(true);
    expect(sent).toBeLessThan(size);
    let received = 0;
    for await (const chunk of response) received += (chunk as Buffer).length;
    expect(received).toBe(size);
  });
});

describe("no connection", () => {
  it("is error 1033", async () => {
    expect(await ask("/")).toMatchObject({ status: 530, body: "error code: 1033" });
  });
});
