/** Origins that break off, answer early, dribble, or send what is no HTTP: one outcome each, and never a clean end that was none. */
import { once } from "node:events";
import net from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import type { OutcomeClass, RequestPhase } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest } from "./fake-stream.ts";
import { Cleanup, portOrigin, type RawConnection, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Row {
  readonly name: string;
  readonly answer: (connection: RawConnection) => void;
  readonly outcome: OutcomeClass;
  readonly phase: RequestPhase;
  readonly status: number;
}

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

const FAILURES: readonly Row[] = [
  {
    name: "closes without an answer",
    answer: ({ socket }) => void socket.end(),
    outcome: "origin-reset",
    phase: "response-head",
    status: 502,
  },
  {
    name: "resets",
    answer: ({ socket }) => void socket.resetAndDestroy(),
    outcome: "origin-reset",
    phase: "response-head",
    status: 502,
  },
  {
    name: "closes in the head",
    answer: ({ socket }) => void socket.end("HTTP/1.1 200 OK\r\nConte"),
    outcome: "origin-reset",
    phase: "response-head",
    status: 502,
  },
  {
    name: "closes in a body of known length",
    answer: ({ socket }) => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
    outcome: "origin-reset",
    phase: "response-body",
    status: 200,
  },
  {
    name: "closes in a chunk",
    answer: ({ socket }) => void socket.end(`${CHUNKED}5\r\nab`),
    outcome: "origin-reset",
    phase: "response-body",
    status: 200,
  },
  {
    name: "closes before the last chunk",
    answer: ({ socket }) => void socket.end(`${CHUNKED}2\r\nab\r\n`),
    outcome: "origin-reset",
    phase: "response-body",
    status: 200,
  },
  {
    name: "sends garbage in the place of a chunk",
    answer: (connection) => connection.write(`${CHUNKED}2\r\nab\r\nzz\r\n`),
    outcome: "origin-protocol",
    phase: "response-body",
    status: 200,
  },
  {
    name: "speaks another protocol",
    answer: (connection) => connection.write("220 mail.example.com ESMTP\r\n"),
    outcome: "origin-protocol",
    phase: "response-head",
    status: 502,
  },
  {
    name: "switches protocols without being asked",
    answer: (connection) => connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    outcome: "origin-protocol",
    phase: "response-head",
    status: 502,
  },
];

describe("an origin that", () => {
  for (const { name, answer, outcome, phase, status } of FAILURES) {
    it(name, async () => {
      const origin = await cleanup.raw((connection) => void connection.head().then(() => answer(connection)));
      const harness = cleanup.harness(urlOrigin(origin.server));
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream, { headers: fieldsOf({ "cf-ray": "77aa" }) }), 0);
      await stream.done();
      expect(stream.aborted).toBe(true);
      expect(stream.ended).toBe(false);
      const result = await harness.outcome();
      expect(result).toMatchObject({ class: outcome, phase, status, ray: "77aa" });
      expect(result.error?.message).toMatch(/origin|127\.0\.0\.1/);
      expect(harness.outcomes).toHaveLength(1);
      expect(harness.logs.filter(({ level }) => level === "warn")).toHaveLength(1);
      expect(harness.logs).toHaveLength(1);
    });
  }

  it("dribbles its response byte by byte is understood", async () => {
    const bytes =
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n0\r\nX-T: u\r\n\r\n";
    const origin = await cleanup.raw(async (connection) => {
      connection.socket.setNoDelay(true);
      await connection.head();
      for (const byte of bytes) {
        connection.write(byte);
        await new Promise(setImmediate);
      }
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.done();
    expect(stream.fields).toEqual(["X-A: b"]);
    expect(stream.body.toString()).toBe("abc");
    expect(stream.trailers.map(({ name, value }) => `${name}: ${value}`)).toEqual(["x-t: u"]);
  });

  it("answers before the request is sent, and closes, is heard", async () => {
    const origin = await cleanup.raw(
      ({ socket }) => void socket.end("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"),
    );
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    await stream.done();
    expect(stream.head?.status).toBe(503);
    expect(stream.body.toString()).toBe("busy");
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 503 });
  });

  it("answers while the visitor still uploads delivers its answer whole, and its connection is not used again", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"));
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: 1_000_000 }), 0);
    stream.give("first bytes");
    await stream.done();
    expect(stream.head?.status).toBe(413);
    expect(stream.body.toString()).toBe("large");
    // What the visitor still sends has no reader, and is credited at once.
    stream.give("more");
    expect(stream.credited).toBe(stream.given);
    const connection = await origin.connection();
    await connection.until(({ closed, ended }) => closed || ended);
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 413 });
  });

  it("closes its connection with an answer while the visitor uploads is heard", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => {
        connection.write("HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        // Unread request bytes make the kernel send a reset behind the answer.
        connection.socket.destroySoon();
      });
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT" }), 0);
    stream.give(Buffer.alloc(200_000, "u"));
    await stream.done();
    expect(stream.head?.status).toBe(401);
    expect(stream.body.toString()).toBe("no");
    expect(stream.aborted).toBe(false);
  });

  it("sends a second response behind the first one loses its connection, not the answer", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection
        .head()
        .then(() =>
          connection.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
          ),
        );
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    for (let i = 0; i < 2; i++) {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream), 0);
      await stream.done();
      expect(stream.body.toString()).toBe("ok");
    }
    expect(origin.connections).toHaveLength(2);
  });

  it("speaks on an idle connection loses it", async () => {
    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const first = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(first), 0);
    await first.done();
    const connection = await origin.connection();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    await connection.until(({ closed, ended }) => closed || ended);
    const second = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(second), 0);
    await second.done();
    expect(second.body.toString()).toBe("ok");
    expect(origin.connections).toHaveLength(2);
  });

  it("does not listen is refused with advice", async () => {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const origin = urlOrigin(server);
    server.close();
    await once(server, "close");
    const harness = cleanup.harness(origin);
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { path: "/secret?token=canary" }), 3);
    await stream.done();
    expect(stream.head).toBeUndefined();
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
    const [entry] = harness.logs;
    expect(entry).toMatchObject({
      level: "warn",
      message: "Request failed",
      fields: {
        outcome: "origin-refused",
        phase: "connect",
        path: "/secret",
        connIndex: 3,
        code: "ERR_UNDERPASS_ORIGIN_REFUSED",
      },
    });
    expect(String(entry?.fields["error"])).toMatch(/is the service running/);
    expect(JSON.stringify(harness.logs)).not.toContain("canary");
  });

  it("has a name that can't be resolved", async () => {
    const harness = cleanup.harness({ kind: "url", url: new URL("http://origin.invalid:80") });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.done();
    expect(await harness.outcome()).toMatchObject({ class: "origin-dns", phase: "dns", status: 502 });
  });

  it("has no socket at the path", async () => {
    const harness = cleanup.harness({ kind: "unix", path: "/nonexistent/underpass.sock", tls: false });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.done();
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
  });
});

