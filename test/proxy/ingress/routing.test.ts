/** Rules at work: each request reaches the origin of its rule, and new rules leave those under way alone. */
import { afterEach, describe, expect, it } from "vitest";
import type { Ingress } from "../../../src/types.ts";
import { FakeStream, httpRequest } from "../fake-stream.ts";
import { Cleanup, type Harness, portOf } from "../harness.ts";
import { parse } from "./parse.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function origin(name: string): Promise<string> {
  const server = await cleanup.http((request, response) =>
    response.end(`${name} ${request.headers.host} ${request.url}`),
  );
  return `http://127.0.0.1:${portOf(server)}`;
}

function ingressOf(...rules: readonly object[]): Ingress {
  const { ingress, problems } = parse({ ingress: [...rules, { service: "http_status:404" }] });
  if (ingress === undefined) throw new Error(JSON.stringify(problems));
  return ingress;
}

function proxyOf(ingress: Ingress): Harness {
  return cleanup.harness({ kind: "status", status: 500 }, {}, { ingress });
}

async function ask(harness: Harness, authority: string, path: string): Promise<string> {
  const stream = new FakeStream({ bodyless: true });
  harness.proxy.handle(httpRequest(stream, { authority, path }), 0);
  await stream.done();
  return stream.head?.status === 200 ? stream.body.toString() : String(stream.head?.status);
}

describe("a request", () => {
  it("reaches the origin of its rule, with its path as it came", async () => {
    const harness = proxyOf(
      ingressOf(
        { hostname: "app.example.com", path: "^/api/", service: await origin("api") },
        { hostname: "app.example.com", service: await origin("app") },
        { hostname: "*.example.com", path: " ", service: await origin("space") },
      ),
    );
    expect(await ask(harness, "APP.example.com:443", "/api/%61?q")).toBe("api APP.example.com:443 /api/%61?q");
    expect(await ask(harness, "app.example.com", "/x?/api/")).toBe("app app.example.com /x?/api/");
    expect(await ask(harness, "y.x.example.com", "/a%20b%")).toBe("space y.x.example.com /a%20b%");
    expect(await ask(harness, "y.x.example.com", "/a?b%20")).toBe("404");
    expect(await ask(harness, "example.com", "/")).toBe("404");
    expect(harness.outcomes.map(({ ingressRule }) => ingressRule)).toEqual([0, 1, 2, 3, 3]);
  });

  it("goes by the rules that were there when it came", async () => {
    const [arrived, arrive] = deferred();
    const [reply, answer] = deferred();
    const slow = await cleanup.http((_, response) => {
      arrive();
      void reply.then(() => response.end("old"));
    });
    const harness = proxyOf(ingressOf({ path: "^/x", service: `http://127.0.0.1:${portOf(slow)}` }));
    const underWay = ask(harness, "a.com", "/x");
    await arrived;
    harness.proxy.update(ingressOf({ path: "^/x", service: await origin("new") }));
    expect(await ask(harness, "a.com", "/x")).toBe("new a.com /x");
    answer();
    expect(await underWay).toBe("old");
  });
});

function deferred(): [Promise<void>, () => void] {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return [promise, resolve];
}
