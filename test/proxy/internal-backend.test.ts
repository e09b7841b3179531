/** What the connector serves itself, as the log tells of it: the management service with clients that go away. */
import { describe, expect, it } from "vitest";
import { LogTap } from "../../src/health/management/log-tap.ts";
import { ManagementService } from "../../src/health/management/service.ts";
import type { UpgradeListener } from "../../src/types.ts";
import { makeToken } from "../health/management/make-token.ts";
import { fieldsOf, FakeStream, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { CONNECTOR_ID, Harness } from "./harness.ts";
import { clientFrame, TEXT } from "./in-process/frames.ts";

const HOST = "management.argotunnel.com";
const TUNNEL = "5f6a1f3e-0000-4000-8000-00000000000a";
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function rig(upgraded?: UpgradeListener) {
  const tap = new LogTap({ target: silent });
  const service = new ManagementService({
    tap,
    connectorId: CONNECTOR_ID,
    served: () => ({ tunnelId: TUNNEL, accountTag: undefined }),
    label: undefined,
    serviceAddress: "127.0.0.1:9",
    metrics: undefined,
    logger: silent,
  });
  const { listener, upgrade } = service;
  const internal = { hostname: HOST, service: "management", listener, upgrade: upgraded ?? upgrade };
  return { tap, service, harness: new Harness({ kind: "status", status: 404 }, {}, { internal }) };
}

function logRequest(stream: FakeStream) {
  return webSocketRequest(stream, {
    authority: HOST,
    path: `/logs?access_token=${makeToken({ tunnelId: TUNNEL })}`,
    headers: fieldsOf({ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" }),
  });
}

describe("a client of the log that goes away is no failure", () => {
  it("takes nothing any more, until it is cut off", async () => {
    const { harness, service, tap } = rig();
    const stream = new FakeStream({ window: 1 });
    harness.proxy.handle(logRequest(stream), 0);
    await stream.until(({ head }) => head?.status === 101);
    stream.give(clientFrame(TEXT, Buffer.from('{"type":"start_streaming"}')));
    while (!tap.attached) await new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 10; i++) tap.logger.info(`entry ${i}`);
    await stream.until(({ blocked }) => blocked);
    service.close();
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", status: 101, phase: "splice" });
    // What it has not got is told by a reset.
    expect(stream.aborted).toBe(true);
    expect(harness.logs).toMatchObject([
      {
        level: "debug",
        message: "Request cancelled by the visitor",
        fields: { ingressRule: -1, outcome: "client-abort" },
      },
    ]);
    expect(harness.logs[0]?.fields).not.toHaveProperty("error");
  });

  it("has ended its side before the WebSocket is there", async () => {
    const { harness } = rig((_request, socket) => void socket.destroy());
    harness.proxy.handle(logRequest(new FakeStream()), 0);
    expect(await harness.outcome()).toMatchObject({ class: "client-abort", status: 502, phase: "response-head" });
    expect(harness.logs).toMatchObject([{ level: "debug" }]);
  });
});

it("what fails in the service itself is told", async () => {
  const { harness } = rig(() => {
    throw new Error("boom");
  });
  harness.proxy.handle(logRequest(new FakeStream()), 0);
  expect(await harness.outcome()).toMatchObject({ class: "handler-error" });
  expect(harness.logs).toMatchObject([{ level: "warn", message: "Request failed" }]);
});

it.each([
  [HOST, 400],
  [`${HOST.toUpperCase()}.:443`, 400],
  [`${HOST}:`, 404],
  [`x${HOST}`, 404],
])("requests for %s get %i", async (authority, status) => {
  const { harness } = rig();
  const stream = new FakeStream();
  harness.proxy.handle(httpRequest(stream, { authority, path: "/ping?access_token=secret" }), 0);
  expect(await harness.outcome()).toMatchObject({ class: "ok", status });
  expect(JSON.stringify(harness.logs)).not.toContain("secret");
});
