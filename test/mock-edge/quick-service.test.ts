/** The quick-tunnel API, asked by fetch and by underpass' own client. */
import { once } from "node:events";
import http from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestQuickTunnel } from "../../src/account/quick-tunnel.ts";
import { type MockEdge, startMockEdge } from "../../src/mock-edge/index.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";

let edge: MockEdge;

beforeAll(async () => {
  edge = await startMockEdge();
});

afterAll(async () => {
  await edge.close();
});

interface Envelope {
  readonly success: boolean;
  readonly result: { id: string; name: string; hostname: string; account_tag: string; secret: string } | null;
  readonly errors: readonly { code: number; message: string }[];
}

async function post(): Promise<Envelope> {
  const response = await fetch(`${edge.quickUrl}/tunnel`, { method: "POST" });
  expect(response.headers.get("content-type")).toBe("application/json");
  return (await response.json()) as Envelope;
}

const ask = () => requestQuickTunnel({ service: edge.quickUrl, userAgent: "test" });

describe("POST /tunnel", () => {
  it("gives out a tunnel whose host name leads to it", async () => {
    const { success, result, errors } = await post();
    expect({ success, errors }).toEqual({ success: true, errors: [] });
    if (result === null) throw new Error("no result");
    expect(result.hostname).toMatch(/^[a-z]+(-[a-z]+){3}\.localhost$/);
    expect(result.hostname).toBe(`${result.name}.localhost`);
    const token = btoa(JSON.stringify({ a: result.account_tag, s: result.secret, t: result.id }));
    await startNodeConnector(edge, {
      token,
      onStream(stream, headers) {
        stream.respond(originHead(200));
        stream.end(String(headers[":authority"]));
      },
    });
    await startNodeConnector(edge);
    await edge.registered(2);
    const request = http.get(edge.publicUrl, { headers: { host: result.hostname } });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(Buffer.concat((await response.toArray()) as Buffer[]).toString()).toBe(result.hostname);
    expect(await (await edge.fetch(`https://${result.hostname}/`)).text()).toBe(result.hostname);
  });

  it("is what underpass' own client understands", async () => {
    const { credentials, hostname } = await ask();
    expect(credentials.tunnelId).toMatch(/^[0-9a-f-]{36}$/);
    expect(hostname).toMatch(/\.localhost$/);
  });

  it.each([
    ["rate-limit", "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED"],
    ["error-1015", "ERR_UNDERPASS_QUICK_TUNNEL_RATE_LIMITED"],
    ["not-json", "ERR_UNDERPASS_QUICK_TUNNEL_INVALID"],
    ["refuse", "ERR_UNDERPASS_QUICK_TUNNEL_REFUSED"],
  ] as const)("fails on request: %s", async (kind, code) => {
    edge.failQuick({ kind });
    await expect(ask()).rejects.toMatchObject({ code });
    await expect(ask()).resolves.toBeDefined();
  });

  it("says when to come again", async () => {
    edge.failQuick({ kind: "rate-limit", retryAfterSeconds: 7 }, 1);
    const response = await fetch(`${edge.quickUrl}/tunnel`, { method: "POST" });
    expect({ status: response.status, after: response.headers.get("retry-after") }).toEqual({
      status: 429,
      after: "7",
    });
    expect(await response.json()).toMatchObject({ success: false });
  });

  it("is the only call", async () => {
    expect((await fetch(`${edge.quickUrl}/tunnel`)).status).toBe(405);
    expect((await fetch(`${edge.quickUrl}/other`, { method: "POST" })).status).toBe(404);
  });
});
