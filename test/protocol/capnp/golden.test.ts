import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  CONNECTION_TYPE_HTTP,
  CONNECTION_TYPE_TCP,
  CONNECTION_TYPE_WEBSOCKET,
  connectRequestType,
  connectResponseType,
} from "../../../src/protocol/capnp/connect.ts";
import { decodeMessage } from "../../../src/protocol/capnp/reader.ts";
import { connectionResponseType } from "../../../src/protocol/capnp/registration.ts";
import type { StructType } from "../../../src/protocol/capnp/struct-type.ts";
import { encodeMessage } from "../../../src/protocol/capnp/writer.ts";
import { frameOf } from "./frames.ts";

const fixtures = new URL("../../fixtures/capnp/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("messages.json", fixtures), "utf8")) as Record<string, string>;

function hexFile(name: string): Buffer {
  return Buffer.from(readFileSync(new URL(name, fixtures), "utf8").replace(/\s/g, ""), "hex");
}

/** Data streams begin with 8 bytes of preamble, which are not Cap'n Proto's. */
function onStream(name: string): Buffer {
  const bytes = Buffer.from(golden[name] ?? "", "hex");
  expect(bytes.subarray(0, 8).toString("hex")).toBe("0a36cd12a13e3031");
  return bytes.subarray(8);
}

function both<T>(type: StructType<T>, bytes: Buffer, value: T): void {
  expect(decodeMessage(type, frameOf(bytes))).toStrictEqual(value);
  expect(Buffer.from(encodeMessage(type, value)).toString("hex")).toBe(bytes.toString("hex"));
}

const request = {
  dest: "http://example.com/path",
  type: CONNECTION_TYPE_HTTP,
  metadata: Array.from({ length: 12 }, (_, i) => ({
    key: `HttpHeader:X-Header-${String(i).padStart(2, "0")}`,
    val: `value number ${i} of this header`,
  })),
};

describe("golden bytes of data streams", () => {
  it("ConnectRequest with 12 entries", () => both(connectRequestType, hexFile("connect-request-936.hex"), request));

  it("the same in several segments", () => {
    const bytes = hexFile("connect-request-multisegment.hex");
    expect(frameOf(bytes).segments.length).toBeGreaterThan(2);
    expect(decodeMessage(connectRequestType, frameOf(bytes))).toStrictEqual(request);
  });

  it("ConnectRequest for TCP and for a WebSocket", () => {
    both(connectRequestType, onStream("tcpRequest"), { dest: "127.0.0.1:80", type: CONNECTION_TYPE_TCP, metadata: [] });
    both(connectRequestType, onStream("webSocketRequest"), {
      dest: "/a",
      type: CONNECTION_TYPE_WEBSOCKET,
      metadata: [{ key: "HttpMethod", val: "GET" }],
    });
  });

  it("ConnectResponse: accepted, with a status, refused, rate-limited", () => {
    both(connectResponseType, onStream("responseOk"), { error: "", metadata: [] });
    both(connectResponseType, onStream("responseStatus"), {
      error: "",
      metadata: [{ key: "HttpStatus", val: "200" }],
    });
    both(connectResponseType, onStream("responseError"), { error: "boom", metadata: [] });
    both(connectResponseType, onStream("responseRateLimited"), {
      error: "boom",
      metadata: [{ key: "FlowConnectRateLimited", val: "true" }],
    });
  });
});

describe("golden bytes of refusals", () => {
  it("ConnectionResponse with an error", () => {
    both(connectionResponseType, Buffer.from(golden.errorEdupconn ?? "", "hex"), {
      kind: "error",
      error: { cause: "EDUPCONN", retryAfter: 0n, shouldRetry: false },
    });
    both(connectionResponseType, Buffer.from(golden.errorLater ?? "", "hex"), {
      kind: "error",
      error: { cause: "later", retryAfter: 5_000_000_000n, shouldRetry: true },
    });
  });
});
