import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { inspect } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { QuickTunnelError, requestQuickTunnel } from "../../src/account/quick-tunnel.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { closedPort } from "../ports.ts";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(answer: Answer): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  return `http://127.0.0.1:${address.port}`;
}

function json(content: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  return (_request, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(content));
  };
}

function resultOf(made = makeCredentials(), changes: Record<string, unknown> = {}) {
  const result = {
    id: made.tunnelId,
    name: "x",
    hostname: "some-words.example.com",
    account_tag: made.accountTag,
    secret: made.secret,
    ...changes,
  };
  return { success: true, result, errors: [] };
}

async function failure(answer: Answer): Promise<QuickTunnelError> {
  const service = await serve(answer);
  try {
    await requestQuickTunnel({ service, userAgent: "test" });
  } catch (error) {
    if (error instanceof QuickTunnelError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("requestQuickTunnel", () => {
  it("asks with one POST and returns credentials and hostname", async () => {
    const made = makeCredentials();
    const seen: { method: string | undefined; url: string | undefined; agent: unknown; type: unknown; body: string }[] =
      [];
    const service = await serve((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (text: string) => (body += text));
      request.on("end", () => {
        const { method, url, headers } = request;
        seen.push({ method, url, agent: headers["user-agent"], type: headers["content-type"], body });
        json(resultOf(made))(request, response);
      });
    });
    const tunnel = await requestQuickTunnel({ service: `${service}/`, userAgent: "underpass/1" });
    expect(seen).toEqual([
      { method: "POST", url: "/tunnel", agent: "underpass/1", type: "application/json", body: "" },
    ]);
    expect(tunnel.hostname).toBe("some-words.example.com");
    expect(tunnel.credentials).toMatchObject({ accountTag: made.accountTag, tunnelId: made.tunnelId });
    expect(Buffer.from(tunnel.credentials.tunnelSecret.reveal()).toString("base64")).toBe(made.secret);
    expect(inspect(tunnel, { depth: 10, showHidden: true })).not.toContain(made.secret.slice(0, 12));
  });

  it("takes a hostname with https://, and a fetch of the caller's", async () => {
    const asked: string[] = [];
    const tunnel = await requestQuickTunnel({
      service: "https://quick.example.com",
      userAgent: "test",
      fetch: (input) => {
        asked.push(input instanceof URL ? input.href : "");
        return Promise.resolve(Response.json(resultOf(undefined, { hostname: "https://A-b.example.com" })));
      },
    });
    expect(tunnel.hostname).toBe("a-b.example.com");
    expect(asked).toEqual(["https://quick.example.com/tunnel"]);
  });

  it("reports 429 with Retry-After", async () => {
    const error = await failure((_request, response) => {
      response.writeHead(429, { "retry-after": "90", "content-type": "text/html" });
      response.end("<html>slow down</html>");
    });
    expect(error).toMatchObject({
      code: "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED",
      name: "QuickTunnelError",
      status: 429,
      retryAfterMs: 90_000,
    });
    expect(error.message).toMatch(/HTTP status 429.*try again in 90 s/);
  });

  it.each([
    ["page", (_: IncomingMessage, response: ServerResponse) => response.writeHead(403).end("error code: 1015")],
    ["HTML page", (_: IncomingMessage, response: ServerResponse) => response.end("<title>Error 1015</title>")],
    ["code", json({ success: false, errors: [{ code: 1015, message: "rate limited" }] }, 400)],
  ])("reports Cloudflare's error 1015 as a rate limit: %s", async (_, answer) => {
    const error = await failure(answer);
    expect(error).toMatchObject({ code: "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED", retryAfterMs: undefined });
    expect(error.message).toContain("1015");
  });

  it("reads Retry-After as a date too", async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const { retryAfterMs } = await failure(json({}, 429, { "retry-after": date }));
    expect(retryAfterMs).toBeGreaterThan(3_000_000);
    expect(retryAfterMs).toBeLessThanOrEqual(3_600_000);
    expect((await failure(json({}, 429, { "retry-after": "soon" }))).retryAfterMs).toBeUndefined();
  });

  it.each([
    [
      "success false",
      json({ success: false, errors: [{ code: 7003, message: "no" }] }),
      "REFUSED",
      /success is not true \(7003 no\)/,
    ],
    ["no success", json({ result: resultOf().result }), "REFUSED", /success is not true/],
    ["a 500", json({ success: true }, 500), "REFUSED", /HTTP status 500/],
    [
      "a redirect",
      (_: IncomingMessage, response: ServerResponse) => response.writeHead(302, { location: "/x" }).end(),
      "REFUSED",
      /HTTP status 302/,
    ],
    [
      "HTML",
      (_: IncomingMessage, response: ServerResponse) => response.setHeader("content-type", "text/html").end("<html>"),
      "INVALID",
      /not answer with JSON but with 6 bytes of text\/html \(HTTP status 200\)/,
    ],
    ["nothing", (_: IncomingMessage, response: ServerResponse) => response.end(), "INVALID", /with nothing/],
    ["null", json(null), "REFUSED", /success is not true/],
    ["no result", json({ success: true, result: null }), "INVALID", /no usable "hostname"/],
    ["an empty hostname", json(resultOf(undefined, { hostname: "" })), "INVALID", /no usable "hostname"/],
    ["a hostname with a path", json(resultOf(undefined, { hostname: "a.example.com/x" })), "INVALID", /"hostname"/],
    ["no id", json(resultOf(undefined, { id: undefined })), "INVALID", /"id" is missing/],
    ["a wrong id", json(resultOf(undefined, { id: "x" })), "INVALID", /"id" is wrong/],
    ["no secret", json(resultOf(undefined, { secret: undefined })), "INVALID", /"secret" is missing/],
    ["a wrong secret", json(resultOf(undefined, { secret: "-_-" })), "INVALID", /"secret" is wrong/],
    ["no account", json(resultOf(undefined, { account_tag: "" })), "INVALID", /"account_tag" is wrong/],
    [
      "an endless answer",
      (_: IncomingMessage, response: ServerResponse) => {
        const more = () => response.write(Buffer.alloc(16_384)) && setImmediate(more);
        response.on("drain", more);
        more();
      },
      "INVALID",
      /longer than 65536 bytes/,
    ],
  ])("refuses %s", async (_, answer, code, message) => {
    const error = await failure(answer);
    expect(error.code).toBe(`ERR_UNDERPASS_QUICK_TUNNEL_${code}`);
    expect(error.message).toMatch(message);
  });

  it("never shows the secret of a wrong answer", async () => {
    const made = makeCredentials();
    for (const changes of [{ id: "x" }, { hostname: "" }, { secret: `${made.secret}!` }]) {
      const error = await failure(json(resultOf(made, changes)));
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(made.secret.slice(0, 12));
    }
    const echoed = await failure(json({ success: false, errors: [{ code: 1, message: `bad ${made.secret}` }] }));
    expect(echoed.message).not.toContain(made.secret);
  });

  it("says when nobody answers", async () => {
    const asked = requestQuickTunnel({ service: `http://127.0.0.1:${await closedPort()}`, userAgent: "test" });
    await expect(asked).rejects.toMatchObject({
      code: "ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("goes through the environment's proxy, but not for this machine", async () => {
    const tunnelled: string[] = [];
    const proxy = createServer((_request, response) => response.end());
    proxy.on("connect", (request: IncomingMessage, socket) => {
      tunnelled.push(request.url ?? "");
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    servers.push(proxy);
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const address = proxy.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const service = await serve(json(resultOf()));
    const before = process.env["HTTPS_PROXY"];
    const beforeHttp = process.env["HTTP_PROXY"];
    process.env["HTTPS_PROXY"] = `http://127.0.0.1:${port}`;
    process.env["HTTP_PROXY"] = `http://127.0.0.1:${port}`;
    try {
      const asked = requestQuickTunnel({ service: "https://quick.example.invalid", userAgent: "test" });
      await expect(asked).rejects.toMatchObject({ code: "ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE" });
      expect(tunnelled).toEqual(["quick.example.invalid:443"]);
      await requestQuickTunnel({ service, userAgent: "test" });
      expect(tunnelled).toHaveLength(1);
    } finally {
      if (before === undefined) delete process.env["HTTPS_PROXY"];
      else process.env["HTTPS_PROXY"] = before;
      if (beforeHttp === undefined) delete process.env["HTTP_PROXY"];
      else process.env["HTTP_PROXY"] = beforeHttp;
    }
  });

  it("ends at once with the signal's reason", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const service = await serve(() => controller.abort(reason));
    await expect(requestQuickTunnel({ service, userAgent: "test", signal: controller.signal })).rejects.toBe(reason);
  });
});
