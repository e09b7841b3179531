/** What the client role takes from a server, and what it does not. */
import { describe, expect, it } from "vitest";
import { createHttp2Client } from "../../../src/protocol/http2/client.ts";
import { ErrorCode, type Http2Stream } from "../../../src/protocol/http2/types.ts";
import { createPair, get, type Received, recorder } from "./pair.ts";
import { block, type Frame, frame, parseFrames, SETTINGS_ACK, Type, uint32 } from "./raw.ts";

const OK = block([":status", "200"]);
const SETTINGS = frame(Type.SETTINGS, 0, 0);

function rawClient() {
  const errors: Error[] = [];
  const client = createHttp2Client({}, { onOutput() {}, onError: (error) => errors.push(error) }, 0);
  const take = (): Frame[] => {
    const output: Buffer[] = [];
    for (let buffer = client.takeOutput(); buffer !== undefined; buffer = client.takeOutput()) {
      output.push(Buffer.from(buffer));
      client.recycle(buffer);
    }
    const bytes = Buffer.concat(output);
    return parseFrames(bytes.subarray(bytes.toString("latin1", 0, 3) === "PRI" ? 24 : 0));
  };
  const ask = (): { stream: Http2Stream; received: Received } => {
    const { received, handler } = recorder();
    const stream = client.request(get("/"), true, handler);
    if (stream === undefined) throw new Error("no stream");
    return { stream, received };
  };
  take();
  client.receive(Buffer.concat([SETTINGS, SETTINGS_ACK]), 0);
  take();
  return {
    client,
    errors,
    ask,
    answer: (...bytes: Buffer[]): Frame[] => {
      take();
      client.receive(Buffer.concat(bytes), 0);
      return take();
    },
  };
}

