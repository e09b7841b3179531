import { describe, expect, it } from "vitest";
import { classifyRequest } from "../../src/edge/http2-request.ts";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";

function classify(...pairs: [string, string][]) {
  return classifyRequest({
    method: "GET",
    scheme: "https",
    authority: "example.com",
    path: "/",
    contentLength: undefined,
    fields: pairs.map(([name, value]) => new HeaderField(name, value)),
  });
}

const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";
const SOURCE = "cf-cloudflared-proxy-src";

describe("stream classification (wire § 4.2)", () => {
  it.each([
    ["configuration", [[UPGRADE, "update-configuration"]]],
    ["websocket", [[UPGRADE, "websocket"]]],
    ["tcp", [[SOURCE, "192.0.2.1"]]],
    ["control", [[UPGRADE, "control-stream"]]],
    ["http", []],
    ["http", [[UPGRADE, "Websocket"]]],
    ["http", [[SOURCE, ""]]],
    // First match wins.
    [
      "websocket",
      [
        [SOURCE, "192.0.2.1"],
        [UPGRADE, "websocket"],
      ],
    ],
    [
      "tcp",
      [
        [UPGRADE, "control-stream"],
        [SOURCE, "192.0.2.1"],
      ],
    ],
  ] as [string, [string, string][]][])("%s", (kind, fields) => {
    expect(classify(...fields).kind).toBe(kind);
  });
});

describe("forwarded fields (wire § 4.3)", () => {
  it("drops the connector's own fields and a stray host, and keeps the rest in order", () => {
    const { headers } = classify(
      ["cf-ray", "1"],
      ["host", "evil.example"],
      [UPGRADE, "websocket"],
      ["cf-trace-id", "a:b:c:d"],
      [SOURCE, ""],
      ["accept", "*/*"],
    );
    expect(headers.map((field) => field.name)).toEqual(["cf-ray", SOURCE, "accept"]);
  });

  it("joins split cookies where the first stood", () => {
    const { headers } = classify(["cookie", "a=1"], ["accept", "*/*"], ["cookie", "b=2"], ["cookie", "c=3"]);
    expect(headers.map((field) => [field.name, field.value])).toEqual([
      ["cookie", "a=1; b=2; c=3"],
      ["accept", "*/*"],
    ]);
  });

  it("hands on the very same list when nothing has to change", () => {
    const head = {
      method: "GET",
      scheme: "https",
      authority: "example.com",
      path: "/",
      contentLength: undefined,
      fields: [new HeaderField("cookie", "a=1"), new HeaderField("accept", "*/*")],
    };
    expect(classifyRequest(head).headers).toBe(head.fields);
  });
});
