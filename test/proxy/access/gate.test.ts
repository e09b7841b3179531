/** Rules with Access, in front of origins that tell what reaches them. */
import type http from "node:http";
import type { Duplex } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import type { HeaderField } from "../../../src/protocol/bytes/header-field.ts";
import { MAX_TOKEN_LENGTH } from "../../../src/proxy/access/limits.ts";
import { singleService } from "../../../src/proxy/ingress/defaults.ts";
import type { ProxyOptions } from "../../../src/proxy/proxy.ts";
import type { AccessPolicy, Service } from "../../../src/types.ts";
import { fieldsOf, FakeStream, httpRequest, webSocketRequest } from "../fake-stream.ts";
import { Cleanup, Harness, ORIGIN_REQUEST, portOf, urlOrigin } from "../harness.ts";
import { inSeconds, keys, openTeam, POLICY, sign, type Team } from "./team.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const FIELD = "cf-access-jwt-assertion";
const NOWHERE: Service = { kind: "url", url: new URL("http://127.0.0.1:1") };

function guard(team: Team, service: Service, policy: AccessPolicy = POLICY, more: Partial<ProxyOptions> = {}): Harness {
  const harness = new Harness(service, { access: policy }, { access: team.options, ...more });
  return cleanup.add(harness, ({ proxy }) => proxy.close());
}

async function bearing(token: Promise<string> | string): Promise<HeaderField[]> {
  return fieldsOf({ [FIELD]: await token });
}

/** The team's service is asked, and does not answer until the returned function is called. */
function slow(team: Team): { asked: Promise<http.IncomingMessage>; answer: () => void } {
  let answer = (): void => {};
  const asked = new Promise<http.IncomingMessage>((resolve) => {
    team.answer = (request, response) => {
      answer = () => response.end(JSON.stringify(team.document));
      resolve(request);
    };
  });
  return { asked, answer: () => answer() };
}

describe("a request with a good token", () => {
  it("reaches the origin, with its token", async () => {
    const team = await openTeam(cleanup);
    const origin = await cleanup.http((request, response) => response.end(String(request.headers[FIELD])));
    const harness = guard(team, urlOrigin(origin));
    const token = await sign();
    for (const count of [1, 2]) {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream, { headers: await bearing(token) }), 0);
      await stream.done();
      expect(stream.body.toString()).toBe(token);
      expect((await harness.outcome(count)).class).toBe("ok");
    }
    expect(team.asked).toBe(1);
    expect(harness.proxy.activeRequests).toBe(0);
  });

  it("may be long before its token is judged: nothing of its body is taken until then", async () => {
    const team = await openTeam(cleanup);
    const { answer, asked } = slow(team);
    const origin = await cleanup.http((request, response) => request.pipe(response));
    const harness = guard(team, urlOrigin(origin));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", headers: await bearing(sign()) }), 0);
    const body = Buffer.alloc(500_000, "0123456789");
    for (let at = 0; at < body.length; at += 10_000) stream.give(body.subarray(at, at + 10_000));
    await asked;
    expect([stream.credited, stream.head]).toEqual([0, undefined]);
    expect(harness.proxy.activeRequests).toBe(1);
    answer();
    await stream.until(({ credited }) => credited > 0);
    stream.give("the end");
    stream.giveEnd();
    await stream.done();
    expect(stream.body.equals(Buffer.concat([body, Buffer.from("the end")]))).toBe(true);
    expect((await harness.outcome()).class).toBe("ok");
    expect(stream.credited).toBe(stream.given);
  });

  it("may be a WebSocket, or TCP in one", async () => {
    const team = await openTeam(cleanup);
    const echo = await cleanup.raw((connection) => connection.socket.on("data", (chunk) => connection.write(chunk)));
    const tcp = guard(team, { kind: "tcp", scheme: "tcp", host: "127.0.0.1", port: portOf(echo.server) });
    const upgrade = (_request: unknown, socket: Duplex): void => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      socket.pipe(socket);
    };
    const listener = guard(team, { kind: "listener", listener: () => {}, upgrade });
    // One masked frame, with a mask of zeros.
    const frame = Buffer.from([0x82, 0x82, 0, 0, 0, 0, 104, 105]);
    for (const [harness, back] of [
      [tcp, Buffer.from([0x82, 2, 104, 105])],
      [listener, frame],
    ] as const) {
      const stream = new FakeStream();
      harness.proxy.handle(webSocketRequest(stream, { headers: await bearing(sign()) }), 0);
      stream.give(frame);
      await stream.until(({ body }) => body.length >= back.length);
      expect(stream.head?.status).toBe(101);
      expect(stream.body).toEqual(back);
      stream.cancel();
      expect((await harness.outcome()).class).toBe("client-abort");
    }
  });

  it("fails as any other when the origin does", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team, NOWHERE);
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { headers: await bearing(sign()) }), 0);
    expect(await harness.outcome()).toMatchObject({ class: "origin-refused", phase: "connect", status: 502 });
  });

  it("fails as any other when it can't be sent", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team, NOWHERE);
    const stream = new FakeStream({ bodyless: true });
    const request = httpRequest(stream, { method: "POST", contentLength: 7, headers: await bearing(sign()) });
    harness.proxy.handle(request, 0);
    expect(await harness.outcome()).toMatchObject({ class: "bad-request", status: 502 });
    expect(stream.aborted).toBe(true);
    expect(harness.proxy.activeRequests).toBe(0);
  });

  it("meets the backends that answer by themselves", async () => {
    const team = await openTeam(cleanup);
    for (const [service, status] of [
      [{ kind: "status", status: 418 }, 418],
      [{ kind: "status", status: 503 }, 503],
      [{ kind: "bastion" }, 426],
    ] as const) {
      const harness = guard(team, service);
      const stream = new FakeStream();
      harness.proxy.handle(httpRequest(stream, { method: "POST", headers: await bearing(sign()) }), 0);
      stream.give("body");
      await stream.done();
      expect(stream.head?.status).toBe(status);
      await stream.until(({ credited }) => credited === 4);
      expect(harness.proxy.activeRequests).toBe(0);
    }
  });
});

