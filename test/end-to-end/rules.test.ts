/** Rules that a program gives to the library, through the mock edge. */
import { afterEach, describe, expect, it } from "vitest";
import { ConfigError, connect } from "../../src/index.ts";
import { type Rig, startRig } from "./start.ts";

let rig: Rig | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

const text = (name: string) => (request: Request) => new Response(`${name} ${new URL(request.url).pathname}`);

async function get(url: string): Promise<[number, string]> {
  const response = await present(rig).edge.fetch(url);
  return [response.status, await response.text()];
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("it is not there");
  return value;
}

describe("connect with ingress", () => {
  it("serves each request by its rule, with handlers by name and in place", async () => {
    rig = await startRig({
      haConnections: 1,
      ingress: [
        { hostname: "a.example.com", path: "^/v[12]/", service: "handler:api" },
        { hostname: "*.example.com", service: { fetch: text("wild") } },
        { hostname: "teapot.test", service: "http_status:418" },
        { service: (_request, response) => response.writeHead(404).end("listener") },
      ],
      handlers: { api: text("api") },
    });
    expect(await get("https://a.example.com/v1/x")).toEqual([200, "api /v1/x"]);
    expect(await get("https://A.example.com/v3/x")).toEqual([200, "wild /v3/x"]);
    expect(await get("https://b.c.example.com/")).toEqual([200, "wild /"]);
    expect(await get("https://teapot.test/")).toEqual([418, ""]);
    expect(await get("https://example.com/")).toEqual([404, "listener"]);
  });

  it("lets rules from Cloudflare name its handlers", async () => {
    rig = await startRig({ haConnections: 1, ingress: "remote", handlers: { api: text("api") } });
    expect((await get("https://a.example.com/"))[0]).toBe(503);
    await rig.edge.pushConfiguration(0, { ingress: [{ service: "handler:api" }] });
    expect(await get("https://a.example.com/x")).toEqual([200, "api /x"]);
  });

  it("rejects with everything that is wrong", async () => {
    const failure = await connect({
      ingress: [{ hostname: "a:1", service: "handler:nope" }, { service: "localhost:80" }],
      originRequest: { connectTimeout: "soon" },
    }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConfigError);
    const problems = failure instanceof ConfigError ? failure.problems.map(({ where }) => where) : [];
    expect(problems).toEqual(
      expect.arrayContaining([
        "ingress[0].hostname",
        "ingress[0].service",
        "ingress[1].service",
        "originRequest.connectTimeout",
      ]),
    );
  });
});
