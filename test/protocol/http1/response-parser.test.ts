import { describe, expect, it } from "vitest";
import { HeaderLineCache } from "../../../src/protocol/http1/header-line.ts";
import { MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES } from "../../../src/protocol/http1/limits.ts";
import { ResponseParser } from "../../../src/protocol/http1/response-parser.ts";
import { type Collected, type CollectOptions, collect, everyCut } from "./collect.ts";

interface Row {
  readonly name: string;
  readonly bytes: string;
  readonly options?: CollectOptions;
  readonly expected: Partial<Collected>;
}

const VALID: readonly Row[] = [
  {
    name: "a body of known length",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    expected: {
      status: 200,
      fields: ["Content-Length: 5", "X-A: b"],
      contentLength: 5,
      body: "hello",
      complete: true,
      reusable: true,
    },
  },
  {
    name: "names as they came, optional whitespace gone, empty values kept",
    bytes: "HTTP/1.1 200 OK\r\nx-LOWER:a\r\nX-Space: \t b c \t\r\nX-Empty:\r\nContent-Length:0\r\n\r\n",
    expected: {
      fields: ["x-LOWER: a", "X-Space: b c", "X-Empty: ", "Content-Length: 0"],
      bodyless: true,
      complete: true,
    },
  },
  {
    name: "bytes above 127 untouched, non-breaking space included",
    bytes: "HTTP/1.1 200 \u00fcber\r\nX-Odd: \u00a0\u00e9\u00ff\r\nContent-Length: 2\r\n\r\n\u00ff\u0000",
    expected: { fields: ["X-Odd: \u00a0\u00e9\u00ff", "Content-Length: 2"], body: "\u00ff\u0000", complete: true },
  },
  {
    name: "no reason, with and without its space",
    bytes: "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n",
    expected: { status: 299, complete: true },
  },
  {
    name: "chunks, a zero-padded size, an extension, trailing space, upper-case hex",
    bytes:
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00A;name="v; w"\r\n0123456789\r\n1 \t\r\nZ\r\n0\r\n\r\n',
    expected: {
      fields: [],
      contentLength: undefined,
      body: "abc0123456789Z",
      trailers: [],
      complete: true,
      reusable: true,
    },
  },
  {
    name: "trailers; the framing fields are consumed",
    bytes:
      "HTTP/1.1 200 OK\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nGrpc-Status: 0\r\nX-B: c\r\n\r\n",
    expected: { fields: [], body: "a", trailers: ["Grpc-Status: 0", "X-B: c"], complete: true, reusable: true },
  },
  {
    name: "a body until the connection closes",
    bytes: "HTTP/1.1 200 OK\r\n\r\nall of this",
    options: { close: true },
    expected: { body: "all of this", complete: true, reusable: false },
  },
  {
    name: "an empty body until the connection closes",
    bytes: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    options: { close: true },
    expected: { bodyless: false, body: "", complete: true, reusable: false },
  },
  {
    name: "HEAD with the length of what GET would give",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
    options: { method: "HEAD" },
    expected: { contentLength: 12345, bodyless: true, complete: true, reusable: true },
  },
  {
    name: "HEAD with Transfer-Encoding",
    bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    options: { method: "HEAD" },
    expected: { bodyless: true, complete: true, reusable: true },
  },
  {
    name: "204",
    bytes: "HTTP/1.1 204 No Content\r\n\r\n",
    expected: { status: 204, bodyless: true, complete: true, reusable: true },
  },
  {
    name: "304 with a length",
    bytes: "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    expected: { status: 304, contentLength: 99, bodyless: true, complete: true, reusable: true },
  },
  {
    name: "interim responses swallowed",
    bytes:
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    expected: { interims: [100, 103], status: 200, fields: ["Content-Length: 1"], body: "x", complete: true },
  },
  {
    name: "101 with bytes glued to it, when it was asked for",
    bytes: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi",
    options: { upgrade: true },
    expected: {
      status: 101,
      fields: ["Upgrade: websocket", "Connection: Upgrade"],
      body: "\x81\x02hi",
      complete: false,
      reusable: false,
    },
  },
  {
    name: "an upgrade that was refused",
    bytes: "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    options: { upgrade: true },
    expected: { status: 403, body: "no", complete: true, reusable: true },
  },
  {
    name: "Content-Length twice with one value, handed on once",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    expected: { fields: ["Content-Length: 1"], body: "x", complete: true },
  },
  {
    name: "Connection: close among other options",
    bytes: "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n",
    expected: { complete: true, reusable: false },
  },
  {
    name: "HTTP/1.0 without and with keep-alive",
    bytes: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    expected: { body: "x", complete: true, reusable: false },
  },
  {
    name: "HTTP/1.0 with keep-alive",
    bytes: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=7, max=3\r\nContent-Length: 1\r\n\r\nx",
    expected: { complete: true, reusable: true, keepAliveSeconds: 7 },
  },
  {
    name: "bytes behind the response: delivered whole, not used again",
    bytes: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n",
    expected: { body: "x", complete: true, reusable: false },
  },
  {
    name: "bytes behind 204",
    bytes: "HTTP/1.1 204 No Content\r\n\r\nhello",
    expected: { body: "", complete: true, reusable: false },
  },
];