describe("a client", () => {
  it("opens with the preface, ENABLE_PUSH 0 and a wider connection window", () => {
    const client = createHttp2Client({}, { onOutput() {}, onError() {} }, 0);
    const bytes = Buffer.from(client.takeOutput() ?? "");
    expect(bytes.toString("latin1", 0, 24)).toBe("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    const [settings, update] = parseFrames(bytes.subarray(24));
    expect(settings?.payload.subarray(0, 6).toString("hex")).toBe("000200000000");
    expect(update).toMatchObject({ type: Type.WINDOW_UPDATE, streamId: 0, payload: uint32(4 * 1024 * 1024 - 65_535) });
  });

  it("drops 1xx, reads the response, its content and its trailers", () => {
    const { ask, answer } = rawClient();
    const { received } = ask();
    answer(
      frame(Type.HEADERS, 4, 1, block([":status", "103"], ["link", "</a>"])),
      frame(Type.HEADERS, 4, 1, Buffer.concat([OK, block(["content-length", "3"])])),
      frame(Type.DATA, 0, 1, Buffer.from("abc")),
      frame(Type.HEADERS, 5, 1, block(["x-end", "yes"])),
    );
    expect(received).toMatchObject({ status: 200, bytes: 3, ended: true, trailers: [["x-end", "yes"]] });
  });

  it("takes a content-length without content, as HEAD and 304 have it", () => {
    const { ask, answer } = rawClient();
    const { received } = ask();
    answer(frame(Type.HEADERS, 5, 1, Buffer.concat([OK, block(["content-length", "3"])])));
    expect(received).toMatchObject({ status: 200, ended: true, cancel: undefined });
  });

  it.each<[string, Buffer[]]>([
    ["no :status", [frame(Type.HEADERS, 5, 1, block(["x-a", "1"]))]],
    ["a :status that is no number", [frame(Type.HEADERS, 5, 1, block([":status", "2xx"]))]],
    ["a request's pseudo field", [frame(Type.HEADERS, 5, 1, Buffer.concat([OK, block([":path", "/"])]))]],
    ["101", [frame(Type.HEADERS, 4, 1, block([":status", "101"]))]],
    ["1xx that ends the stream", [frame(Type.HEADERS, 5, 1, block([":status", "103"]))]],
    [
      "connection-specific fields",
      [frame(Type.HEADERS, 5, 1, Buffer.concat([OK, block(["transfer-encoding", "chunked"])]))],
    ],
    ["upper case", [frame(Type.HEADERS, 5, 1, Buffer.concat([OK, block(["X-A", "1"])]))]],
    ["DATA before the head", [frame(Type.DATA, 0, 1, "00")]],
    [
      "a second head without END_STREAM",
      [frame(Type.HEADERS, 4, 1, OK), frame(Type.HEADERS, 4, 1, block(["x-a", "1"]))],
    ],
    [
      "less content than content-length",
      [frame(Type.HEADERS, 4, 1, Buffer.concat([OK, block(["content-length", "3"])])), frame(Type.DATA, 1, 1, "00")],
    ],
  ])("resets a stream with %s", (_name, bytes) => {
    const { ask, answer, client, errors } = rawClient();
    const { received } = ask();
    expect(answer(...bytes)).toMatchObject([{ type: Type.RST_STREAM, payload: uint32(ErrorCode.PROTOCOL_ERROR) }]);
    expect(received.cancel).toEqual({ kind: "protocol-error", code: ErrorCode.PROTOCOL_ERROR });
    expect({ errors, open: client.openStreams, active: client.activeStreams }).toEqual({
      errors: [],
      open: 0,
      active: 0,
    });
  });

  it.each<[string, Buffer]>([
    ["a pushed stream", frame(Type.PUSH_PROMISE, 4, 1, "00000002")],
    ["HEADERS on an even stream", frame(Type.HEADERS, 5, 2, OK)],
    ["HEADERS on a stream that was not opened", frame(Type.HEADERS, 5, 9, OK)],
    ["ENABLE_PUSH 1", frame(Type.SETTINGS, 0, 0, "000200000001")],
  ])("ends the connection at %s", (_name, bytes) => {
    const { ask, answer, errors } = rawClient();
    const { received } = ask();
    const [goaway] = answer(bytes).filter((one) => one.type === Type.GOAWAY);
    expect(goaway?.payload.readUInt32BE(4)).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(received.cancel).toEqual({ kind: "connection-closed" });
    expect(errors).toHaveLength(1);
  });

  it("gives up what a GOAWAY leaves out, and opens nothing more", () => {
    const { ask, answer, client } = rawClient();
    const streams = [ask(), ask(), ask()];
    answer(frame(Type.GOAWAY, 0, 0, Buffer.concat([uint32(3), uint32(ErrorCode.NO_ERROR)])));
    expect(streams.map(({ received }) => received.cancel)).toEqual([
      undefined,
      undefined,
      { kind: "peer-reset", code: ErrorCode.REFUSED_STREAM },
    ]);
    expect(client.request(get("/"), true, recorder().handler)).toBe(undefined);
    answer(frame(Type.HEADERS, 5, 3, OK));
    expect(streams[1]?.received.ended).toBe(true);
  });

  it("keeps to the server's limit of streams, whenever it is told", () => {
    const pair = createPair({ server: { maxConcurrentStreams: 2 } });
    const streams = Array.from({ length: 3 }, () => pair.client.request(get("/"), true, recorder().handler));
    expect(streams.map((stream) => stream !== undefined)).toEqual([true, true, false]);
    expect(pair.client.availableStreams).toBe(0);
    streams[0]?.reset(ErrorCode.CANCEL);
    expect(pair.client.availableStreams).toBe(1);
  });

  it("is told of the connection's end on every stream, whatever a handler does", () => {
    const { client, ask } = rawClient();
    const first = ask();
    first.stream.handler = {
      ...first.stream.handler,
      onCancel() {
        throw new Error("a bug");
      },
    };
    const second = ask();
    expect(() => client.socketClosed()).toThrow("a bug");
    expect(second.received.cancel).toEqual({ kind: "connection-closed" });
    expect(client.openStreams).toBe(0);
  });
});
