import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StreamHeadError } from "../../../src/protocol/argotunnel/errors.ts";
import { encodeStreamHead, RPC_SIGNATURE, StreamHeadReader } from "../../../src/protocol/argotunnel/stream-head.ts";
import { connectRequestType, connectResponseType } from "../../../src/protocol/capnp/connect.ts";
import { CapnpError } from "../../../src/protocol/capnp/errors.ts";
import { samples } from "../capnp/values.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../fixtures/capnp/messages.json", import.meta.url), "utf8"),
) as Record<string, string>;
const bytesOf = (name: string): Buffer => Buffer.from(golden[name] ?? "", "hex");

describe("the head of a stream", () => {
  it("is what cloudflared sends and takes, byte by byte", () => {
    const webSocket = new StreamHeadReader(connectRequestType).receive(bytesOf("webSocketRequest"));
    expect(webSocket).toMatchObject({ kind: "data", message: { dest: "/a", type: 1 }, rest: Buffer.alloc(0) });
    expect(encodeStreamHead(connectResponseType, { error: "boom", metadata: [] })).toEqual(bytesOf("responseError"));
    const ok = encodeStreamHead(connectResponseType, { error: "", metadata: [] });
    expect(ok).toEqual(bytesOf("responseOk"));
  });

  it("comes in pieces of any size, with payload behind it", () => {
    const { connectRequest } = samples;
    const payload = Buffer.from("what follows");
    fc.assert(
      fc.property(connectRequest.values, fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (message, sizes) => {
        const bytes = Buffer.concat([encodeStreamHead(connectRequestType, message), payload]);
        const reader = new StreamHeadReader(connectRequestType);
        for (let at = 0; at < bytes.length; ) {
          const end = Math.min(bytes.length, at + (sizes.next().value ?? 1));
          const head = reader.receive(bytes.subarray(at, end));
          at = end;
          if (head === undefined) continue;
          expect(head).toMatchObject({ kind: "data", message });
          expect(Buffer.concat([head.rest, bytes.subarray(at)])).toEqual(payload);
          return;
        }
        expect.unreachable("the head was never complete");
      }),
      { numRuns: 200 },
    );
  });

  it("may open an RPC stream, whose bytes begin at once", () => {
    const reader = new StreamHeadReader(connectRequestType);
    expect(reader.receive(RPC_SIGNATURE.subarray(0, 3))).toBeUndefined();
    const rest = Buffer.from("rpc");
    expect(reader.receive(Buffer.concat([RPC_SIGNATURE.subarray(3), rest]))).toEqual({ kind: "rpc", rest });
  });

  it("may be of another version, which the reference does not look at either", () => {
    const bytes = bytesOf("tcpRequest");
    bytes.write("99", 6);
    expect(new StreamHeadReader(connectRequestType).receive(bytes)).toMatchObject({ message: { type: 2 } });
  });

  it("of another signature is refused at its sixth byte", () => {
    const reader = new StreamHeadReader(connectRequestType);
    expect(reader.receive(Buffer.from("GET /"))).toBeUndefined();
    expect(() => reader.receive(Buffer.from(" "))).toThrow(StreamHeadError);
  });

  it("of any bytes at all costs no more than a typed error", () => {
    const prefix = bytesOf("responseOk").subarray(0, 8);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (junk, asData) => {
        try {
          new StreamHeadReader(connectRequestType).receive(Buffer.concat([asData ? prefix : Buffer.alloc(0), junk]));
        } catch (error) {
          if (!(error instanceof StreamHeadError) && !(error instanceof CapnpError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps bytes that are no UTF-8 as they are", () => {
    const message = { dest: "/caf\xe9", type: 0, metadata: [{ key: "HttpHeader:x", val: "\xff\xfe\x80" }] };
    const head = new StreamHeadReader(connectRequestType).receive(encodeStreamHead(connectRequestType, message));
    expect(head).toMatchObject({ message });
  });
});
