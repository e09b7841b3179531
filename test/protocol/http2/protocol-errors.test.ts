/** What RFC 9113 forbids a client, and which error answers it. h2spec has its own list; this one runs everywhere. */
import { describe, expect, it } from "vitest";
import { ErrorCode } from "../../../src/protocol/http2/types.ts";
import { block, frame, get, POST, PREFACE, type RawServer, rawServer, SETTINGS_ACK, Type, uint32 } from "./raw.ts";

const post = (id: number, ...more: [string, string][]): Buffer =>
  frame(Type.HEADERS, 4, id, Buffer.concat([POST, block(...more)]));
const data = (id: number, length: number, flags = 0): Buffer => frame(Type.DATA, flags, id, Buffer.alloc(length, 1));
const setting = (id: number, value: number): Buffer =>
  frame(Type.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), uint32(value)]));

/** The frame's header alone claims this length. */
function claimed(type: number, flags: number, id: number, length: number): Buffer {
  const bytes = frame(type, flags, id);
  bytes.writeUIntBE(length, 0, 3);
  return bytes;
}

describe("connection errors", () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, COMPRESSION_ERROR, ENHANCE_YOUR_CALM } =
    ErrorCode;
  const cases: [string, number, Buffer[]][] = [
    ["DATA on stream 0", PROTOCOL_ERROR, [data(0, 1)]],
    ["DATA on an idle stream", PROTOCOL_ERROR, [data(1, 1)]],
    ["DATA on an even stream", PROTOCOL_ERROR, [get(5), data(2, 1)]],
    [
      "DATA on a stream that the peer reset",
      STREAM_CLOSED,
      [get(1), frame(Type.RST_STREAM, 0, 1, uint32(8)), data(1, 1)],
    ],
    ["padding longer than its DATA", PROTOCOL_ERROR, [post(1), frame(Type.DATA, 8, 1, "0500000000")]],
    ["padded DATA without a pad length", FRAME_SIZE_ERROR, [post(1), frame(Type.DATA, 8, 1)]],
    [
      "a frame over the announced size, by its header alone",
      FRAME_SIZE_ERROR,
      [claimed(Type.HEADERS, 4, 1, 1_048_577)],
    ],
    ["HEADERS on stream 0", PROTOCOL_ERROR, [get(0)]],
    ["HEADERS on an even stream", PROTOCOL_ERROR, [get(2)]],
    ["HEADERS with a falling id", PROTOCOL_ERROR, [get(9), get(3)]],
    [
      "HEADERS on a stream that the peer reset",
      STREAM_CLOSED,
      [get(1), frame(Type.RST_STREAM, 0, 1, uint32(8)), get(1)],
    ],
    ["HEADERS too short for its padding", FRAME_SIZE_ERROR, [frame(Type.HEADERS, 0x0c, 1)]],
    ["HEADERS too short for its priority", FRAME_SIZE_ERROR, [frame(Type.HEADERS, 0x24, 1, "00000000")]],
    ["HEADERS whose padding is longer than its payload", PROTOCOL_ERROR, [frame(Type.HEADERS, 0x0c, 1, "0582878641")]],
    ["a block that ends inside a string", COMPRESSION_ERROR, [frame(Type.HEADERS, 5, 1, "8286410f7777")]],
    ["index 0", COMPRESSION_ERROR, [frame(Type.HEADERS, 5, 1, "80")]],
    ["an index beyond the tables", COMPRESSION_ERROR, [frame(Type.HEADERS, 5, 1, "be")]],
    ["a table size above what was announced", COMPRESSION_ERROR, [frame(Type.HEADERS, 5, 1, "3fe21f")]],
    ["CONTINUATION out of the blue", PROTOCOL_ERROR, [get(1), frame(Type.CONTINUATION, 4, 1)]],
    [
      "CONTINUATION of another stream",
      PROTOCOL_ERROR,
      [frame(Type.HEADERS, 1, 1, POST), frame(Type.CONTINUATION, 4, 3)],
    ],
    ["DATA inside a header block", PROTOCOL_ERROR, [post(1), frame(Type.HEADERS, 1, 3, POST), data(1, 1)]],
    [
      "PING inside a header block",
      PROTOCOL_ERROR,
      [frame(Type.HEADERS, 1, 1, POST), frame(Type.PING, 0, 0, "0000000000000000")],
    ],
    ["an unknown frame inside a header block", PROTOCOL_ERROR, [frame(Type.HEADERS, 1, 1, POST), frame(0x77, 0, 0)]],
    ["PRIORITY on stream 0", PROTOCOL_ERROR, [frame(Type.PRIORITY, 0, 0, "0000000110")]],
    ["PRIORITY of 6 bytes on an idle stream", FRAME_SIZE_ERROR, [frame(Type.PRIORITY, 0, 1, "000000031000")]],
    ["RST_STREAM on stream 0", PROTOCOL_ERROR, [frame(Type.RST_STREAM, 0, 0, uint32(8))]],
    ["RST_STREAM on an idle stream", PROTOCOL_ERROR, [frame(Type.RST_STREAM, 0, 1, uint32(8))]],
    ["RST_STREAM of 3 bytes", FRAME_SIZE_ERROR, [get(1), frame(Type.RST_STREAM, 0, 1, "000000")]],
    ["SETTINGS on a stream", PROTOCOL_ERROR, [frame(Type.SETTINGS, 0, 1)]],
    ["SETTINGS of 5 bytes", FRAME_SIZE_ERROR, [frame(Type.SETTINGS, 0, 0, "0000000000")]],
    ["a SETTINGS acknowledgement with content", FRAME_SIZE_ERROR, [frame(Type.SETTINGS, 1, 0, "000100000000")]],
    [
      "SETTINGS with more entries than anybody needs",
      ENHANCE_YOUR_CALM,
      [frame(Type.SETTINGS, 0, 0, Buffer.alloc(6 * 33, 0x77))],
    ],
    ["ENABLE_PUSH 2", PROTOCOL_ERROR, [setting(2, 2)]],
    ["INITIAL_WINDOW_SIZE 2^31", FLOW_CONTROL_ERROR, [setting(4, 0x80000000)]],
    ["MAX_FRAME_SIZE 16,383", PROTOCOL_ERROR, [setting(5, 16_383)]],
    ["MAX_FRAME_SIZE 2^24", PROTOCOL_ERROR, [setting(5, 0x1000000)]],
    ["ENABLE_CONNECT_PROTOCOL 2", PROTOCOL_ERROR, [setting(8, 2)]],
    ["NO_RFC7540_PRIORITIES 2", PROTOCOL_ERROR, [setting(9, 2)]],
    [
      "an INITIAL_WINDOW_SIZE that overflows an open stream",
      FLOW_CONTROL_ERROR,
      [get(1), frame(Type.WINDOW_UPDATE, 0, 1, uint32(0x7fffffff - 65_535)), setting(4, 65_536)],
    ],
    ["PUSH_PROMISE", PROTOCOL_ERROR, [get(1), frame(Type.PUSH_PROMISE, 4, 1, "00000002")]],
    ["PING on a stream", PROTOCOL_ERROR, [frame(Type.PING, 0, 1, "0000000000000000")]],
    ["PING of 7 bytes", FRAME_SIZE_ERROR, [frame(Type.PING, 0, 0, "00000000000000")]],
    ["GOAWAY on a stream", PROTOCOL_ERROR, [frame(Type.GOAWAY, 0, 1, "0000000000000000")]],
    ["GOAWAY of 7 bytes", FRAME_SIZE_ERROR, [frame(Type.GOAWAY, 0, 0, "00000000000000")]],
    ["WINDOW_UPDATE of 3 bytes", FRAME_SIZE_ERROR, [frame(Type.WINDOW_UPDATE, 0, 0, "000001")]],
    ["WINDOW_UPDATE of 0 for the connection", PROTOCOL_ERROR, [frame(Type.WINDOW_UPDATE, 0, 0, uint32(0))]],
    ["WINDOW_UPDATE on an idle stream", PROTOCOL_ERROR, [frame(Type.WINDOW_UPDATE, 0, 1, uint32(1))]],
    [
      "WINDOW_UPDATE that overflows the connection",
      FLOW_CONTROL_ERROR,
      [frame(Type.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))],
    ],
  ];

  it.each(cases)("%s", (_name, code, bytes) => {
    const server = rawServer();
    server.send(...bytes);
    expect(server.goaway).toBe(code);
    expect(server.errors).toHaveLength(1);
    expect(server.connection).toMatchObject({ openStreams: 0, deadline: undefined });
    // Nothing that comes behind it is looked at.
    expect(server.send(get(101))).toEqual([]);
  });

  it("more DATA than the connection's window", () => {
    const server = rawServer({ connectionWindowSize: 100_000, initialWindowSize: 100_000 });
    server.send(post(1), post(3));
    server.send(data(1, 45_000), data(3, 55_000));
    expect(server.goaway).toBe(undefined);
    // By its header alone.
    server.send(claimed(Type.DATA, 0, 1, 100_001));
    expect(server.goaway).toBe(FLOW_CONTROL_ERROR);
  });

  it.each([
    ["HTTP/1.1 instead of the preface", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")],
    [
      "another frame than SETTINGS first",
      Buffer.concat([PREFACE.subarray(0, 24), frame(Type.PING, 0, 0, "0000000000000000")]),
    ],
    ["DATA first", Buffer.concat([PREFACE.subarray(0, 24), data(1, 1)])],
    ["an acknowledgement first", Buffer.concat([PREFACE.subarray(0, 24), SETTINGS_ACK])],
  ])("%s", (_name, bytes) => {
    const server = rawServer({ handshake: false });
    server.send(bytes);
    expect(server.goaway).toBe(PROTOCOL_ERROR);
  });

  it("a wrong preface at its first wrong byte", () => {
    const server = rawServer({ handshake: false });
    server.send(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM"));
    expect(server.goaway).toBe(undefined);
    server.send(Buffer.from("\n"));
    expect(server.goaway).toBe(PROTOCOL_ERROR);
  });
});

