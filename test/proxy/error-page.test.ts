/** The owner's own page in place of the tunnel's empty 502, 503 and 504. */
import { afterEach, describe, expect, it } from "vitest";
import { defaultWarpRouting } from "../../src/proxy/ingress/defaults.ts";
import type { Origin } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, ORIGIN_REQUEST, portOf, portOrigin, urlOrigin } from "./harness.ts";
import { closedPort } from "../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const errorPage = { contentType: "text/html; charset=utf-8", body: Buffer.from("<h1>Back soon</h1>") };
const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const PAGE_FIELDS = ["Content-Type: text/html; charset=utf-8", "Cache-Control: no-store", "Content-Length: 18"];

async function ask(harness: Harness, accept: string | undefined, method = "GET"): Promise<FakeStream> {
  const stream = new FakeStream({ bodyless: true });
  const headers = fieldsOf(accept === undefined ? {} : { Accept: accept });
  harness.proxy.handle(httpRequest(stream, { headers, method }), 0);
  return stream.done();
}

async function closed(): Promise<Origin> {
  return portOrigin(await closedPort());
}

describe("the error page", () => {
  it("is what a browser gets when the origin refuses", async () => {
    const harness = cleanup.harness(await closed(), {}, { errorPage });
    const stream = await ask(harness, BROWSER);
    expect(stream.head).toMatchObject({ status: 502, contentLength: 18, source: "origin" });
    expect(stream.fields).toEqual(PAGE_FIELDS);
    expect(stream.body.toString()).toBe("<h1>Back soon</h1>");
    expect([stream.ended, stream.aborted]).toEqual([true, false]);
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", status: 502 });
  });

  it("has no body for HEAD", async () => {
    const stream = await ask(cleanup.harness(await closed(), {}, { errorPage }), BROWSER, "HEAD");
    expect(stream.head?.status).toBe(502);
    expect(stream.fields).toEqual(PAGE_FIELDS);
    expect([stream.ended, stream.body.length]).toEqual([true, 0]);
  });

  it.each([undefined, "*/*", "application/json", "text/*", "application/json, text/html;q=0", "text/html+x"])(
    "is not for those who accept %s",
    async (accept) => {
      const stream = await ask(cleanup.harness(await closed(), {}, { errorPage }), accept);
      expect([stream.aborted, stream.head]).toEqual([true, undefined]);
    },
  );

  it.each(["text/html", "application/json, text/html;q=0.1", "TEXT/HTML ; charset=utf-8", "application/xhtml+xml"])(
    "is for those who accept %s",
    async (accept) => {
      const stream = await ask(cleanup.harness(await closed(), {}, { errorPage }), accept);
      expect(stream.head?.status).toBe(502);
    },
  );

  it("is not for WebSockets", async () => {
    const harness = cleanup.harness(await closed(), {}, { errorPage });
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream, { headers: fieldsOf({ Accept: BROWSER }) }), 0);
    await harness.outcome();
    expect([stream.aborted, stream.head]).toEqual([true, undefined]);
  });

  it("is there for 504, and the answer is 504 without it too", async () => {
    // Nothing accepts, and the one place in the backlog is taken.
    const silent = await cleanup.raw();
    const unanswered = { responseHeaderTimeoutMs: 0, tlsTimeoutMs: 50 };
    const origin = urlOrigin(silent.server, "https");
    const browser = await ask(cleanup.harness(origin, unanswered, { errorPage }), BROWSER);
    expect([browser.head?.status, browser.body.toString()]).toEqual([504, "<h1>Back soon</h1>"]);
    const plain = cleanup.harness(origin, unanswered, { errorPage });
    const program = await ask(plain, "*/*");
    expect(program.head).toEqual({ status: 504, headers: [], contentLength: 0, source: "connector" });
    expect(await plain.outcome()).toMatchObject({ class: "origin-timeout", phase: "tls", status: 504 });
  });

  it("is there for 503 where nothing is configured, and for no status of a rule", async () => {
    const nothing: Origin = { kind: "status", status: 503, unconfigured: true };
    const none = await ask(cleanup.harness(nothing, {}, { errorPage }), BROWSER);
    expect([none.head?.status, none.body.toString()]).toEqual([503, "<h1>Back soon</h1>"]);
    for (const status of [418, 502, 503, 504]) {
      const own = await ask(cleanup.harness({ kind: "status", status }, {}, { errorPage }), BROWSER);
      expect([own.head?.status, own.fields, own.body.length]).toEqual([status, [], 0]);
    }
  });

  it("never takes the place of the origin's own answer", async () => {
    const origin = await cleanup.http((_request, response) => response.writeHead(502).end("mine"));
    const stream = await ask(cleanup.harness(urlOrigin(origin), {}, { errorPage }), BROWSER);
    expect([stream.head?.status, stream.body.toString()]).toEqual([502, "mine"]);
  });

  it("does not follow a head that was sent: the body breaks off", async () => {
    const origin = await cleanup.http((request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("half", () => request.socket.destroy());
    });
    const stream = await ask(cleanup.harness(urlOrigin(origin), {}, { errorPage }), BROWSER);
    expect([stream.head?.status, stream.aborted]).toEqual([200, true]);
  });

  it("lets a body go on being sent, and credits it", async () => {
    const harness = cleanup.harness(await closed(), {}, { errorPage });
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", headers: fieldsOf({ accept: "text/html" }) }), 0);
    stream.give("some");
    await harness.outcome();
    stream.give("more");
    expect([stream.head?.status, stream.credited]).toEqual([502, 8]);
  });

  it("is there after other rules have come", async () => {
    const origin = await cleanup.http((_request, response) => response.end("ok"));
    const harness = cleanup.harness(urlOrigin(origin), {}, { errorPage });
    expect((await ask(harness, BROWSER)).body.toString()).toBe("ok");
    const service = await closed();
    harness.proxy.update({
      rules: [{ hostname: "", path: undefined, service, originRequest: ORIGIN_REQUEST }],
      warpRouting: defaultWarpRouting,
    });
    expect((await ask(harness, BROWSER)).body.toString()).toBe("<h1>Back soon</h1>");
    expect(portOf(origin)).toBeGreaterThan(0);
  });
});
