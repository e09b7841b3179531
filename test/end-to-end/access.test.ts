/** Rules with Access through a whole tunnel: written in the program, and pushed by the edge for all rules at once. */
import { once } from "node:events";
import http from "node:http";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { Logger, RequestOutcome } from "../../src/types.ts";
import { openTeam, POLICY, sign, type Team } from "../proxy/access/team.ts";
import { Cleanup } from "../proxy/harness.ts";
import { type Rig, startRig } from "./start.ts";

const keys = vi.hoisted(() => ({ url: new URL("http://127.0.0.1:1") }));
vi.mock("../../src/proxy/access/team.ts", async (original) => ({
  ...(await original<typeof import("../../src/proxy/access/team.ts")>()),
  // A tunnel has no other place for it, so that nothing around it can give it keys.
  certsUrlOf: () => keys.url,
}));

const { required, teamName, audTag } = POLICY;
const access = { required, teamName, audTag };

const cleanup = new Cleanup();
const outcomes: RequestOutcome[] = [];
const logs: [message: string, fields: unknown][] = [];
let team: Team;
let rig: Rig;

const record = (message: string, fields?: unknown): void => void logs.push([message, fields]);
const logger: Logger = { debug: record, info: record, warn: record, error: record };

beforeEach(async () => {
  outcomes.length = 0;
  logs.length = 0;
  team = await openTeam(cleanup);
  keys.url = team.url;
  const origin = await cleanup.http((request, response) => {
    request.on("end", () => response.end(`hello from ${request.headers.host}`)).resume();
  });
  cleanup.add(new WebSocketServer({ server: origin }), (sockets) => sockets.close());
  const { port } = origin.address() as { port: number };
  const service = `http://127.0.0.1:${port}`;
  rig = await startRig({
    haConnections: 1,
    logger,
    ingress: [{ hostname: "guarded.example.com", service, originRequest: { access } }, { service }],
  });
  rig.tunnel.on("request", (outcome) => outcomes.push(outcome));
});

afterEach(async () => {
  await rig.stop();
  await cleanup.run();
});

async function visit(host: string, headers: http.OutgoingHttpHeaders, body?: Buffer): Promise<string> {
  const method = body === undefined ? "GET" : "POST";
  const request = http.request(rig.edge.publicUrl, { method, agent: false, headers: { host, ...headers } });
  request.on("error", () => {});
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return `${response.statusCode} ${text}`;
}

it("lets in whoever has a token, and nobody else", async () => {
  const assertion = { "cf-access-jwt-assertion": await sign() };
  const stale = { "cf-access-jwt-assertion": await sign({ exp: 1 }) };
  expect(await visit("open.example.com", {})).toBe("200 hello from open.example.com");
  expect(await visit("guarded.example.com", {})).toBe("403 ");
  expect(await visit("GUARDED.example.com.:443", {})).toBe("403 ");
  expect(await visit("guarded.example.com", stale, Buffer.alloc(3_000_000))).toBe("403 ");
  expect(team.asked).toBe(0);
  expect(await visit("guarded.example.com", assertion)).toBe("200 hello from guarded.example.com");
  const body = Buffer.alloc(3_000_000);
  const fresh = { "cf-access-jwt-assertion": await sign() };
  expect(await visit("guarded.example.com", fresh, body)).toBe("200 hello from guarded.example.com");
  expect(team.asked).toBe(1);
  await vi.waitFor(() => expect(outcomes).toHaveLength(6));
  expect(outcomes.map((outcome) => `${outcome.class} ${outcome.phase} ${outcome.ingressRule}`)).toEqual([
    "ok undefined 1",
    "access-denied access 0",
    "access-denied access 0",
    "access-denied access 0",
    "ok undefined 0",
    "ok undefined 0",
  ]);
  const denied = logs.filter(([message]) => message === "Request failed").map(([, fields]) => fields);
  expect(denied).toMatchObject([{ reason: "missing" }, { reason: "missing" }, { reason: "expired" }]);
});

it("lets WebSockets in, and out", async () => {
  const url = rig.edge.publicUrl.replace("http", "ws");
  const open = new WebSocket(url, {
    headers: { host: "guarded.example.com", "cf-access-jwt-assertion": await sign() },
  });
  open.on("error", () => {});
  await once(open, "open");
  const shut = new WebSocket(url, { headers: { host: "guarded.example.com" } });
  shut.on("error", () => {});
  const [, response] = (await once(shut, "unexpected-response")) as [unknown, http.IncomingMessage];
  expect(response.statusCode).toBe(403);
  shut.terminate();
  open.terminate();
});

it("stands before every rule when the edge's configuration says so at the top", async () => {
  const ingress = [
    { hostname: "open.example.com", service: "http_status:204", originRequest: { access: { required: false } } },
    { hostname: "jump.example.com", service: "bastion" },
    { service: "http_status:204" },
  ];
  const [pushed] = await rig.edge.pushConfiguration(1, { ingress, originRequest: { access } });
  expect(pushed).toMatchObject({ lastAppliedVersion: 1 });
  expect(await visit("other.example.com", {})).toBe("403 ");
  expect(await visit("jump.example.com", {})).toBe("403 ");
  expect(await visit("open.example.com", {})).toBe("204 ");
  expect(await visit("other.example.com", { "cf-access-jwt-assertion": await sign() })).toBe("204 ");
});

it("ends while a token is judged", async () => {
  const asked = new Promise<void>((resolve) => {
    team.answer = () => resolve();
  });
  const waiting = visit("guarded.example.com", { "cf-access-jwt-assertion": await sign() }).catch(() => "");
  await asked;
  await rig.tunnel.close({ grace: 0 });
  await vi.waitFor(() => expect(outcomes).toMatchObject([{ class: "shutdown", phase: "access" }]));
  await waiting;
});
