import { describe, expect, it } from "vitest";
import { bodyFraming, RequestFields } from "../../src/proxy/request-fields.ts";
import type { HttpRequest, WebSocketRequest } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";

function fieldsFor(hostHeader?: string): RequestFields {
  return new RequestFields({
    connectorId: "id-1",
    tags: [{ name: "env", value: "test" }],
    hostHeader,
    fallbackHost: "localhost",
  });
}

const HEADERS = fieldsOf({
  "cf-ray": "8f-FRA",
  connection: "close",
  "sec-websocket-version": "12",
  "x-forwarded-host": "forged",
  "x-odd": "\u00e9",
  te: "trailers",
});

describe("the fields for an origin in this process", () => {
  const REQUESTS: readonly [string, HttpRequest | WebSocketRequest][] = [
    ["a GET", httpRequest(new FakeStream({ bodyless: true }), { headers: HEADERS })],
    ["an empty POST", httpRequest(new FakeStream({ bodyless: true }), { method: "POST", headers: HEADERS })],
    ["a body of known length", httpRequest(new FakeStream(), { method: "PUT", contentLength: 7, headers: HEADERS })],
    ["a body of unknown length", httpRequest(new FakeStream(), { method: "PUT", headers: HEADERS })],
    ["a WebSocket", webSocketRequest(new FakeStream(), { headers: HEADERS })],
    ["no host", httpRequest(new FakeStream({ bodyless: true }), { authority: "" })],
    [
      "names in other case",
      httpRequest(new FakeStream({ bodyless: true }), {
        headers: fieldsOf({ "X-FORWARDED-HOST": "x", TE: "Trailers" }),
      }),
    ],
  ];
  for (const [name, request] of REQUESTS) {
    for (const hostHeader of [undefined, "internal.local"]) {
      it(`are those of the head on the wire: ${name}, host ${hostHeader ?? "kept"}`, () => {
        const fields = fieldsFor(hostHeader);
        const framing = bodyFraming(request);
        const head = fields.head(request, framing).split("\r\n").slice(1, -2);
        const list = fields.list(request, framing).map((field) => `${field.name}: ${field.value}`);
        expect(list).toEqual(head);
      });
    }
  }

  it("are checked as those on the wire are", () => {
    const request = httpRequest(new FakeStream({ bodyless: true }), { headers: fieldsOf({ "x-a": "b\r\nc" }) });
    expect(() => fieldsFor().list(request, bodyFraming(request))).toThrow(/x-a/);
  });

  it("hold the visitor's tag beside the connector's own", () => {
    const request = httpRequest(new FakeStream({ bodyless: true }), {
      headers: fieldsOf({ "cf-warp-tag-id": "visitor" }),
    });
    const tags = fieldsFor()
      .list(request, bodyFraming(request))
      .filter(({ name }) => name.startsWith("Cf-Warp-Tag"));
    expect(tags.map(({ name, value }) => `${name}=${value}`)).toEqual([
      "Cf-Warp-Tag-Id=visitor",
      "Cf-Warp-Tag-Env=test",
      "Cf-Warp-Tag-Id=id-1",
    ]);
  });

  it("refuses tags that can't be written", () => {
    const make = (): RequestFields =>
      new RequestFields({
        connectorId: "x",
        tags: [{ name: "a b", value: "c" }],
        hostHeader: undefined,
        fallbackHost: "x",
      });
    expect(make).toThrow(/token/);
  });
});