describe("stream errors", () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED } = ErrorCode;
  const cases: [string, number, Buffer[]][] = [
    ["DATA behind END_STREAM", STREAM_CLOSED, [get(1), data(1, 1)]],
    ["HEADERS behind END_STREAM", STREAM_CLOSED, [get(1), get(1)]],
    ["more DATA than the stream's window", FLOW_CONTROL_ERROR, [post(1), data(1, 1_000_000), data(1, 48_577)]],
    ["WINDOW_UPDATE of 0", PROTOCOL_ERROR, [get(1), frame(Type.WINDOW_UPDATE, 0, 1, uint32(0))]],
    ["WINDOW_UPDATE that overflows", FLOW_CONTROL_ERROR, [get(1), frame(Type.WINDOW_UPDATE, 0, 1, uint32(0x7fffffff))]],
    ["PRIORITY of 4 bytes", FRAME_SIZE_ERROR, [get(1), frame(Type.PRIORITY, 0, 1, "00000003")]],
    ["PRIORITY on itself", PROTOCOL_ERROR, [get(1), frame(Type.PRIORITY, 0, 1, "0000000110")]],
    [
      "HEADERS that depend on themselves",
      PROTOCOL_ERROR,
      [frame(Type.HEADERS, 0x25, 1, Buffer.concat([Buffer.from("0000000110", "hex"), POST]))],
    ],
    ["trailers without END_STREAM", PROTOCOL_ERROR, [post(1), frame(Type.HEADERS, 4, 1, block(["x-a", "1"]))]],
    ["trailers with a pseudo field", PROTOCOL_ERROR, [post(1), frame(Type.HEADERS, 5, 1, block([":path", "/"]))]],
    ["trailers with upper case", PROTOCOL_ERROR, [post(1), frame(Type.HEADERS, 5, 1, block(["X-A", "1"]))]],
    ["less content than content-length", PROTOCOL_ERROR, [post(1, ["content-length", "5"]), data(1, 4, 1)]],
    ["more content than content-length", PROTOCOL_ERROR, [post(1, ["content-length", "5"]), data(1, 6)]],
    [
      "less content before trailers",
      PROTOCOL_ERROR,
      [post(1, ["content-length", "5"]), frame(Type.HEADERS, 5, 1, block(["x-a", "1"]))],
    ],
    [
      "content-length and no content",
      PROTOCOL_ERROR,
      [frame(Type.HEADERS, 5, 1, Buffer.concat([POST, block(["content-length", "5"])]))],
    ],
  ];

  it.each(cases)("%s", (_name, code, bytes) => {
    const server = rawServer();
    const frames = server.send(...bytes);
    expect(frames.filter((one) => one.type === Type.RST_STREAM)).toMatchObject([
      { streamId: 1, payload: uint32(code) },
    ]);
    expect(server.cancelled).toHaveLength(server.heads.length);
    expect(server.errors).toEqual([]);
    // The others go on, and the HPACK tables are still in step.
    server.send(get(7));
    expect(server.heads.at(-1)?.path).toBe("/");
    expect(server.connection.openStreams).toBe(1);
  });
});

