/** The demo's origin, behind a port and without one. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { demoListener, demoUpgrade } from "../../../src/proxy/hello-world/listener.ts";
import { contentSecurityPolicy } from "../../../src/proxy/hello-world/page.ts";
import { answer, listenerOrigin, serve } from "../in-process/serve.ts";

const origin = listenerOrigin(demoListener, demoUpgrade);
const server = http.createServer(demoListener);
let port = 0;

beforeAll(async () => {
  server.on("upgrade", demoUpgrade);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe("the page", () => {
  it("shows the request as it came through the tunnel, escaped", async () => {
    const { stream, text } = await answer(origin, {
      path: "/?<script>alert('x')</script>",
      headers: { "cf-ray": "8f00-LHR", "x-evil": `"><script>alert(1)</script>&'` },
    });
    expect(stream.head?.status).toBe(200);
    expect(stream.header("content-security-policy")).toBe(contentSecurityPolicy);
    expect(stream.header("content-type")).toBe("text/html; charset=utf-8");
    expect(text).toContain("tunnel connection 3");
    expect(text).toContain('<th scope="row">Cf-Ray</th><td>8f00-LHR</td>');
    expect(text).toContain('<th scope="row">Host</th><td>app.example.com</td>');
    expect(text).toContain("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;");
    expect(text).toContain("GET /?&lt;script&gt;");
    expect(text.match(/<script/g)).toHaveLength(1);
  });

  it("loads nothing from elsewhere and has nothing inline", async () => {
    const { text } = await answer(origin);
    expect([...text.matchAll(/\s(?:src|href)="([^"]*)"/g)].map(([, url]) => url?.split(",")[0])).toEqual([
      "data:image/svg+xml",
      "/demo.css",
      "/demo.js",
    ]);
    expect(text).not.toMatch(/<style|\sstyle=|\son[a-z]+=|<script(?! src)/);
    for (const path of ["/demo.css", "/demo.js"]) {
      const { stream, text: asset } = await answer(origin, { path });
      expect(stream.head?.status).toBe(200);
      expect(asset).not.toMatch(/https?:\/\/|url\(|@import|innerHTML|eval/);
    }
  });

  it("says when there is no tunnel", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(await response.text()).toContain("no tunnel");
  });
});

describe("the routes", () => {
  it.each([
    ["GET", "/healthz", 200, "ok\n"],
    ["GET", "/healthz?probe=1", 200, "ok\n"],
    ["HEAD", "/", 200, ""],
    ["GET", "/nothing", 404, "Not Found\n"],
    ["GET", "/ws", 404, "Not Found\n"],
    ["POST", "/", 405, "Method Not Allowed\n"],
    ["GET", "/echo", 405, "Method Not Allowed\n"],
  ])("%s %s is answered with %i", async (method, path, status, text) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    expect([response.status, await response.text()]).toEqual([status, text]);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    if (status === 405) expect(response.headers.get("allow")).toMatch(/^(?:GET, HEAD|POST, PUT)$/);
  });

  it("/echo gives a body back, never as a page", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/echo`, {
      method: "POST",
      body: "<script>alert(1)</script>",
      headers: { "content-type": "text/html" },
    });
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(await response.text()).toBe("<script>alert(1)</script>");
  });

  it("/echo gives each piece back as it comes", async () => {
    const { stream } = serve(origin, { method: "POST", path: "/echo", bodyless: false });
    for (const piece of ["one", "two"]) {
      stream.give(piece);
      await stream.until(({ body }) => body.toString().endsWith(piece));
    }
    stream.giveEnd();
    await stream.done();
    expect(stream.body.toString()).toBe("onetwo");
  });
});

describe("the clock", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("ticks until the visitor leaves", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"], now: new Date("2026-01-02T03:04:05Z") });
    const { stream } = serve(origin, { path: "/clock" });
    await stream.until(({ body }) => body.includes("\n\n"));
    expect(stream.header("content-type")).toBe("text/event-stream");
    vi.advanceTimersByTime(1000);
    await stream.until(({ body }) => body.includes("06.000Z\n\n"));
    expect(stream.body.toString()).toBe("data: 2026-01-02T03:04:05.000Z\n\ndata: 2026-01-02T03:04:06.000Z\n\n");
    stream.cancel();
    await expect.poll(() => vi.getTimerCount()).toBe(0);
  });
});

describe("the WebSocket echo", () => {
  it("sends messages back as they were", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws?x`);
    await once(socket, "open");
    const messages: unknown[] = [];
    socket.on("message", (data, isBinary) => messages.push([isBinary, data]));
    socket.send("hello");
    socket.send(Buffer.from([1, 2, 3]));
    await expect.poll(() => messages).toHaveLength(2);
    expect(messages).toEqual([
      [false, Buffer.from("hello")],
      [true, Buffer.from([1, 2, 3])],
    ]);
    socket.close();
    await once(socket, "close");
  });

  it("refuses messages that are too big", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`);
    await once(socket, "open");
    socket.send(Buffer.alloc(1024 * 1024 + 1));
    expect((await once(socket, "close"))[0]).toBe(1009);
  });

  it("is on /ws alone", async () => {
    const { stream } = await answer(origin, { websocket: true, path: "/other" });
    expect(stream.head?.status).toBe(404);
  });
});

describe("what cloudflared's demonstration has", () => {
  it("tells its health and its uptime", async () => {
    expect((await answer(origin, { path: "/_health" })).text).toBe("ok");
    const { stream, text } = await answer(origin, { path: "/uptime" });
    expect(stream.header("content-type")).toMatch(/^application\/json/);
    const { startTime, uptime } = JSON.parse(text) as { startTime: string; uptime: string };
    expect(new Date(startTime).getTime()).toBeLessThanOrEqual(Date.now());
    expect(uptime).toMatch(/^[\dhm.]+(?:ms|s)$/);
  });

  it("counts at the pace that is asked for", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/sse?freq=100ms`);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes("data: 2\n\n")) break;
    }
    expect(text).toBe("data: 1\n\ndata: 2\n\n");
  });

  it.each(["1ns", "-5s", "soon", "1000000h"])(
    "takes no pace that would be a flood, or none at all: %s",
    async (freq) => {
      vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
      try {
        const { stream } = serve(origin, { path: `/sse?freq=${freq}` });
        await stream.until((each) => each.head !== undefined);
        expect(vi.getTimerCount()).toBe(1);
        vi.advanceTimersByTime(99);
        expect(stream.body.toString()).toBe("");
        stream.cancel();
      } finally {
        vi.useRealTimers();
      }
    },
  );
});
