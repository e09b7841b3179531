import { afterEach, describe, expect, it } from "vitest";
import { type FakeRequestOptions, FakeStream, fieldsOf, httpRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, type RawConnection, type RawOrigin, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async function get(harness: Harness, options: FakeRequestOptions = {}): Promise<FakeStream> {
  const stream = new FakeStream({ bodyless: true });
  harness.proxy.handle(httpRequest(stream, options), 0);
  return stream.done();
}

/** Answers each request head as soon as it is complete. */
function answering(answer: string): (connection: RawConnection) => void {
  return (connection) => {
    let answered = 0;
    connection.socket.on("data", () => {
      const heads = connection.received.split("\r\n\r\n").length - 1;
      for (; answered < heads; answered++) connection.write(answer);
    });
  };
}

/** Closes each connection when its second request arrives, without an answer: as an origin does whose idle time has just run out. */
async function staleOrigin(): Promise<RawOrigin> {
  return cleanup.raw((connection) => {
    let requests = 0;
    connection.socket.on("data", () => {
      requests++;
      if (requests === 1) connection.write(OK);
      else connection.socket.resetAndDestroy();
    });
  });
}

describe("the pool of origin connections", () => {
  it("uses the connection again that was used last", async () => {
    const waiting: RawConnection[] = [];
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("data", () => {
        if (connection.received.split("\r\n\r\n").length === 2) waiting.push(connection);
        else connection.write(OK);
      });
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    const streams = [0, 1].map(() => {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream), 0);
      return stream;
    });
    const [first, second] = [await origin.connection(0), await origin.connection(1)];
    await Promise.all([first.head(), second.head()]);
    second.write(OK);
    await Promise.race(streams.map((stream) => stream.done()));
    first.write(OK);
    await Promise.all(streams.map((stream) => stream.done()));
    const before = second.received.length;
    await get(harness);
    expect(first.received.split("GET ")).toHaveLength(3);
    expect(second.received).toHaveLength(before);
    expect(origin.connections).toHaveLength(2);
  });

  it("keeps no more idle connections than it may", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server), { keepAliveConnections: 1 });
    const streams = [0, 1, 2].map(() => {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream), 0);
      return stream;
    });
    const connections = await Promise.all([0, 1, 2].map((index) => origin.connection(index)));
    for (const connection of connections) {
      await connection.head();
      connection.write(OK);
    }
    await Promise.all(streams.map((stream) => stream.done()));
    await new Promise<void>((resolve) => {
      let gone = 0;
      for (const connection of connections) {
        void connection
          .until(({ ended, closed }) => ended || closed)
          .then(() => {
            gone++;
            if (gone === 2) resolve();
          });
      }
    });
    expect(connections.filter(({ ended, closed }) => !ended && !closed)).toHaveLength(1);
  });

  it("keeps none when pooling is off", async () => {
    const origin = await cleanup.raw(answering(OK));
    const harness = cleanup.harness(urlOrigin(origin.server), { keepAliveConnections: -1 });
    await get(harness);
    await get(harness);
    expect(origin.connections).toHaveLength(2);
    await (await origin.connection(0)).until(({ ended, closed }) => ended || closed);
  });

  it("closes what has been idle for too long", async () => {
    const origin = await cleanup.raw(answering(OK));
    const harness = cleanup.harness(urlOrigin(origin.server), { keepAliveTimeoutMs: 20 });
    await get(harness);
    await (await origin.connection(0)).until(({ ended, closed }) => ended || closed);
    await get(harness);
    expect(origin.connections).toHaveLength(2);
  });

  it("closes earlier than the origin that names its idle time", async () => {
    const origin = await cleanup.raw(
      answering("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok"),
    );
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    await get(harness);
    expect(origin.connections).toHaveLength(2);
  });

  it("does not keep a connection that the origin closes", async () => {
    const origin = await cleanup.raw(answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"));
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    await get(harness);
    expect(origin.connections).toHaveLength(2);
  });

  it("forgets an idle connection that the origin ends", async () => {
    const origin = await cleanup.raw(answering(OK));
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const connection = await origin.connection();
    connection.socket.end();
    await connection.until(({ ended, closed }) => ended || closed);
    expect((await get(harness)).body.toString()).toBe("ok");
    expect(origin.connections).toHaveLength(2);
  });
});

