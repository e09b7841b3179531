/** How a registered connection ends, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connectToEdge, type RegisteredConnection } from "../../src/connector/connection.ts";
import { Deadline, drain } from "../../src/connector/drain.ts";
import type { DatagramChannel } from "../../src/types.ts";
import { credentials, FakeEdge, type FakeConnection, fakeParts } from "./fake-edge.ts";

let edge: FakeEdge;
let transport: FakeConnection;
let connection: RegisteredConnection;
let deadline: Deadline;
let ended: ReturnType<typeof vi.fn<() => void>>;

beforeEach(async () => {
  vi.useFakeTimers({ now: 0 });
  edge = new FakeEdge();
  const attempt = connectToEdge(fakeParts(edge), {
    connIndex: 0,
    address: { ip: "192.0.2.1", port: 7844, family: 4 },
    credentials,
    connectorId: "99999999-8888-4777-8666-555555555555",
    features: [],
    version: "1",
    arch: "linux_amd64",
    previousAttempts: 0,
    rpcTimeoutMs: 5_000,
    onRequest: () => {},
    onRegistering: () => {},
    signal: new AbortController().signal,
  });
  await advance(100);
  const result = await attempt;
  const [opened] = edge.connections;
  if (result.kind !== "registered" || opened === undefined) throw new Error("not registered");
  connection = result.connection;
  transport = opened;
});

afterEach(async () => {
  deadline.clear();
  await advance(60_000);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

function begin(graceMs: number): void {
  deadline = new Deadline(graceMs);
  ended = vi.fn<() => void>();
  void drain(connection, {
    reason: { kind: "shutdown" },
    deadline,
    unregisterTimeoutMs: graceMs,
    onUnregistered: () => {},
  }).then(ended);
}

describe("a drain", () => {
  it("ends one second after the acknowledgement, when nothing was open", async () => {
    edge.unregisterDelayMs = 3_000;
    begin(30_000);
    await advance(3_900);
    expect(ended).not.toHaveBeenCalled();
    await advance(200);
    expect(ended).toHaveBeenCalled();
    expect(transport.closeReason).toEqual({ kind: "shutdown" });
  });

  it("waits for streams, those that come late too", async () => {
    transport.openStreams = 2;
    begin(30_000);
    await advance(5_000);
    transport.openStreams = 0;
    await advance(800);
    // Comes and goes between two looks.
    transport.onRequest({ kind: "configuration", version: 1, config: {}, reply() {} });
    await advance(800);
    expect(ended).not.toHaveBeenCalled();
    await advance(400);
    expect(ended).toHaveBeenCalled();
  });

  it("waits for UDP sessions that are in use, not for those that nobody uses", async () => {
    const datagrams: DatagramChannel = { onDatagram() {}, send: () => true };
    transport.datagrams = datagrams;
    begin(30_000);
    for (let i = 0; i < 10; i++) {
      datagrams.sessionsUsedAt = performance.now();
      await advance(900);
    }
    expect(ended).not.toHaveBeenCalled();
    await advance(200);
    expect(ended).toHaveBeenCalled();
  });

  it("ends the control stream once the edge has acknowledged, not before", async () => {
    edge.unregisterDelayMs = 500;
    transport.openStreams = 1;
    begin(30_000);
    await advance(400);
    expect(transport.client.closed).toBe(false);
    await advance(200);
    expect(transport.client.closed).toBe(true);
    expect(transport.closeReason).toBeUndefined();
    transport.openStreams = 0;
  });

  it("ends at the grace period's end, whatever is open", async () => {
    transport.openStreams = 1;
    begin(6_000);
    await advance(5_990);
    expect(ended).not.toHaveBeenCalled();
    await advance(20);
    expect(ended).toHaveBeenCalled();
  });

  it("does not wait longer for an acknowledgement that never comes", async () => {
    edge.unregisterDelayMs = undefined;
    begin(6_000);
    await advance(5_900);
    expect(ended).not.toHaveBeenCalled();
    await advance(200);
    expect(ended).toHaveBeenCalled();
  });

  it("ends when the edge closes the connection", async () => {
    transport.openStreams = 1;
    begin(30_000);
    await advance(2_000);
    transport.drop();
    await advance(1);
    expect(ended).toHaveBeenCalled();
  });

  it("of no grace asks to unregister and closes at once", async () => {
    transport.openStreams = 1;
    begin(0);
    await advance(1);
    expect(ended).toHaveBeenCalled();
    expect(transport.client.unregisterCalls).toBe(1);
  });

  it("of an edge that can't be told, and goes on sending, takes the first moment without a stream", async () => {
    connection.controlEnded = true;
    begin(30_000);
    for (let i = 0; i < 10; i++) {
      transport.openStreams = 1;
      connection.lastRequestAt = performance.now();
      await advance(500);
    }
    expect(ended).not.toHaveBeenCalled();
    transport.openStreams = 0;
    await advance(60);
    expect(ended).toHaveBeenCalled();
  });

  it("skips unregistering without its control stream", async () => {
    connection.controlEnded = true;
    begin(30_000);
    await advance(1_100);
    expect(ended).toHaveBeenCalled();
    expect(transport.client.unregisterCalls).toBe(0);
  });

  it("is hurried by a deadline that is brought forward, and not put off by a later one", async () => {
    transport.openStreams = 1;
    begin(30_000);
    await advance(1_000);
    deadline.bringForward(60_000);
    deadline.bringForward(500);
    deadline.bringForward(5_000);
    expect(deadline.leftMs).toBeLessThanOrEqual(500);
    await advance(510);
    expect(ended).toHaveBeenCalled();
  });
});