describe("malformed requests", () => {
  const whole: [string, string][] = [
    [":method", "GET"],
    [":scheme", "https"],
    [":authority", "example.com"],
    [":path", "/"],
  ];
  const cases: [string, [string, string][]][] = [
    ["no :method", whole.slice(1)],
    ["no :scheme", whole.filter(([name]) => name !== ":scheme")],
    ["no :path", whole.slice(0, 3)],
    ["an empty :path", [...whole.slice(0, 3), [":path", ""]]],
    ["a :path without slash", [...whole.slice(0, 3), [":path", "index.html"]]],
    ["a :path with a space", [...whole.slice(0, 3), [":path", "/a b"]]],
    ["a :path that ends the request line", [...whole.slice(0, 3), [":path", "/ HTTP/1.1\r\nx: y"]]],
    ["* for GET", [...whole.slice(0, 3), [":path", "*"]]],
    ["an :authority with a line break", [...whole.slice(0, 2), [":authority", "a\r\nb"], [":path", "/"]]],
    ["a :method that is no token", [[":method", "GE T"], ...whole.slice(1)]],
    ["an empty :method", [[":method", ""], ...whole.slice(1)]],
    ["two :path", [...whole, [":path", "/"]]],
    ["two :method", [...whole, [":method", "GET"]]],
    [":status", [...whole, [":status", "200"]]],
    ["an unknown pseudo field", [...whole, [":protocol", "websocket"]]],
    ["a pseudo field behind others", [...whole.slice(0, 3), ["x-a", "1"], [":path", "/"]]],
    ["upper case", [...whole, ["X-A", "1"]]],
    ["an empty name", [...whole, ["", "1"]]],
    ["a name with a space", [...whole, ["x a", "1"]]],
    ["a name with a colon", [...whole, ["x:a", "1"]]],
    ["a name with a byte above ASCII", [...whole, ["x-\xe4", "1"]]],
    ["a value with NUL", [...whole, ["x-a", "1\x002"]]],
    ["a value with CR", [...whole, ["x-a", "1\r2"]]],
    ["a value with LF", [...whole, ["x-a", "1\n2"]]],
    ["a value that begins with a space", [...whole, ["x-a", " 1"]]],
    ["a value that ends with a tab", [...whole, ["x-a", "1\t"]]],
    ["connection", [...whole, ["connection", "close"]]],
    ["keep-alive", [...whole, ["keep-alive", "timeout=5"]]],
    ["proxy-connection", [...whole, ["proxy-connection", "close"]]],
    ["transfer-encoding", [...whole, ["transfer-encoding", "chunked"]]],
    ["upgrade", [...whole, ["upgrade", "h2c"]]],
    ["te other than trailers", [...whole, ["te", "gzip"]]],
    ["content-length that is no number", [...whole, ["content-length", "+1"]]],
    ["content-length as a list", [...whole, ["content-length", "0, 0"]]],
    ["two content-lengths", [...whole, ["content-length", "0"], ["content-length", "00"]]],
    [
      "CONNECT with :path",
      [
        [":method", "CONNECT"],
        [":authority", "a:1"],
        [":path", "/"],
      ],
    ],
    ["CONNECT without :authority", [[":method", "CONNECT"]]],
  ];

  it.each(cases)("%s", (_name, fields) => {
    const server = rawServer();
    const frames = server.send(frame(Type.HEADERS, 5, 1, block(...fields)));
    expect(frames).toMatchObject([{ type: Type.RST_STREAM, streamId: 1, payload: uint32(ErrorCode.PROTOCOL_ERROR) }]);
    expect(server.heads).toEqual([]);
    expect(server.connection).toMatchObject({ openStreams: 0, activeStreams: 0 });
  });

  it.each<[string, [string, string][], object]>([
    [
      "an ordinary one",
      [...whole, ["te", "trailers"], ["x-a", ""]],
      { method: "GET", authority: "example.com", path: "/" },
    ],
    ["OPTIONS *", [[":method", "OPTIONS"], ...whole.slice(1, 3), [":path", "*"]], { path: "*" }],
    [
      "CONNECT",
      [
        [":method", "CONNECT"],
        [":authority", "a:1"],
      ],
      { method: "CONNECT", scheme: undefined, path: "" },
    ],
    ["pseudo fields in another order", whole.toReversed(), { method: "GET", path: "/" }],
    ["host without :authority", [...whole.slice(0, 2), whole[3] ?? ["", ""], ["host", "h"]], { authority: "h" }],
    ["bytes above ASCII in values", [...whole, ["x-a", "caf\xe9"]], {}],
    [
      "the same content-length twice",
      [...whole, ["content-length", "0"], ["content-length", "0"]],
      { contentLength: 0 },
    ],
  ])("but not %s", (_name, fields, expected) => {
    const server = rawServer();
    server.send(frame(Type.HEADERS, 5, 1, block(...fields)));
    expect(server.heads).toMatchObject([expected]);
  });
});

