/** Fetch handlers in this process. */
import { describe, expect, it } from "vitest";
import { answer, fetchOrigin, serve } from "./serve.ts";

describe("the Request", () => {
  it("has the visitor's method, address and fields", async () => {
    let seen: Request | undefined;
    const { stream, outcome } = await answer(
      fetchOrigin((request) => {
        seen = request;
        return new Response("hello");
      }),
      {
        method: "DELETE",
        authority: "app.example.com:8443",
        path: "//a%2Fb?x=1&&y=%20#z",
        headers: { "x-forwarded-proto": "https", cookie: "a=1; b=2", "x-latin": "caf\u00e9" },
      },
    );
    expect(seen).toBeInstanceOf(Request);
    expect(seen?.method).toBe("DELETE");
    expect(seen?.url).toBe("https://app.example.com:8443//a%2Fb?x=1&&y=%20%23z");
    expect(seen?.body).toBeNull();
    expect(Object.fromEntries(seen?.headers ?? [])).toMatchObject({
      cookie: "a=1; b=2",
      host: "app.example.com:8443",
      "x-latin": "caf\u00e9",
      "cf-warp-tag-id": expect.any(String),
    });
    expect(seen?.headers.has("connection")).toBe(false);
    expect(stream.body.toString()).toBe("hello");
    expect(await outcome()).toEqual({ class: "ok", status: 200 });
  });

  it.each([
    [{}, "http:"],
    [{ "x-forwarded-proto": "https" }, "https:"],
    [{ "x-forwarded-proto": "HTTPS, http" }, "https:"],
    [{ "cf-visitor": '{"scheme":"https"}' }, "https:"],
    [{ "x-forwarded-proto": "http", "cf-visitor": '{"scheme":"https"}' }, "http:"],
    [{ "x-forwarded-proto": "gopher" }, "http:"],
  ])("takes its scheme from %o", async (headers, scheme) => {
    const { text } = await answer(
      fetchOrigin(({ url }) => new Response(new URL(url).protocol)),
      { headers },
    );
    expect(text).toBe(scheme);
  });

  it("streams the visitor's body, which is credited as it is read", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const echo = serve(
      fetchOrigin(async (request) => {
        await held;
        return new Response(request.body);
      }),
      { method: "PUT", bodyless: false },
    );
    for (let i = 0; i < 10; i++) echo.stream.give(`chunk ${i};`);
    expect(echo.stream.credited).toBe(0);
    release();
    await echo.stream.until(({ credited, given }) => credited === given);
    echo.stream.give("and one more");
    await echo.stream.until(({ body }) => body.toString().endsWith("chunk 9;and one more"));
    expect(echo.stream.ended).toBe(false);
    echo.stream.giveEnd();
    await echo.stream.done();
    expect(echo.stream.ended).toBe(true);
    expect(await echo.outcome()).toEqual({ class: "ok", status: 200 });
  });

  it("has a body that can be read as text, also when it is empty", async () => {
    const origin = fetchOrigin(async (request) => new Response(`[${await request.text()}]`));
    for (const [chunks, expected] of [
      [["a", "b"], "[ab]"],
      [[], "[]"],
    ] as const) {
      const { stream } = serve(origin, { method: "POST", bodyless: false });
      for (const chunk of chunks) stream.give(chunk);
      stream.giveEnd();
      await stream.done();
      expect(stream.body.toString()).toBe(expected);
    }
  });

  it("drops a body that GET may not have", async () => {
    const { stream } = serve(
      fetchOrigin(({ body }) => new Response(body === null ? "none" : "some")),
      { bodyless: false, contentLength: 4 },
    );
    stream.give("body");
    stream.giveEnd();
    await stream.done();
    expect([stream.body.toString(), stream.credited]).toEqual(["none", 4]);
  });

  it("is aborted when the visitor leaves", async () => {
    let signal: AbortSignal | undefined;
    let failure: unknown;
    const { stream, outcome } = serve(
      fetchOrigin(async (request) => {
        ({ signal } = request);
        await request.text().catch((error: unknown) => {
          failure = error;
        });
        throw new Error("gone");
      }),
      { method: "POST", bodyless: false },
    );
    stream.give("unfinished");
    await expect.poll(() => signal).toBeDefined();
    stream.cancel();
    expect(signal?.aborted).toBe(true);
    expect(await outcome()).toEqual({ class: "client-abort", status: 0, phase: "response-head" });
    await expect.poll(() => failure).toMatchObject({ name: "AbortError" });
    expect([stream.head, stream.credited]).toEqual([undefined, stream.given]);
  });

  it("does not leave a handler waiting for a body after the response has ended", async () => {
    let failure: unknown;
    const { stream } = serve(
      fetchOrigin((request) => {
        request.text().catch((error: unknown) => {
          failure = error;
        });
        return new Response("early");
      }),
      { method: "POST", bodyless: false },
    );
    stream.give("some");
    await stream.done();
    await expect.poll(() => failure).toMatchObject({ name: "AbortError" });
    stream.give("late");
    expect(stream.credited).toBe(stream.given);
  });

  it.each([
    ["method TRACE", { method: "TRACE" }],
    ["a host that is none", { authority: "a:b:c" }],
  ])("does not exist for %s", async (_name, options) => {
    let called = false;
    const { stream, outcome } = await answer(
      fetchOrigin(() => {
        called = true;
        return new Response();
      }),
      options,
    );
    expect([stream.head?.status, called]).toEqual([400, false]);
    expect(await outcome()).toMatchObject({ class: "bad-request", status: 400, phase: "request" });
  });
});

