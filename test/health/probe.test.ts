import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo, LookupFunction } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Secret } from "../../src/config/secret.ts";
import { createProbe } from "../../src/health/probe.ts";
import { closedPort } from "../ports.ts";

let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  vi.unstubAllEnvs();
});

async function listen(listener: RequestListener): Promise<number> {
  server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const signal = (): AbortSignal => AbortSignal.timeout(10_000);

describe("the probe", () => {
  it("GETs the path, says who it is, and follows no redirect", async () => {
    const requests: (string | undefined)[][] = [];
    const port = await listen((request, response) => {
      requests.push([request.method, request.url, request.headers["user-agent"]]);
      response.writeHead(302, { location: "/login" }).end("moved");
    });
    const probe = createProbe({ userAgent: "underpass/1.2.3" });
    const answer = await probe(new URL(`http://127.0.0.1:${port}/health?x=1`), signal());
    expect(answer).toEqual({ status: 302, body: "moved", location: "/login" });
    expect(requests).toEqual([["GET", "/health?x=1", "underpass/1.2.3"]]);
  });

  it("passes Cloudflare Access with a service token, which goes over a network by TLS alone", async () => {
    const seen: (string | string[] | undefined)[][] = [];
    const port = await listen((request, response) => {
      seen.push([request.headers["cf-access-client-id"], request.headers["cf-access-client-secret"]]);
      response.end();
    });
    const serviceToken = { clientId: "an-id", clientSecret: new Secret("a-secret") };
    const lookup: LookupFunction = (_hostname, options, callback) => {
      if (options.all === true) callback(null, [{ address: "127.0.0.1", family: 4 }]);
      else callback(null, "127.0.0.1", 4);
    };
    const probe = createProbe({ userAgent: "underpass", serviceToken, lookup });
    const local = await probe(new URL(`http://127.0.0.1:${port}/`), signal());
    const inClear = await probe(new URL(`http://agent.example.com:${port}/`), signal());
    expect([local.serviceToken, inClear.serviceToken]).toEqual(["sent", "withheld"]);
    expect(seen).toEqual([
      ["an-id", "a-secret"],
      [undefined, undefined],
    ]);
  });

  it("asks the resolver that it was given", async () => {
    const port = await listen((request, response) => response.end(request.headers.host));
    const asked: string[] = [];
    const lookup: LookupFunction = (hostname, options, callback) => {
      asked.push(hostname);
      if (options.all === true) callback(null, [{ address: "127.0.0.1", family: 4 }]);
      else callback(null, "127.0.0.1", 4);
    };
    const probe = createProbe({ userAgent: "underpass", lookup });
    const answer = await probe(new URL(`http://agent.example.com:${port}/`), signal());
    expect(answer).toEqual({ status: 200, body: `agent.example.com:${port}` });
    expect(asked).toEqual(["agent.example.com"]);
  });

  it("goes through the environment's proxy", async () => {
    const seen: string[] = [];
    const port = await listen((_request, response) => response.end());
    server?.on("connect", (request, socket) => {
      seen.push(String(request.url));
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    vi.stubEnv("HTTPS_PROXY", `http://127.0.0.1:${port}`);
    vi.stubEnv("https_proxy", `http://127.0.0.1:${port}`);
    vi.stubEnv("NO_PROXY", "");
    vi.stubEnv("no_proxy", "");
    const probe = createProbe({ userAgent: "underpass" });
    await expect(probe(new URL("https://agent.example.com/"), signal())).rejects.toThrow();
    expect(seen).toEqual(["agent.example.com:443"]);
  });

  it("reads the beginning of a long body only, and leaves no connection", async () => {
    let closed: Promise<unknown> = Promise.resolve();
    const port = await listen((_request, response) => {
      closed = once(response, "close");
      const chunk = Buffer.alloc(65_536, "x");
      const write = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", write);
      write();
    });
    const probe = createProbe({ userAgent: "underpass" });
    const { body } = await probe(new URL(`http://127.0.0.1:${port}/`), signal());
    expect(body.length).toBeLessThanOrEqual(16_384);
    await closed;
  });

  it("rejects when nobody listens, and when it is aborted", async () => {
    const probe = createProbe({ userAgent: "underpass" });
    const port = await listen(() => {});
    const abort = new AbortController();
    server?.once("request", () => abort.abort(new Error("enough")));
    await expect(probe(new URL(`http://127.0.0.1:${port}/`), abort.signal)).rejects.toThrow("enough");
    const nobody = new URL(`http://127.0.0.1:${await closedPort()}/`);
    await expect(probe(nobody, signal())).rejects.toThrow("ECONNREFUSED");
  });
});
