/** Our codec against nghttp2 (node:http2), in both roles, over loopback sockets. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createHttp2Client } from "../../src/protocol/http2/client.ts";
import { createHttp2Server } from "../../src/protocol/http2/server.ts";
import type {
  Http2ClientConnection,
  Http2Connection,
  Http2ConnectionHandler,
  Http2Stream,
  RequestHead,
} from "../../src/protocol/http2/types.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

function listen(server: net.Server | http2.Http2Server): Promise<number> {
  closers.push(() => server.close());
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

/** Joins a codec to a socket. */
function attach<C extends Http2Connection>(
  socket: net.Socket,
  create: (handler: Pick<Http2ConnectionHandler, "onOutput" | "onError">) => C,
): C {
  let scheduled = false;
  const flush = (): void => {
    scheduled = false;
    for (let buffer = codec.takeOutput(); buffer !== undefined; buffer = codec.takeOutput()) {
      const taken = buffer;
      socket.write(taken, () => codec.recycle(taken));
    }
  };
  const codec: C = create({
    onOutput: () => {
      if (scheduled) return;
      scheduled = true;
      setImmediate(flush);
    },
    onError: () => {
      flush();
      socket.end();
    },
  });
  socket.on("data", (bytes) => codec.receive(bytes, performance.now()));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => codec.socketClosed());
  closers.push(() => socket.destroy());
  return codec;
}

/** Our server; echoes request bodies, and their trailers, with the request's fields counted in a field. */
async function startOurs(onCancel?: () => void): Promise<string> {
  const answer = (stream: Http2Stream, head: RequestHead, end: boolean): void => {
    let held: { chunk: Buffer; length: number }[] = [];
    let writable = true;
    const write = (chunk: Buffer): void => {
      writable = stream.write(chunk, false);
      if (writable) stream.consumed(chunk.length);
      else held.push({ chunk, length: chunk.length });
    };
    stream.handler = {
      onData: write,
      onEnd: (trailers) => stream.end(trailers),
      onCancel: () => {
        onCancel?.();
        stream.release();
      },
      onWritable: () => {
        const taken = held;
        held = [];
        for (const { length } of taken) stream.consumed(length);
      },
    };
    if (head.path === "/hold") return;
    stream.headers((encoder) => {
      encoder.status(200);
      encoder.field("x-fields", String(head.fields.length), "name");
      for (const field of head.fields)
        if (field.name.startsWith("x-long")) encoder.field(field.name, field.value, "name");
    }, end);
  };
  const server = net.createServer((socket) => {
    attach(socket, (handler) => createHttp2Server({}, { ...handler, onRequest: answer }, performance.now()));
  });
  return `http://127.0.0.1:${await listen(server)}`;
}

function connectNode(url: string): http2.ClientHttp2Session {
  const session = http2.connect(url, {
    settings: { initialWindowSize: 100_000, maxHeaderListSize: 1_000_000 },
    maxSendHeaderBlockLength: 1_000_000,
  });
  session.on("error", () => {});
  closers.push(() => session.destroy());
  return session;
}

interface Answer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: http2.IncomingHttpHeaders;
}

function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer,
  trailers?: http2.OutgoingHttpHeaders,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === undefined, waitForTrailers: trailers !== undefined });
    const chunks: Buffer[] = [];
    let received: http2.IncomingHttpHeaders = {};
    let tail: http2.IncomingHttpHeaders = {};
    stream.on("response", (responded) => {
      received = responded;
    });
    stream.on("trailers", (sent) => {
      tail = sent;
    });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => resolve({ headers: received, body: Buffer.concat(chunks), trailers: tail }));
    stream.on("error", reject);
    if (body !== undefined) stream.end(body);
  });
}

const sha = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