describe("a request on a connection that the origin has closed meanwhile", () => {
  it("goes out once more on a new one", async () => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const second = await get(harness, { path: "/second" });
    expect(second.body.toString()).toBe("ok");
    expect(origin.connections).toHaveLength(2);
    expect(await harness.outcome(2)).toMatchObject({ class: "ok", status: 200 });
    expect(harness.outcomes).toHaveLength(2);
  });

  it("is repeated only once, and on a new connection", async () => {
    let requests = 0;
    const origin = await cleanup.raw((connection) => {
      connection.socket.on("data", () => {
        if (requests++ === 0) connection.write(OK);
        else connection.socket.resetAndDestroy();
      });
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    expect((await get(harness)).aborted).toBe(true);
    expect(requests).toBe(3);
    expect(await harness.outcome(2)).toMatchObject({ class: "origin-reset", phase: "response-head" });
  });

  it.each(["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])("is repeated when it is a %s", async (method) => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    expect((await get(harness, { method })).head?.status).toBe(200);
    expect(origin.connections).toHaveLength(2);
  });

  const NOT_REPEATED: readonly [string, FakeStream, Parameters<typeof httpRequest>[1]][] = [
    ["a POST without a body", new FakeStream({ bodyless: true }), { method: "POST" }],
    ["a PATCH without a body", new FakeStream({ bodyless: true }), { method: "PATCH" }],
    // Its end is still to come, but the head has told the origin that there is nothing to wait for.
    ["a POST of a declared length of 0", new FakeStream(), { method: "POST", contentLength: 0 }],
  ];
  it.each(NOT_REPEATED)("is not repeated when it is %s", async (_name, stream, request) => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    harness.proxy.handle(httpRequest(stream, request), 0);
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome(2)).toMatchObject({ class: "origin-reset" });
    expect(origin.connections).toHaveLength(1);
  });

  it("is repeated when a POST says that it may be", async () => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const stream = await get(harness, { method: "POST", headers: fieldsOf({ "idempotency-key": "7" }) });
    expect(stream.body.toString()).toBe("ok");
  });

  it("is not repeated once a byte of its body was taken", async () => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT", contentLength: 10 }), 0);
    stream.give("01234");
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(origin.connections).toHaveLength(1);
  });

  it("is not repeated once the end of its body was taken", async () => {
    const origin = await staleOrigin();
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "PUT" }), 0);
    stream.giveEnd();
    await stream.done();
    expect(stream.aborted).toBe(true);
    expect(origin.connections).toHaveLength(1);
  });

  it.each([
    ["GET", 5],
    ["PUT", 5],
    ["POST", 5],
    ["POST", undefined],
    ["PATCH", undefined],
  ])("is repeated with a body that has not begun: %s, length %s", async (method, contentLength) => {
    const origin = await cleanup.raw((connection) => {
      let requests = 0;
      connection.socket.on("data", () => {
        requests++;
        if (origin.connections.length === 1 && requests === 2) connection.socket.resetAndDestroy();
        else if (connection.received.includes("01234") || !/Content-Length|chunked/.test(connection.received))
          connection.write(OK);
      });
    });
    const harness = cleanup.harness(urlOrigin(origin.server));
    await get(harness);
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method, ...(contentLength === undefined ? {} : { contentLength }) }), 0);
    const second = await origin.connection(1);
    await second.head();
    stream.give("01234");
    stream.giveEnd();
    await stream.done();
    expect(stream.body.toString()).toBe("ok");
    expect(second.received.match(/01234/g)).toHaveLength(1);
  });
});