describe("frames that came too late to know better", () => {
  const { CANCEL } = ErrorCode;

  function afterReset(): RawServer {
    const server = rawServer();
    server.send(post(1));
    server.streams[0]?.reset(CANCEL);
    server.send(frame(Type.PING, 1, 0, "ffffffffffffffff"));
    return server;
  }

  it("are taken without a word on a stream that we reset", () => {
    const server = afterReset();
    const frames = server.send(
      data(1, 100_000),
      frame(Type.WINDOW_UPDATE, 0, 1, uint32(5)),
      frame(Type.PRIORITY, 0, 1, "0000000310"),
      frame(Type.HEADERS, 5, 1, block(["x-trailer", "1"])),
    );
    expect(frames).toEqual([]);
    expect(server.errors).toEqual([]);
  });

  it("count against the connection's window", () => {
    const server = rawServer({ connectionWindowSize: 100_000 });
    server.send(post(1));
    server.streams[0]?.reset(CANCEL);
    expect(server.send(data(1, 60_000))).toMatchObject([
      { type: Type.RST_STREAM },
      { type: Type.WINDOW_UPDATE, streamId: 0, payload: uint32(60_000) },
    ]);
  });

  it("are errors once the peer has ended the stream there, too", () => {
    const server = afterReset();
    server.send(data(1, 10, 1));
    expect(server.errors).toEqual([]);
    server.send(data(1, 10));
    expect(server.goaway).toBe(ErrorCode.STREAM_CLOSED);
  });

  it("RST_STREAM, WINDOW_UPDATE and PRIORITY are no errors on any closed stream", () => {
    const server = rawServer();
    server.send(get(1));
    server.streams[0]?.headers((encoder) => encoder.status(204), true);
    server.send(
      frame(Type.RST_STREAM, 0, 1, uint32(CANCEL)),
      frame(Type.WINDOW_UPDATE, 0, 1, uint32(5)),
      frame(Type.PRIORITY, 0, 1, "0000000310"),
    );
    expect(server.errors).toEqual([]);
  });

  it("are taken leniently on resets of long ago", () => {
    const server = rawServer();
    for (let i = 0; i < 5_000; i++) {
      server.send(post(2 * i + 1));
      server.streams[i]?.reset(CANCEL);
    }
    server.send(data(1, 10), frame(Type.HEADERS, 5, 3, block(["x-trailer", "1"])), data(9_999, 10));
    expect(server.errors).toEqual([]);
  });
});