describe("a request without", () => {
  it("gets 403 and nothing else, and the origin hears nothing", async () => {
    const team = await openTeam(cleanup);
    const origin = await cleanup.raw();
    const harness = guard(team, urlOrigin(origin.server));
    const cases: [reason: string, headers: Record<string, string>][] = [
      ["missing", {}],
      ["missing", { [FIELD]: "" }],
      ["missing", { cookie: `CF_Authorization=${await sign()}` }],
      ["missing", { authorization: `Bearer ${await sign()}` }],
      ["malformed", { [FIELD]: "x" }],
      ["malformed", { [FIELD]: `${await sign()}, ${await sign()}` }],
      ["malformed", { "Cf-Access-Jwt-Assertion": await sign(), [FIELD]: await sign() }],
      ["expired", { "CF-Access-JWT-Assertion": await sign({ exp: inSeconds(-1) }) }],
      ["audience", { [FIELD]: await sign({ aud: "x" }) }],
      ["issuer", { [FIELD]: await sign({ iss: "x" }) }],
      ["unknown-key", { [FIELD]: await sign({}, keys.stranger) }],
      ["signature", { [FIELD]: await sign({}, keys.stranger, { kid: keys.first.kid }) }],
    ];
    let count = 0;
    for (const [reason, headers] of cases) {
      for (const make of [httpRequest, webSocketRequest]) {
        const stream = new FakeStream();
        harness.proxy.handle(make(stream, { method: "POST", headers: fieldsOf(headers) }), 0);
        stream.give("body");
        await stream.done();
        const { head } = stream;
        expect([head?.status, head?.headers, head?.source, stream.body.length]).toEqual([403, [], "origin", 0]);
        expect(await harness.outcome(++count)).toMatchObject({ class: "access-denied", phase: "access", status: 403 });
        expect(harness.logs.at(-1)?.fields).toMatchObject({ code: "ERR_UNDERPASS_ACCESS_DENIED", reason });
        expect(stream.credited).toBe(4);
      }
    }
    expect(origin.connections).toHaveLength(0);
    expect(harness.proxy.activeRequests).toBe(0);
    const log = JSON.stringify(harness.logs);
    for (const [, headers] of cases) {
      for (const value of Object.values(headers)) if (value.length > 20) expect(log).not.toContain(value.slice(0, 50));
    }
  });

  it("is refused before a token without end is read", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team, NOWHERE);
    const padding = "x".repeat(MAX_TOKEN_LENGTH);
    const tokens = [`${await sign()}${padding}`, await sign({ padding }), "a.".repeat(500_000), "\0".repeat(1_000_000)];
    for (const token of tokens) {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream, { headers: await bearing(token) }), 0);
      // At once: nobody has looked at it.
      expect(stream.head?.status).toBe(403);
      expect(harness.logs.at(-1)?.fields["reason"]).toBe("malformed");
    }
    expect(team.asked).toBe(0);
  });

  it.each([
    ["no team", { teamName: "", audTag: [] }],
    ["no audience", { audTag: [] }],
    ["a team that is none", { teamName: "a/b" }],
  ])("is refused with any token by a policy with %s", async (_name, changes) => {
    const team = await openTeam(cleanup);
    const harness = guard(team, NOWHERE, { ...POLICY, ...changes });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { headers: await bearing(sign()) }), 0);
    expect(stream.head?.status).toBe(403);
    expect(harness.logs.at(-1)?.fields["reason"]).toBe("not-configured");
  });

  it("passes where Access is not required", async () => {
    const team = await openTeam(cleanup);
    const harness = guard(team, { kind: "status", status: 204 }, { ...POLICY, required: false });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream), 0);
    expect(stream.head?.status).toBe(204);
  });
});