describe("an origin that refuses uploads and resets the connection behind its answer", () => {
  it("is heard every time, though writes fail before the answer is read", async () => {
    // In a thread of its own, so that its resets come between any two of our steps.
    const script = `
      const { parentPort } = require("node:worker_threads");
      require("node:net").createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => {
          socket.pause();
          socket.write("HTTP/1.1 413 Too Large\\r\\nConnection: close\\r\\nContent-Length: 5\\r\\n\\r\\nlarge");
          socket.destroySoon();
        });
      }).listen(0, "127.0.0.1", function () { parentPort.postMessage(this.address().port); });`;
    const worker = cleanup.add(new Worker(script, { eval: true }), (each) => each.terminate());
    const [port]: unknown[] = await once(worker, "message");
    const harness = cleanup.harness(portOrigin(Number(port)));
    const chunk = Buffer.alloc(16_384);
    const upload = async (): Promise<FakeStream> => {
      const stream = new FakeStream();
      harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: 50_000_000 }), 0);
      while (!stream.ended && !stream.aborted) {
        if (stream.given - stream.credited < 1_000_000) stream.give(chunk);
        await new Promise(setImmediate);
      }
      return stream;
    };
    for (let round = 0; round < 20; round++) {
      const streams = await Promise.all(Array.from({ length: 8 }, upload));
      expect(streams.map(({ head, body, aborted }) => `${head?.status} ${body.toString()} ${aborted}`)).toEqual(
        Array.from({ length: 8 }, () => "413 large false"),
      );
      for (const stream of streams) expect(stream.credited).toBe(stream.given);
    }
  });
});
