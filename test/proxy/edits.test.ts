/** stripPrefix, addPrefix, requestHeaders and responseHeaders, whatever the service. */
import { afterEach, describe, expect, it } from "vitest";
import { headerEdit } from "../../src/proxy/edits/header-edits.ts";
import { pathEdit } from "../../src/proxy/edits/path-prefix.ts";
import { defaultOriginRequest } from "../../src/proxy/ingress/defaults.ts";
import type { HeaderEdits } from "../../src/types.ts";
import { FakeStream, fieldsOf, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, Harness, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

describe("a prefix", () => {
  it.each([
    ["/api", undefined, "/api", "/"],
    ["/api", undefined, "/api/", "/"],
    ["/api", undefined, "/api?q=1", "/?q=1"],
    ["/api", undefined, "/api/v1/x?q=/api", "/v1/x?q=/api"],
    ["/api", undefined, "/apix", "/apix"],
    ["/api", undefined, "/API/x", "/API/x"],
    ["/api", undefined, "/x/api", "/x/api"],
    ["/api", undefined, "//api", "//api"],
    ["/api/", undefined, "/api/x", "/x"],
    ["/a/b", "/c", "/a/b/d", "/c/d"],
    ["/a/b", "/c", "/a/d", "/c/a/d"],
    [undefined, "/in", "/", "/in/"],
    [undefined, "/in", "", "/in/"],
    [undefined, "/in/", "/x%2Fy", "/in/x%2Fy"],
    [undefined, "/in", "/../x", "/in/../x"],
    ["/api", "/in", "*", "*"],
  ])("strip %s, add %s: %s is %s", (stripPrefix, addPrefix, path, expected) => {
    expect(pathEdit({ ...defaultOriginRequest, stripPrefix, addPrefix })?.(path)).toBe(expected);
  });

  it("is nothing to do where there is none", () => {
    expect(pathEdit(defaultOriginRequest)).toBeUndefined();
    expect(pathEdit({ ...defaultOriginRequest, stripPrefix: "/", addPrefix: "/" })).toBeUndefined();
  });
});

describe("edits of headers", () => {
  it("never touch what frames a message, and never write what would break one", () => {
    const framing = ["Content-Length", "transfer-encoding", "Connection", "upgrade", "Host", "TE", "trailer"];
    expect(headerEdit({ remove: framing, set: framing.map((name) => ({ name, value: "x" })) })).toBeUndefined();
    const edit = headerEdit({ remove: [], set: [{ name: "x-a", value: "b\r\nx-evil: 1" }] });
    expect(edit?.(fieldsOf({ "x-a": "visitor's" }))).toEqual([]);
    expect(headerEdit({ remove: ["bad name"], set: [] })).toBeUndefined();
  });

  const edits: HeaderEdits = { remove: ["server"], set: [{ name: "X-Set", value: "rule" }] };

  it("are for handlers, statuses and WebSockets too", async () => {
    const handler = cleanup.add(
      new Harness(
        {
          kind: "fetch",
          fetch: ({ headers, url }) => new Response(`${new URL(url).pathname} ${headers.get("x-set")}`),
          upgrade: undefined,
        },
        { requestHeaders: edits, responseHeaders: edits, addPrefix: "/in" },
      ),
      ({ proxy }) => proxy.close(),
    );
    const stream = new FakeStream({ bodyless: true });
    handler.proxy.handle(httpRequest(stream, { path: "/x" }), 0);
    await stream.done();
    expect([stream.body.toString(), stream.header("x-set")]).toEqual(["/in/x rule", "rule"]);

    const status = cleanup.harness({ kind: "status", status: 204 }, { responseHeaders: edits });
    const empty = new FakeStream({ bodyless: true });
    status.proxy.handle(httpRequest(empty), 0);
    expect(empty.fields).toEqual(["x-set: rule"]);

    const origin = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write("HTTP/1.1 101 Switching Protocols\r\nServer: x\r\n\r\n"));
    });
    const options = { requestHeaders: edits, responseHeaders: edits, stripPrefix: "/ws" };
    const upgrading = cleanup.harness(urlOrigin(origin.server), options);
    const socket = new FakeStream();
    upgrading.proxy.handle(webSocketRequest(socket, { path: "/ws/chat" }), 0);
    await socket.until(({ head }) => head !== undefined);
    expect(socket.fields).toEqual(["x-set: rule"]);
    const head = await (await origin.connection()).head();
    expect(head).toMatch(/^GET \/chat HTTP\/1\.1\r\n/);
    expect(head).toContain("\r\nX-Set: rule\r\n");
    socket.give("bytes");
    await (await origin.connection()).until(({ received }) => received.endsWith("bytes"));
    socket.cancel();
  });

  it("leave the connector's own answers alone", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server), { responseHeaders: edits, responseHeaderTimeoutMs: 20 });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    await stream.done();
    expect(stream.head).toEqual({ status: 504, headers: [], contentLength: 0, source: "connector" });
  });
});