describe("while keys can't be had", () => {
  it("everything is refused by 403 with the reason; then it is not", async () => {
    const team = await openTeam(cleanup);
    let now = Date.now();
    team.now = () => now;
    team.answer = (_request, response) => response.writeHead(503).end();
    const harness = guard(team, { kind: "status", status: 204 });
    const visit = async (): Promise<number | undefined> => {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream, { headers: await bearing(sign()) }), 0);
      await stream.done();
      return stream.head?.status;
    };
    expect([await visit(), await visit()]).toEqual([403, 403]);
    expect(team.asked).toBe(1);
    const { fields } = harness.logs.at(-1) ?? {};
    expect(fields).toMatchObject({ outcome: "access-denied", reason: "keys-unavailable" });
    expect(fields?.["cause"]).toContain("503");
    team.answer = undefined;
    now += 5_000;
    expect(await visit()).toBe(204);
    expect(team.asked).toBe(2);
  });
});

it("asks once for 10,000 requests that come together", async () => {
  const team = await openTeam(cleanup);
  const { answer, asked } = slow(team);
  const harness = guard(team, { kind: "status", status: 204 });
  const good = await bearing(sign());
  const bad = await bearing(sign({}, keys.stranger));
  const streams = Array.from({ length: 10_000 }, (_, at) => {
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { headers: at % 10 === 0 ? good : bad }), 0);
    return stream;
  });
  await asked;
  answer();
  await Promise.all(streams.map((stream) => stream.done()));
  const statuses = streams.map(({ head }) => head?.status);
  expect(statuses.filter((status) => status === 204)).toHaveLength(1_000);
  expect(statuses.filter((status) => status === 403)).toHaveLength(9_000);
  expect(team.asked).toBe(1);
  expect(harness.proxy.activeRequests).toBe(0);
});

describe("an end while the token is judged", () => {
  it("by the visitor: the origin never hears of it", async () => {
    const team = await openTeam(cleanup);
    const { answer, asked } = slow(team);
    const origin = await cleanup.raw();
    const harness = guard(team, urlOrigin(origin.server));
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", headers: await bearing(sign()) }), 0);
    stream.give("body");
    await asked;
    stream.cancel();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", phase: "access", status: 0 });
    const next = new FakeStream();
    harness.proxy.handle(httpRequest(next, { method: "POST", headers: await bearing(sign()) }), 0);
    answer();
    await origin.connection();
    expect(origin.connections).toHaveLength(1);
    expect([harness.outcomes.length, stream.head, stream.aborted]).toEqual([1, undefined, false]);
  });

  it("by the proxy's: the fetch ends too, and nothing stays open", async () => {
    const team = await openTeam(cleanup);
    const { asked } = slow(team);
    const harness = guard(team, NOWHERE);
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", headers: await bearing(sign()) }), 0);
    const { socket } = await asked;
    const closed = new Promise((resolve) => socket.once("close", resolve));
    await harness.proxy.close();
    expect(stream.aborted).toBe(true);
    expect(await harness.outcome()).toMatchObject({ class: "shutdown", phase: "access" });
    await closed;
  });
});

describe("other rules, while a token is judged", () => {
  it("don't change where it goes, and share the team's keys", async () => {
    const team = await openTeam(cleanup);
    const { answer, asked } = slow(team);
    const origin = await cleanup.http((_request, response) => response.end("the old one"));
    const harness = guard(team, urlOrigin(origin));
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { headers: await bearing(sign()) }), 0);
    await asked;
    const options = { ...ORIGIN_REQUEST, access: POLICY };
    harness.proxy.update(singleService({ kind: "status", status: 204 }, options));
    const next = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(next, { headers: await bearing(sign()) }), 0);
    answer();
    await Promise.all([stream.done(), next.done()]);
    expect(stream.body.toString()).toBe("the old one");
    expect(next.head?.status).toBe(204);
    expect(team.asked).toBe(1);
  });

  it("may be without Access: the fetch goes on for the one that waits, and the keys go with it", async () => {
    const team = await openTeam(cleanup);
    const { answer, asked } = slow(team);
    const harness = guard(team, { kind: "status", status: 200 });
    const stream = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(stream, { headers: await bearing(sign()) }), 0);
    await asked;
    harness.proxy.update(singleService({ kind: "status", status: 204 }, ORIGIN_REQUEST));
    answer();
    await stream.done();
    expect(stream.head?.status).toBe(200);
    team.answer = undefined;
    harness.proxy.update(singleService({ kind: "status", status: 206 }, { ...ORIGIN_REQUEST, access: POLICY }));
    const next = new FakeStream({ bodyless: true });
    harness.proxy.handle(httpRequest(next, { headers: await bearing(sign()) }), 0);
    await next.done();
    expect([next.head?.status, team.asked]).toEqual([206, 2]);
  });
});