describe("node:http2 as client of our server", () => {
  it("gets 1,000 concurrent answers", async () => {
    const session = connectNode(await startOurs());
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => ask(session, { ":path": `/${i}`, "x-number": i })),
    );
    expect(
      answers.every((answer) => Number(answer.headers[":status"]) === 200 && answer.headers["x-fields"] === "1"),
    ).toBe(true);
  });

  it("echoes 5 MB with trailers both ways", async () => {
    const session = connectNode(await startOurs());
    const body = Buffer.from(Array.from({ length: 5_000_000 }, (_, i) => (i * 7) & 0xff));
    const answer = await ask(session, { ":method": "POST", ":path": "/" }, body, { "x-checksum": "abc" });
    expect({ sha: sha(answer.body), checksum: answer.trailers["x-checksum"] }).toEqual({
      sha: sha(body),
      checksum: "abc",
    });
  });

  it("carries header blocks that need CONTINUATION, both ways", async () => {
    const session = connectNode(await startOurs());
    const long = Object.fromEntries(
      Array.from({ length: 10 }, (_, i) => [`x-long-${i}`, String.fromCharCode(97 + i).repeat(9_000)]),
    );
    const answer = await ask(session, { ":path": "/", ...long });
    expect(answer.headers).toMatchObject(long);
  });

  it("cancels, and goes on", async () => {
    let cancelled = 0;
    let done: () => void = () => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const session = connectNode(
      await startOurs(() => {
        if (++cancelled === 200) done();
      }),
    );
    for (let i = 0; i < 200; i++) {
      const stream = session.request({ ":path": "/hold" });
      stream.on("error", () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await all;
    expect((await ask(session, { ":path": "/" })).headers[":status"]).toBe(200);
  });

  it("gets its PINGs answered", async () => {
    const session = connectNode(await startOurs());
    await once(session, "connect");
    const payload = await new Promise<Buffer>((resolve, reject) => {
      session.ping(Buffer.from("12345678"), (error, _duration, echoed) => {
        if (error === null) resolve(echoed);
        else reject(error);
      });
    });
    expect(payload.toString()).toBe("12345678");
  });
});

describe("our client on node:http2's server", () => {
  async function startNode(options: http2.ServerOptions = {}): Promise<Http2ClientConnection> {
    const server = http2.createServer(options);
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      if (headers[":path"] === "/hold") return;
      stream.additionalHeaders({ ":status": 103 });
      stream.respond(
        { ":status": 200, "x-path": headers[":path"], "x-long": String(headers["x-long"] ?? "") },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "yes" }));
      stream.pipe(stream);
    });
    const port = await listen(server);
    return new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1");
      const client = attach(socket, (handler) =>
        createHttp2Client({}, { ...handler, onReady: () => queueMicrotask(() => resolve(client)) }, performance.now()),
      );
    });
  }

  interface OurAnswer {
    status: number;
    readonly fields: Map<string, string>;
    body: Buffer;
    trailers: [string, string][];
  }

  function request(client: Http2ClientConnection, path: string, body?: Buffer, long = ""): Promise<OurAnswer> {
    return new Promise((resolve, reject) => {
      const answer: OurAnswer = { status: 0, fields: new Map(), body: Buffer.alloc(0), trailers: [] };
      const chunks: Buffer[] = [];
      let at = 0;
      const send = (): void => {
        while (body !== undefined && at < body.length) {
          const chunk = body.subarray(at, at + 50_000);
          at += chunk.length;
          if (stream?.write(chunk, at === body.length) !== true) return;
        }
      };
      const stream = client.request(
        (encoder) => {
          encoder.pseudo(body === undefined ? "GET" : "POST", "http", "example.com", path);
          if (long !== "") encoder.field("x-long", long, "name");
        },
        body === undefined,
        {
          onResponse: (head) => {
            answer.status = head.status;
            for (const field of head.fields) answer.fields.set(field.name, field.value);
          },
          onData: (chunk) => {
            chunks.push(Buffer.from(chunk));
            stream?.consumed(chunk.length);
          },
          onEnd: (trailers) => {
            answer.body = Buffer.concat(chunks);
            answer.trailers = trailers.map((field) => [field.name, field.value]);
            resolve(answer);
          },
          onCancel: (cancel) => reject(new Error(cancel.kind)),
          onWritable: send,
        },
      );
      send();
    });
  }

  it("echoes, skips 103, reads trailers", async () => {
    const client = await startNode();
    const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 11) & 0xff));
    const answer = await request(client, "/echo", body);
    expect({ ...answer, fields: answer.fields.get("x-path"), body: sha(answer.body) }).toEqual({
      status: 200,
      fields: "/echo",
      body: sha(body),
      trailers: [["x-end", "yes"]],
    });
  });

  it("sends and reads long fields", async () => {
    const client = await startNode({ settings: { maxHeaderListSize: 200_000 }, maxSessionMemory: 100 });
    const long = "y".repeat(50_000);
    expect((await request(client, "/", undefined, long)).fields.get("x-long")).toBe(long);
  });

  it("keeps to the server's limit of streams", async () => {
    const client = await startNode({ settings: { maxConcurrentStreams: 3 } });
    const held = Array.from({ length: 5 }, () =>
      client.request((encoder) => encoder.pseudo("GET", "http", "example.com", "/hold"), true, {
        onData() {},
        onEnd() {},
        onCancel() {},
        onWritable() {},
      }),
    );
    expect(held.map((stream) => stream !== undefined)).toEqual([true, true, true, false, false]);
    held[0]?.reset(8);
    expect(client.availableStreams).toBe(1);
  });
});
