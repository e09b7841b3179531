/** One attempt to connect, in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ConnectionOptions, connectToEdge } from "../../src/connector/connection.ts";
import { ControlStreamTimeoutError } from "../../src/connector/errors.ts";
import { credentials, FakeEdge, fakeParts, refused, registered } from "./fake-edge.ts";

let edge: FakeEdge;
let abort: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  edge = new FakeEdge();
  abort = new AbortController();
});

afterEach(() => {
  vi.useRealTimers();
});

function options(overrides: Partial<ConnectionOptions> = {}): ConnectionOptions {
  return {
    connIndex: 2,
    address: { ip: "192.0.2.7", port: 7844, family: 4 },
    credentials,
    connectorId: "99999999-8888-4777-8666-555555555555",
    features: ["serialized_headers"],
    version: "1.2.3",
    arch: "linux_amd64",
    previousAttempts: 3,
    rpcTimeoutMs: 5_000,
    onRequest: () => {},
    onRegistering: () => {},
    signal: abort.signal,
    ...overrides,
  };
}

async function settle<T>(promise: Promise<T>, milliseconds = 60_000): Promise<T> {
  await vi.advanceTimersByTimeAsync(milliseconds);
  return await promise;
}

describe("connecting to the edge", () => {
  it("registers with the tunnel's credentials and the connector's identity", async () => {
    const result = await settle(connectToEdge(fakeParts(edge), options()), 1_000);
    expect(result.kind).toBe("registered");
    expect(edge.registrations).toEqual([
      {
        accountTag: "account",
        tunnelSecret: new Uint8Array(32),
        tunnelId: credentials.tunnelId,
        connIndex: 2,
        clientId: "99999999-8888-4777-8666-555555555555",
        features: ["serialized_headers"],
        version: "1.2.3",
        arch: "linux_amd64",
        originLocalIp: "192.0.2.1",
        replaceExisting: false,
        numPreviousAttempts: 3,
      },
    ]);
    expect(edge.open).toHaveLength(1);
  });

  it("takes requests from the moment that the edge may send them", async () => {
    const seen: number[] = [];
    const attempt = connectToEdge(fakeParts(edge), options({ onRequest: (_request, index) => seen.push(index) }));
    await vi.advanceTimersByTimeAsync(15);
    edge.open[0]?.onRequest({ kind: "configuration", version: 1, config: {}, reply() {} });
    await settle(attempt);
    expect(seen).toEqual([2]);
  });

  it("reports an edge that can't be reached", async () => {
    const error = new Error("refused");
    edge.onDial = () => error;
    expect(await settle(connectToEdge(fakeParts(edge), options()))).toEqual({ kind: "unreachable", error });
  });

  it("gives up on an edge that opens no control stream", async () => {
    edge.opensControl = false;
    const result = await settle(connectToEdge(fakeParts(edge), options()));
    expect(result).toMatchObject({ kind: "unregistered", error: expect.any(ControlStreamTimeoutError) });
    expect(edge.open).toHaveLength(0);
  });

  it.each([
    ["EDUPCONN", "duplicate"],
    ["EDUPCONN ", "refused"],
    ["quota", "refused"],
    ["Unauthorized: Tunnel not found", "refused"],
  ])("tells a refusal with the cause %j as %s, and closes the connection itself", async (cause, kind) => {
    edge.onRegister = () => refused(cause, { retryAfterMs: 7_000 });
    const result = await settle(connectToEdge(fakeParts(edge), options()));
    expect(result).toMatchObject({ kind, error: { reason: cause, shouldRetry: false, retryAfterMs: 7_000 } });
    expect(edge.connections[0]?.closeReason).toBeDefined();
    expect(edge.connections[0]?.client.closed).toBe(true);
  });

  it.each([
    ["an exception", () => new Error("exception")],
    ["no answer", () => "never" as const],
  ])("treats %s as a failed registration and closes the connection", async (_name, onRegister) => {
    edge.onRegister = onRegister;
    const result = await settle(connectToEdge(fakeParts(edge), options()));
    expect(result.kind).toBe("unregistered");
    expect(edge.open).toHaveLength(0);
  });

  it("fails when the connection is lost during the registration", async () => {
    edge.onRegister = () => "never";
    const attempt = connectToEdge(fakeParts(edge), options());
    await vi.advanceTimersByTimeAsync(100);
    edge.open[0]?.drop();
    expect((await settle(attempt, 10)).kind).toBe("unregistered");
  });

  it("waits for the registration's answer as long as it is told", async () => {
    edge.onRegister = () => "never";
    const ended = vi.fn();
    void connectToEdge(fakeParts(edge), options({ rpcTimeoutMs: 1_234 })).then(() => ended());
    await vi.advanceTimersByTimeAsync(10 + 1_200);
    expect(ended).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(100);
    expect(ended).toHaveBeenCalledTimes(1);
  });

  // Dial 10 ms, control stream at once, registration 20 ms: every stage is met.
  it.each([0, 5, 9, 10, 11, 29, 30])("leaves nothing behind when it is aborted after %i ms", async (delay) => {
    edge.onRegister = () => registered();
    const attempt = connectToEdge(fakeParts(edge), options());
    await vi.advanceTimersByTimeAsync(delay);
    abort.abort(new Error("stop"));
    const result = await settle(attempt);
    if (result.kind === "registered") await result.connection.close({ kind: "shutdown" });
    else expect(result).toEqual({ kind: "aborted" });
    expect(edge.open).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not wait for a control stream once it is aborted", async () => {
    edge.opensControl = false;
    const attempt = connectToEdge(fakeParts(edge), options());
    await vi.advanceTimersByTimeAsync(1_000);
    abort.abort();
    expect(await attempt).toEqual({ kind: "aborted" });
    expect(edge.open).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