describe("ResponseParser", () => {
  for (const { name, bytes, options, expected } of VALID) {
    it(`reads ${name}`, () => {
      expect(collect(bytes, options)).toMatchObject({ error: undefined, ...expected });
    });

    it(`reads ${name}, cut anywhere`, () => {
      const buffer = Buffer.from(bytes, "latin1");
      const whole = collect(buffer, options);
      for (const cuts of everyCut(buffer)) expect(collect(buffer, { ...options, cuts })).toEqual(whole);
    });
  }

  it("hands body bytes on as views of its input", () => {
    const input = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd");
    const parser = new ResponseParser(new HeaderLineCache());
    const views: Buffer[] = [];
    parser.begin({ onInterim() {}, onHead() {}, onBody: (view) => views.push(view), onComplete() {} }, "GET", false);
    parser.receive(input);
    expect(views.map((view) => view.buffer === input.buffer)).toEqual([true]);
  });

  it("reads one response after the other on a connection", () => {
    const parser = new ResponseParser(new HeaderLineCache());
    const bodies: string[] = [];
    for (const body of ["one", "three", ""]) {
      let seen = "";
      parser.begin(
        { onInterim() {}, onHead() {}, onBody: (view) => (seen += view.toString()), onComplete() {} },
        "GET",
        false,
      );
      expect(parser.started).toBe(false);
      parser.receive(Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
      expect(parser.started).toBe(true);
      expect(parser.reusable).toBe(true);
      bodies.push(seen);
    }
    expect(bodies).toEqual(["one", "three", ""]);
  });

  it("takes no bytes for a response while none is expected", () => {
    const parser = new ResponseParser(new HeaderLineCache());
    parser.begin({ onInterim() {}, onHead() {}, onBody() {}, onComplete() {} }, "GET", false);
    parser.receive(Buffer.from("HTTP/1.1 204 No Content\r\n\r\n"));
    expect(parser.reusable).toBe(true);
    parser.receive(Buffer.from("\r\n"));
    expect(parser.reusable).toBe(false);
  });

  const TRUNCATED: readonly [string, string][] = [
    ["nothing", ""],
    ["a part of the head", "HTTP/1.1 200 OK\r\nContent-"],
    ["a part of the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd"],
    ["a part of a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"],
    ["no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"],
    ["a last chunk without its end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"],
    ["an interim response alone", "HTTP/1.1 100 Continue\r\n\r\n"],
  ];
  for (const [name, bytes] of TRUNCATED) {
    it(`refuses ${name} when the origin closes`, () => {
      expect(collect(bytes, { close: true })).toMatchObject({
        error: "ERR_UNDERPASS_HTTP1_TRUNCATED",
        complete: false,
      });
    });
  }

  it("bounds a head that never ends, in one piece and in dribbles", () => {
    const endless = Buffer.alloc(MAX_HEAD_BYTES + 10, "x");
    endless.write("HTTP/1.1 200 OK\r\nX-Long: ", "latin1");
    const cuts = Array.from({ length: 200 }, (_, at) => (at + 1) * 5000);
    expect(collect(endless).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
    expect(collect(endless, { cuts }).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
  });

  it("takes a head just below the bound and refuses one above it", () => {
    const head = (bytes: number): string => {
      const frame = "HTTP/1.1 204 No Content\r\nX: \r\n\r\n";
      return frame.replace("X: ", `X: ${"v".repeat(bytes - frame.length)}`);
    };
    expect(collect(head(MAX_HEAD_BYTES)).error).toBeUndefined();
    expect(collect(head(MAX_HEAD_BYTES + 1)).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
  });

  it("bounds header lines, of heads and of trailers", () => {
    const lines = "a:\r\n".repeat(4097);
    expect(collect(`HTTP/1.1 200 OK\r\n${lines}\r\n`).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
    expect(collect(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${lines}\r\n`).error).toBe(
      "ERR_UNDERPASS_HTTP1_LIMIT",
    );
  });

  it("bounds a trailer section in bytes", () => {
    const long = `X: ${"v".repeat(70_000)}`;
    expect(collect(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${long}\r\n\r\n`).error).toBe(
      "ERR_UNDERPASS_HTTP1_LIMIT",
    );
  });

  it("bounds interim responses in number and in bytes", () => {
    const interim = "HTTP/1.1 102 Processing\r\n\r\n";
    const final = "HTTP/1.1 204 No Content\r\n\r\n";
    expect(collect(interim.repeat(MAX_INTERIM_RESPONSES) + final)).toMatchObject({ error: undefined, status: 204 });
    expect(collect(interim.repeat(MAX_INTERIM_RESPONSES + 1) + final).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
    const large = `HTTP/1.1 103 Early Hints\r\nLink: ${"l".repeat(500_000)}\r\n\r\n`;
    expect(collect(large.repeat(3) + final).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
  });

  it("bounds the framing of tiny chunks", () => {
    const chunk = `1;${"e".repeat(2000)}\r\na\r\n`;
    const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    expect(collect(head + chunk.repeat(5)).error).toBeUndefined();
    expect(collect(head + chunk.repeat(20)).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
    expect(collect(`${head}1;${"e".repeat(20_000)}`).error).toBe("ERR_UNDERPASS_HTTP1_LIMIT");
    // Plain one-byte chunks are within what a chunk may cost.
    expect(collect(`${head}${"1\r\na\r\n".repeat(20_000)}0\r\n\r\n`)).toMatchObject({
      error: undefined,
      complete: true,
    });
  });
});
