import { describe, expect, it } from "vitest";
import { StreamHeadError } from "../../../src/protocol/argotunnel/errors.ts";
import { FieldCache } from "../../../src/protocol/argotunnel/field-cache.ts";
import { connectTarget, type HttpTarget, httpMetadata } from "../../../src/protocol/argotunnel/request.ts";
import {
  errorResponse,
  httpResponse,
  readConnectResponse,
  tcpResponse,
} from "../../../src/protocol/argotunnel/response.ts";
import { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import type { ConnectRequest } from "../../../src/protocol/capnp/connect.ts";

const readTarget = (request: ConnectRequest) => connectTarget(request, new FieldCache());

type Entries = Readonly<Record<string, string>>;

function http(dest: string, entries: Entries = {}, type = 0): HttpTarget {
  const metadata = Object.entries(entries).map(([key, val]) => ({ key, val }));
  const target = readTarget({ dest, type, metadata });
  if (target.kind === "tcp") throw new Error("expected an HTTP target");
  return target;
}

describe("a ConnectRequest", () => {
  it("names method, host and fields", () => {
    const target = http("https://ignored.example/a/b?c=d", {
      HttpMethod: "PATCH",
      HttpHost: "app.example",
      "HttpHeader:X-Name": "value: with a colon",
      "HttpHeader:Host": "other.example",
      "HttpHeader:Cf-Trace-Id": "trace",
      FlowID: "7",
      Other: "x",
    });
    expect(target).toMatchObject({ kind: "http", method: "PATCH", authority: "app.example", path: "/a/b?c=d" });
    expect(target.headers.map(({ name, value }) => [name, value])).toEqual([["x-name", "value: with a colon"]]);
  });

  it("falls back to GET and to the destination's host", () => {
    expect(http("http://user@host.example:81")).toMatchObject({
      method: "GET",
      authority: "host.example:81",
      path: "/",
    });
    expect(http("http://host.example?q")).toMatchObject({ path: "/?q" });
    expect(http("/only/path")).toMatchObject({ authority: "", path: "/only/path" });
    expect(http("")).toMatchObject({ path: "/" });
    expect(http("/a#fragment")).toMatchObject({ path: "/a" });
  });

  it("keeps fields in their order, repeated ones too", () => {
    const metadata = ["a", "b", "a"].map((name, i) => ({ key: `HttpHeader:${name}`, val: String(i) }));
    const target = readTarget({ dest: "/", type: 0, metadata });
    expect("headers" in target && target.headers.map(({ name, value }) => name + value)).toEqual(["a0", "b1", "a2"]);
  });

  it.each<[string, Entries, boolean, number | undefined]>([
    ["GET that says nothing", { HttpMethod: "GET" }, false, undefined],
    ["POST that says nothing: it may be streamed", { HttpMethod: "POST" }, true, undefined],
    ["POST of no bytes", { HttpMethod: "POST", "HttpHeader:Content-Length": "0" }, false, 0],
    ["GET with a length", { "HttpHeader:Content-Length": "5" }, true, 5],
    ["GET with chunks", { "HttpHeader:Transfer-Encoding": "gzip, Chunked" }, true, undefined],
    [
      "chunks and a length",
      { "HttpHeader:Content-Length": "5", "HttpHeader:Transfer-Encoding": "chunked" },
      true,
      undefined,
    ],
  ])("has a body or not: %s", (_, entries, hasBody, contentLength) => {
    expect(http("/", entries)).toMatchObject({ hasBody, contentLength });
  });

  it("for a WebSocket always has bytes both ways", () => {
    expect(http("/ws", {}, 1)).toMatchObject({ kind: "websocket", hasBody: true });
  });

  it("for TCP names an address", () => {
    expect(readTarget({ dest: "10.0.0.1:22", type: 2, metadata: [] })).toEqual({
      kind: "tcp",
      destination: "10.0.0.1:22",
    });
  });

  it.each<[string, () => unknown]>([
    ["a type that cloudflared dies of", () => readTarget({ dest: "/", type: 3, metadata: [] })],
    ["a field without a name", () => http("/", { HttpHeader: "x" })],
    ["a field with a colon in its name", () => http("/", { "HttpHeader:a:b": "x" })],
    ["a length that is no number", () => http("/", { "HttpHeader:Content-Length": "-1" })],
    ["a length beyond 2^53", () => http("/", { "HttpHeader:Content-Length": "9999999999999999" })],
    [
      "two lengths",
      () =>
        readTarget({
          dest: "/",
          type: 0,
          metadata: ["1", "2"].map((val) => ({ key: "HttpHeader:Content-Length", val })),
        }),
    ],
    ["a destination that is none", () => http("mailto:x")],
  ])("is refused for %s", (_, read) => expect(read).toThrow(StreamHeadError));

  it("is written as it is read", () => {
    const metadata = httpMetadata("PUT", "a.example", [new HeaderField("x", "y")]);
    expect(readTarget({ dest: "/p", type: 0, metadata })).toMatchObject({
      method: "PUT",
      authority: "a.example",
      headers: [{ name: "x", value: "y" }],
    });
  });
});

describe("fields of a connection's requests", () => {
  it("are shared while they are the same, and anew when they are not", () => {
    const cache = new FieldCache();
    const first = cache.field("HttpHeader:CDN-Loop", "cloudflare");
    expect(first).toMatchObject({ name: "cdn-loop", value: "cloudflare" });
    expect(cache.field("HttpHeader:CDN-Loop", "cloudflare")).toBe(first);
    expect(cache.field("HttpHeader:Cdn-Loop", "cloudflare")).not.toBe(first);
    expect(cache.field("HttpHeader:CDN-Loop", "another")).toMatchObject({ name: "cdn-loop", value: "another" });
    expect(cache.field("HttpHeader:CDN-Loop", "cloudflare")).not.toBe(first);
  });

  it("are not kept without bound, nor when they are long", () => {
    const cache = new FieldCache();
    const kept = cache.field("HttpHeader:a", "1");
    for (let i = 0; i < 200; i++) cache.field(`HttpHeader:x-${i}`, "1");
    expect(cache.field("HttpHeader:a", "1")).not.toBe(kept);
    const long = "c".repeat(600);
    expect(cache.field("HttpHeader:cookie", long)).not.toBe(cache.field("HttpHeader:cookie", long));
  });
});

describe("a ConnectResponse", () => {
  it("is read as it is written", () => {
    const headers = [new HeaderField("Set-Cookie", "a=b"), new HeaderField("Set-Cookie", "c=d")];
    expect(readConnectResponse(httpResponse(101, headers))).toMatchObject({ kind: "head", status: 101, headers });
    expect(readConnectResponse(tcpResponse())).toEqual({ kind: "head", status: undefined, headers: [] });
    expect(readConnectResponse(errorResponse("no", true))).toEqual({ kind: "error", error: "no", rateLimited: true });
    expect(readConnectResponse(errorResponse("no", false))).toMatchObject({ rateLimited: false });
  });
});
