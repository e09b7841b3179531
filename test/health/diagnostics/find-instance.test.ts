import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { findInstances, instanceUrls } from "../../../src/health/diagnostics/find-instance.ts";
import { type HttpGet, httpGet, NoAnswerError } from "../../../src/health/diagnostics/http-get.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const state = (last: string): string =>
  `{"tunnelID":"11111111-2222-4333-8444-555555555555","connectorID":"99999999-8888-4777-8666-55555555555${last}"}`;

describe("the tunnels of this machine", () => {
  it("are looked for on cloudflared's ports, on both loopback addresses", () => {
    const urls = instanceUrls(undefined);
    expect(urls).toHaveLength(10);
    expect(urls.slice(0, 2)).toEqual(["http://127.0.0.1:20241", "http://[::1]:20241"]);
    expect(urls.at(-1)).toBe("http://[::1]:20245");
    expect(instanceUrls({ kind: "default", host: "127.0.0.1" })).toEqual(urls);
    // Any free port: nobody knows which.
    expect(instanceUrls({ kind: "address", host: "127.0.0.1", port: 0 })).toEqual(urls);
  });

  it.each([
    ["", "http://127.0.0.1:2000"],
    ["0.0.0.0", "http://127.0.0.1:2000"],
    ["::", "http://[::1]:2000"],
    ["::1", "http://[::1]:2000"],
    ["metrics.internal", "http://metrics.internal:2000"],
  ])("that listen on %j are reached by %s", (host, url) => {
    expect(instanceUrls({ kind: "address", host, port: 2000 })).toEqual([url]);
  });

  it("are each told once, and nothing else is", async () => {
    const answers: Record<string, string> = {
      "http://127.0.0.1:20241/diag/tunnel": state("1"),
      "http://[::1]:20241/diag/tunnel": state("1"),
      "http://127.0.0.1:20242/diag/tunnel": "<html>",
      "http://127.0.0.1:20243/diag/tunnel": state("3"),
    };
    const get: HttpGet = (url) => {
      const body = answers[url];
      return body === undefined ? Promise.reject(new Error("refused")) : Promise.resolve({ status: 200, body });
    };
    const { instances, unanswered } = await findInstances(instanceUrls(undefined), get);
    expect(instances.map(({ url }) => url)).toEqual(["http://127.0.0.1:20241", "http://127.0.0.1:20243"]);
    expect(unanswered).toHaveLength(7);
    expect(unanswered.find(({ url }) => url === "http://127.0.0.1:20242")).toMatchObject({
      reason: expect.stringContaining("another program's"),
      isSilent: false,
    });
  });
});

describe("a GET of a metrics server", () => {
  it("ends when no answer comes, and when it never ends", async () => {
    const silent = await serve(() => {});
    await expect(httpGet(silent, 50)).rejects.toThrow("no answer within 0.05 s");
    await expect(httpGet(silent, 50)).rejects.toBeInstanceOf(NoAnswerError);
    const slow = await serve((_request, response) => response.write("x"));
    await expect(httpGet(slow, 50)).rejects.toThrow("no answer within 0.05 s");
    const block = Buffer.alloc(1024 * 1024);
    const endless = await serve((_request, response) => {
      const pour = (): void => {
        while (!response.destroyed && response.write(block));
        if (!response.destroyed) response.once("drain", pour);
      };
      pour();
    });
    await expect(httpGet(endless, 20_000)).rejects.toThrow("longer than");
  });
});