describe("the Response", () => {
  it("keeps status, repeated cookies and its length", async () => {
    const headers = new Headers({ "content-type": "text/x", "content-length": "5", "transfer-encoding": "chunked" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    const { stream, text } = await answer(fetchOrigin(() => new Response("hello", { status: 201, headers })));
    expect(stream.head).toMatchObject({ status: 201, contentLength: 5, source: "origin" });
    expect(stream.fields).toEqual(["content-length: 5", "content-type: text/x", "set-cookie: a=1", "set-cookie: b=2"]);
    expect(text).toBe("hello");
  });

  it.each([
    ["no body", "GET", () => new Response(null), 200, 0],
    ["no body but a length", "GET", () => new Response(null, { headers: { "content-length": "5" } }), 200, 0],
    ["204", "GET", () => new Response(null, { status: 204, headers: { "content-length": "5" } }), 204, undefined],
    ["304", "GET", () => new Response(null, { status: 304, headers: { "content-length": "5" } }), 304, 5],
    ["a body to HEAD", "HEAD", () => new Response("hello"), 200, undefined],
    ["a length to HEAD", "HEAD", () => new Response(null, { headers: { "content-length": "5" } }), 200, 5],
  ])("with %s has none to send", async (_name, method, response, status, contentLength) => {
    const { stream, outcome } = await answer(fetchOrigin(response), { method });
    expect(stream.head).toMatchObject({ status, contentLength });
    expect([stream.chunks, stream.ended]).toEqual([[], true]);
    expect(await outcome()).toEqual({ class: "ok", status });
  });

  it("is sent chunk by chunk, as fast as the visitor reads", async () => {
    let pulled = 0;
    const { stream, outcome } = serve(
      fetchOrigin(
        () =>
          new Response(
            new ReadableStream({
              pull(controller) {
                pulled++;
                if (pulled > 50) controller.close();
                else controller.enqueue(Buffer.alloc(10_000, pulled));
              },
            }),
          ),
      ),
      { window: 25_000 },
    );
    await stream.until(({ blocked }) => blocked);
    for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    expect(pulled).toBeLessThan(8);
    while (!stream.ended) {
      stream.drain();
      await stream.until(({ blocked, ended }) => blocked || ended);
    }
    expect(stream.body.length).toBe(500_000);
    expect((await outcome()).class).toBe("ok");
  });

  it("is copied only as fast as the visitor reads, even in one piece", async () => {
    const { stream } = serve(
      fetchOrigin(() => new Response(new Uint8Array(3_000_000).fill(7))),
      { window: 100_000 },
    );
    await stream.until(({ blocked }) => blocked);
    await new Promise(setImmediate);
    expect(stream.body.length).toBeLessThan(300_000);
    while (!stream.ended) {
      stream.drain();
      await stream.until(({ blocked, ended }) => blocked || ended);
    }
    expect(stream.body.equals(Buffer.alloc(3_000_000, 7))).toBe(true);
  });

  it("is cancelled when the visitor leaves, whether it waits for bytes or for room", async () => {
    let cancelled = 0;
    const waiting = serve(fetchOrigin(() => new Response(new ReadableStream({ cancel: () => void cancelled++ }))));
    const blocked = serve(
      fetchOrigin(
        () =>
          new Response(
            new ReadableStream({
              pull: (controller) => controller.enqueue(Buffer.alloc(5000)),
              cancel: () => void cancelled++,
            }),
          ),
      ),
      { window: 1000 },
    );
    await waiting.stream.until(({ head }) => head !== undefined);
    await blocked.stream.until((stream) => stream.blocked);
    waiting.stream.cancel();
    blocked.stream.cancel("shutdown");
    expect(await waiting.outcome()).toEqual({ class: "client-abort", status: 200, phase: "response-body" });
    expect(await blocked.outcome()).toEqual({ class: "shutdown", status: 200, phase: "response-body" });
    await expect.poll(() => cancelled).toBe(2);
  });

  it("that comes after the visitor has left is given up", async () => {
    let resolve = (_response: Response): void => {};
    let cancelled = false;
    const { stream } = serve(
      fetchOrigin(
        () =>
          new Promise((done) => {
            resolve = done;
          }),
      ),
    );
    stream.cancel();
    resolve(
      new Response(
        new ReadableStream({
          cancel() {
            cancelled = true;
          },
        }),
      ),
    );
    await expect.poll(() => cancelled).toBe(true);
    expect(stream.head).toBeUndefined();
  });

  it("may be of another class of the same shape", async () => {
    class OtherResponse {
      readonly status = 202;
      readonly headers = new Headers({ "x-from": "elsewhere" });
      readonly body = new Response("other").body;
      readonly bodyUsed = false;
      readonly [Symbol.toStringTag] = "Response";
    }
    const { stream, text } = await answer(fetchOrigin(() => new OtherResponse() as unknown as Response));
    expect([stream.head?.status, text]).toEqual([202, "other"]);
  });
});

describe("a handler that fails", () => {
  const used = new Response("used");
  it.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new Error("boom");
      },
    ],
    ["is rejected", () => Promise.reject(new Error("boom"))],
    ["throws nothing much", () => Promise.reject()],
    ["returns undefined", () => undefined],
    ["returns a string", () => "hello"],
    ["returns Response.error()", () => Response.error()],
    [
      "returns a Response that was read",
      async () => {
        if (!used.bodyUsed) await used.text();
        return used;
      },
    ],
  ])("and %s answers 500", async (_name, handler) => {
    const { stream, text, outcome } = await answer(fetchOrigin(handler as () => Response));
    expect([stream.head?.status, text]).toEqual([500, "Internal Server Error\n"]);
    expect(await outcome()).toMatchObject({
      class: "handler-error",
      status: 500,
      phase: "response-head",
      error: { code: "ERR_UNDERPASS_HANDLER" },
    });
  });

  it.each<[string, () => Response]>([
    [
      "breaks",
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              controller.error(new Error("boom"));
            },
          }),
        ),
    ],
    ["is too long", () => new Response("hello!", { headers: { "content-length": "5" } })],
    ["is too short", () => new Response("hell", { headers: { "content-length": "5" } })],
    ["gives no bytes", () => new Response(new ReadableStream({ pull: (controller) => controller.enqueue("text") }))],
  ])("after the head, because its body %s, breaks the answer off", async (_name, handler) => {
    const { stream, outcome } = await answer(fetchOrigin(handler));
    expect([stream.head?.status, stream.aborted, stream.ended]).toEqual([200, true, false]);
    expect(await outcome()).toMatchObject({ class: "handler-error", status: 200, phase: "response-body" });
  });

  it("does not keep the body of the visitor", async () => {
    const { stream } = serve(
      fetchOrigin(() => {
        throw new Error("boom");
      }),
      { method: "POST", bodyless: false },
    );
    stream.give("body");
    await stream.done();
    await stream.until(({ credited, given }) => credited === given);
  });
});

it("frees everything of requests whose visitors leave", async () => {
  let cancelled = 0;
  let aborted = 0;
  const origin = fetchOrigin((request) => {
    request.signal.addEventListener("abort", () => aborted++);
    return new Response(
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(2000)),
        cancel: () => void cancelled++,
      }),
    );
  });
  const served = Array.from({ length: 200 }, () => serve(origin, { method: "POST", bodyless: false, window: 1000 }));
  for (const { stream } of served) {
    stream.give(Buffer.alloc(1000));
    await stream.until(({ blocked }) => blocked);
    stream.cancel();
  }
  await expect.poll(() => [cancelled, aborted]).toEqual([200, 200]);
  for (const { stream, reports } of served) {
    expect(reports.map((report) => report.class)).toEqual(["client-abort"]);
    expect(stream.credited).toBe(stream.given);
  }
});
