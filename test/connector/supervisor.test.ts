/** A tunnel's connections in virtual time: the order of their start, retries, what is final, replacing, restarting, stopping. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConnectionInfo } from "../../src/connector/api.ts";
import { Deadline } from "../../src/connector/drain.ts";
import type { AddressSource, Refusal } from "../../src/connector/parts.ts";
import { Supervisor, type SupervisorOptions } from "../../src/connector/supervisor.ts";
import {
  FakeAddresses,
  FakeEdge,
  fakeParts,
  type LogLine,
  recordingLogger,
  refused,
  registered,
  seededRandom,
} from "./fake-edge.ts";

interface Event {
  readonly name: string;
  readonly connIndex: number;
  readonly at: number;
  readonly delayMs?: number;
  readonly error?: Error | undefined;
  readonly info: ConnectionInfo;
}

let edge: FakeEdge;
let addresses: FakeAddresses;
let events: Event[];
let lines: LogLine[];
let gaveUp: Error[];
let unregistered: boolean[];
let refusals: Refusal[];
let supervisor: Supervisor;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  edge = new FakeEdge();
  addresses = new FakeAddresses();
  events = [];
  gaveUp = [];
  unregistered = [];
  refusals = [];
});

afterEach(async () => {
  const stopped = supervisor.stop(new Deadline(0));
  await vi.advanceTimersByTimeAsync(10_000);
  await stopped;
  // Nothing may hold the process: no timer, no connection.
  expect(vi.getTimerCount()).toBe(0);
  expect(edge.open).toHaveLength(0);
  vi.useRealTimers();
});

function start(
  options: Partial<SupervisorOptions> = {},
  parts: { addresses?: AddressSource; random?: () => number } = {},
) {
  const recording = recordingLogger();
  lines = recording.lines;
  const note = (name: string) => (info: ConnectionInfo, more: Partial<Event>) =>
    events.push({ name, connIndex: info.connIndex, at: Date.now(), info, ...more });
  supervisor = new Supervisor(
    fakeParts(edge, {
      addresses,
      ...parts,
      identity: { refused: (how) => refusals.push(how) },
    }),
    {
      haConnections: 4,
      retries: 5,
      rpcTimeoutMs: 5_000,
      gracePeriodMs: 30_000,
      connectorId: "99999999-8888-4777-8666-555555555555",
      features: () => [],
      version: "1.2.3",
      arch: "linux_amd64",
      onRequest: () => {},
      ...options,
    },
    {
      registered: (info) => note("registered")(info, {}),
      disconnected: (info, error) => note("disconnected")(info, { error }),
      unregistered: (ok) => unregistered.push(ok),
      failed: (info, failure) => note("failed")(info, { error: failure.error }),
      retrying: (info, delayMs, error) => note("retrying")(info, { delayMs, error }),
      gaveUp: (error) => gaveUp.push(error),
    },
    recording.logger,
  );
  supervisor.start();
}

const named = (name: string): Event[] => events.filter((event) => event.name === name);
const logged = (text: string): LogLine[] => lines.filter(({ message }) => message.includes(text));
const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

/** Starts and waits until all four are registered and have proved stable. */
async function startStable(options: Partial<SupervisorOptions> = {}, parts: Parameters<typeof start>[1] = {}) {
  start(options, parts);
  await advance(30_000);
  expect(supervisor.registeredConnections).toBe(options.haConnections ?? 4);
  events.length = 0;
  lines.length = 0;
}

describe("start", () => {
  it("connection 0 goes alone until it has registered, then the others 250 ms apart", async () => {
    start();
    await advance(5_000);
    expect(edge.dials.map(({ connIndex, at }) => [connIndex, at])).toEqual([
      [0, 0],
      [1, 30],
      [2, 280],
      [3, 530],
    ]);
    expect(supervisor.registeredConnections).toBe(4);
    // Four in under a second.
    expect(named("registered").map(({ connIndex }) => connIndex)).toEqual([0, 1, 2, 3]);
    expect(named("registered").at(-1)?.at).toBeLessThan(1_000);
    expect(new Set(edge.dials.map(({ ip }) => ip)).size).toBe(4);
  });

  it("the others don't wait for each other", async () => {
    edge.onRegister = ({ connIndex }) => (connIndex === 1 ? "never" : registered());
    start();
    await advance(4_000);
    expect(supervisor.connections.map(({ state }) => state)).toEqual([
      "registered",
      "connecting",
      "registered",
      "registered",
    ]);
  });

  it("no other starts while connection 0 fails", async () => {
    edge.onDial = () => new Error("refused");
    start();
    await advance(120_000);
    expect(new Set(edge.dials.map(({ connIndex }) => connIndex))).toEqual(new Set([0]));
    expect(supervisor.registeredConnections).toBe(0);
  });

  it("is clamped to the addresses, with one line that names both numbers", async () => {
    addresses = new FakeAddresses(2);
    start();
    await advance(5_000);
    expect(supervisor.connections).toHaveLength(2);
    const [line, ...rest] = logged("HA connections");
    expect(rest).toEqual([]);
    expect(line?.level).toBe("info");
    expect(line?.message).toMatch(/\b4\b.*\b2\b/);
  });

  it("says nothing of it when there are enough addresses", async () => {
    start();
    await advance(5_000);
    expect(logged("HA connections")).toEqual([]);
  });

  it("logs what people look for, with cloudflared's fields", async () => {
    start({ haConnections: 1 });
    await advance(1_000);
    const [info] = supervisor.connections;
    expect(logged("Registered tunnel connection")).toMatchObject([
      {
        level: "info",
        message: "Registered tunnel connection",
        fields: {
          connIndex: 0,
          connection: info?.connectionId,
          event: 0,
          ip: "192.0.2.1",
          location: "lhr01",
          protocol: "http2",
        },
      },
    ]);
    expect(logged("Connection registered")).toHaveLength(1);
    expect(info).toMatchObject({ state: "registered", edgeAddress: "192.0.2.1:7844", location: "lhr01" });
  });
});

describe("retries", () => {
  it("a failed attempt is retried within 2, 4, 8, 16 s, then handed to the ladder, and so on", async () => {
    edge.onDial = () => new Error("no route");
    start({}, { random: () => 0.5 });
    await advance(100_000);
    expect(
      named("retrying")
        .slice(0, 11)
        .map(({ delayMs }) => delayMs),
    ).toEqual([1_000, 2_000, 4_000, 8_000, 5_000, 1_000, 2_000, 4_000, 8_000, 10_000, 1_000]);
    expect(
      lines
        .filter(({ level }) => level !== "debug")
        .slice(0, 6)
        .map(({ level, message, fields }) => [level, message, fields.connIndex, fields.event, fields.ip]),
    ).toEqual([
      ["warn", "Retrying connection in up to 2s", 0, 0, "192.0.2.1"],
      ["warn", "Retrying connection in up to 4s", 0, 0, "198.51.100.6"],
      ["warn", "Retrying connection in up to 8s", 0, 0, "192.0.2.11"],
      ["warn", "Retrying connection in up to 16s", 0, 0, "198.51.100.16"],
      ["error", "Serve tunnel error", 0, 0, "192.0.2.1"],
      ["warn", "Retrying connection in up to 2s", 0, 0, "198.51.100.6"],
    ]);
    expect(gaveUp).toEqual([]);
  });

  it("a connection that gives up while others serve is a warning", async () => {
    edge.onRegister = ({ connIndex }) => (connIndex === 3 ? new Error("exception") : registered());
    start({ retries: 2 });
    await advance(60_000);
    expect(logged("Serve tunnel error").length).toBeGreaterThan(0);
    expect(logged("Serve tunnel error").every(({ level }) => level === "warn")).toBe(true);
  });

  it("success resets the back-off and the ladder", async () => {
    let down = true;
    edge.onDial = () => (down ? new Error("down") : undefined);
    start({ haConnections: 1, retries: 1 }, { random: () => 0.5 });
    await advance(15_000);
    expect(named("retrying").map(({ delayMs }) => delayMs)).toEqual([5_000, 10_000]);
    down = false;
    await advance(30_000);
    expect(supervisor.registeredConnections).toBe(1);
    down = true;
    events.length = 0;
    edge.open[0]?.drop();
    await advance(3_000);
    expect(named("retrying").map(({ delayMs }) => delayMs)).toEqual([1_000, 5_000]);
  });

  it.each([
    ["a dial that fails", "unreachable"],
    ["EDUPCONN", "duplicate"],
  ] as const)("%s takes another address (%s)", async (_name, why) => {
    let first = true;
    const once = <T>(value: T): T | undefined => {
      const result = first ? value : undefined;
      first = false;
      return result;
    };
    if (why === "unreachable") edge.onDial = () => once(new Error("refused"));
    else edge.onRegister = () => once(refused("EDUPCONN")) ?? registered();
    start({ haConnections: 1 });
    await advance(5_000);
    expect(addresses.rotations).toEqual([{ connIndex: 0, why }]);
    expect(edge.dials.map(({ connIndex, ip }) => [connIndex, ip])).toEqual([
      [0, "192.0.2.1"],
      [0, "198.51.100.6"],
    ]);
    expect(supervisor.registeredConnections).toBe(1);
  });

  it.each([
    ["an exception", () => new Error("rpc exception")],
    ["a timeout", () => "never" as const],
    ["a refusal that may be retried", () => refused("later", { shouldRetry: true })],
    ["Unauthorized", () => refused("Unauthorized: Failed to get tunnel")],
  ])("%s keeps the address and is retried for ever", async (_name, onRegister) => {
    edge.onRegister = onRegister;
    start();
    await advance(3_600_000);
    expect(gaveUp).toEqual([]);
    expect(addresses.rotations).toEqual([]);
    expect(edge.dials.length).toBeGreaterThan(20);
    // Bursts of five, at most five minutes apart.
    const gaps = edge.dials.slice(1).map(({ at }, i) => at - (edge.dials[i]?.at ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(300_000 + 5_100);
  });

  it("the number of previous attempts is told to the edge", async () => {
    let left = 2;
    edge.onRegister = () => (left-- > 0 ? new Error("exception") : registered());
    start({ haConnections: 1 });
    await advance(20_000);
    expect(edge.registrations.map(({ numPreviousAttempts }) => numPreviousAttempts)).toEqual([0, 1, 2]);
  });

  it("no attempt comes before the time that the edge asked for", async () => {
    let first = true;
    edge.onRegister = () => {
      if (!first) return registered();
      first = false;
      return refused("busy", { shouldRetry: true, retryAfterMs: 30_000 });
    };
    start({ haConnections: 1 });
    await advance(60_000);
    expect(edge.dials).toHaveLength(2);
    expect(edge.dials[1]?.at).toBeGreaterThanOrEqual(30_000 + 30);
    expect(edge.dials[1]?.at).toBeLessThanOrEqual(32_000 + 30);
  });

  it("a restart does not come before it either", async () => {
    edge.onRegister = () => refused("busy", { shouldRetry: true, retryAfterMs: 600_000 });
    start({ haConnections: 1 });
    await advance(1_000);
    supervisor.restart();
    await advance(590_000);
    expect(edge.dials).toHaveLength(1);
    await advance(20_000);
    expect(edge.dials).toHaveLength(2);
  });

  it("the first that registers after an outage calls the others, but none before the time that the edge asked for", async () => {
    await startStable();
    let down = true;
    edge.onDial = () => (down ? new Error("down") : undefined);
    edge.onRegister = ({ connIndex }) =>
      connIndex === 3 ? refused("busy", { shouldRetry: true, retryAfterMs: 600_000 }) : registered();
    for (const connection of edge.open) connection.drop();
    await advance(3_600_000);
    // Minutes apart by now; the fourth alone reaches the edge, which has no time for it.
    edge.onDial = (connIndex) => (connIndex === 3 ? undefined : new Error("down"));
    while (edge.registrations.length < 5) await advance(1_000);
    const asked = Date.now();
    edge.onDial = () => (down ? new Error("down") : undefined);
    down = false;
    while (supervisor.registeredConnections === 0) await advance(100);
    await advance(2_100);
    expect(supervisor.registeredConnections).toBe(3);
    edge.onRegister = () => registered();
    await advance(asked + 620_000 - Date.now());
    expect(supervisor.registeredConnections).toBe(4);
    expect(edge.dials.filter(({ at, connIndex }) => connIndex === 3 && at > asked && at < asked + 599_000)).toEqual([]);
  });

  it("DNS that is down is waited for", async () => {
    addresses.failure = new Error("SRV: ESERVFAIL");
    start();
    await advance(600_000);
    expect(edge.dials).toEqual([]);
    expect(gaveUp).toEqual([]);
    expect(logged("Serve tunnel error")[0]).toMatchObject({ level: "error", fields: { error: "SRV: ESERVFAIL" } });
    addresses.failure = undefined;
    await advance(320_000);
    expect(supervisor.registeredConnections).toBe(4);
  });

  it("a connection that registers and dies at once does not spin", async () => {
    start({ haConnections: 1 });
    await advance(100);
    for (let i = 0; i < 2_000; i++) {
      edge.open[0]?.drop();
      await advance(50);
    }
    // 100 s, with waits of up to 32 s.
    expect(edge.dials.length).toBeLessThan(30);
    expect(edge.dials.length).toBeGreaterThan(3);
  });
});

describe("what is final", () => {
  it("a refusal without retry, on a tunnel that never registered", async () => {
    edge.onRegister = () => refused("Tunnel is deleted");
    start();
    await advance(100_000);
    expect(gaveUp).toMatchObject([
      { code: "ERR_UNDERPASS_REGISTRATION_REFUSED", reason: "Tunnel is deleted", shouldRetry: false },
    ]);
    expect(gaveUp[0]?.message).toContain("Tunnel is deleted");
    expect(edge.dials).toHaveLength(1);
    expect(logged("Register tunnel error from server side")).toMatchObject([{ level: "error" }]);
    expect(logged("Retrying")).toEqual([]);
  });

  it("not EDUPCONN, though it comes without retry", async () => {
    edge.onRegister = () => refused("EDUPCONN");
    start();
    await advance(600_000);
    expect(gaveUp).toEqual([]);
  });

  it("nothing after a first success, on any connection", async () => {
    await startStable();
    edge.onRegister = () => refused("Tunnel is deleted");
    for (const connection of edge.open) connection.drop();
    await advance(3_600_000);
    expect(gaveUp).toEqual([]);
    edge.onRegister = () => registered();
    await advance(330_000);
    expect(supervisor.registeredConnections).toBe(4);
  });

  it("not a refusal of another index, once connection 0 has registered", async () => {
    edge.onRegister = ({ connIndex }) => (connIndex === 0 ? registered() : refused("only one"));
    start();
    await advance(60_000);
    expect(gaveUp).toEqual([]);
    expect(supervisor.registeredConnections).toBe(1);
  });

  it("the credentials hear of a refusal: at once when it is permanent, else when the retries are used up", async () => {
    let shouldRetry = true;
    edge.onRegister = () => registered();
    await startStable({ haConnections: 1, retries: 3 });
    edge.onRegister = () => refused("gone", { shouldRetry });
    edge.open[0]?.drop();
    for (let i = 0; i < 2_000 && refusals.length === 0; i++) await advance(10);
    expect(refusals).toEqual(["often"]);
    expect(edge.registrations).toHaveLength(1 + 3);
    shouldRetry = false;
    refusals.length = 0;
    await advance(60_000);
    expect(new Set(refusals)).toEqual(new Set(["for-good"]));
  });
});

describe("loss", () => {
  it("of all four: one is back within 2 s, and they don't come back together", async () => {
    const spreads: number[] = [];
    for (let seed = 1; seed <= 20; seed++) {
      edge = new FakeEdge();
      events = [];
      await startStable({}, { random: seededRandom(seed) });
      const lostAt = Date.now();
      for (const connection of edge.open) connection.drop();
      await advance(10_000);
      const back = named("registered").map(({ at }) => at - lostAt);
      expect(back).toHaveLength(4);
      expect(Math.min(...back)).toBeLessThanOrEqual(2_000 + 30);
      const mean = back.reduce((sum, at) => sum + at, 0) / back.length;
      spreads.push(Math.sqrt(back.reduce((sum, at) => sum + (at - mean) ** 2, 0) / back.length));
      if (seed < 20) {
        const stopped = supervisor.stop(new Deadline(0));
        await advance(10_000);
        await stopped;
      }
    }
    expect(Math.min(...spreads)).toBeGreaterThan(0);
    // Uniform in two seconds has a deviation of 577 ms.
    expect(spreads.reduce((sum, spread) => sum + spread, 0) / spreads.length).toBeGreaterThan(250);
  });

  it("of one leaves the others alone, and the same index returns to the same address", async () => {
    await startStable();
    const dialsBefore = edge.dials.length;
    const [, second] = edge.open;
    second?.drop(new Error("ECONNRESET"));
    await advance(5);
    expect(supervisor.registeredConnections).toBe(3);
    expect(named("disconnected")).toMatchObject([
      {
        connIndex: 1,
        error: { code: "ERR_UNDERPASS_CONNECTION_LOST", message: expect.stringContaining("ECONNRESET") },
      },
    ]);
    expect(logged("Lost connection with the edge")).toHaveLength(1);
    expect(logged("control stream")).toEqual([]);
    await advance(5_000);
    expect(supervisor.registeredConnections).toBe(4);
    const again = edge.dials.slice(dialsBefore);
    expect(again).toMatchObject([{ connIndex: 1, ip: edge.dials.find(({ connIndex }) => connIndex === 1)?.ip }]);
  });
});

describe("the control stream's end after the registration", () => {
  it.each([
    ["ended", undefined],
    ["broken", new Error("reset")],
  ] as const)("(%s) leaves the connection serving until another has taken its place", async (_name, error) => {
    await startStable();
    const [first] = edge.open;
    first?.client.end(error);
    await advance(1);
    expect(supervisor.registeredConnections).toBe(4);
    expect(first?.closeReason).toBeUndefined();
    await advance(2_100);
    const replacement = edge.connections.at(-1);
    expect(replacement?.connIndex).toBe(0);
    expect(replacement?.remoteAddress).not.toBe(first?.remoteAddress);
    // It is drained, not dropped, and nobody is told that it unregisters.
    expect(first?.closeReason).toBeUndefined();
    await advance(2_000);
    expect(first?.closeReason).toEqual({ kind: "replaced" });
    expect(first?.client.unregisterCalls).toBe(0);
    expect(named("disconnected")).toMatchObject([{ connIndex: 0, error: undefined }]);
    expect(supervisor.registeredConnections).toBe(4);
  });

  it("keeps a connection that serves a stream until that has ended", async () => {
    await startStable();
    const [first] = edge.open;
    if (first === undefined) throw new Error("no connection");
    first.openStreams = 1;
    first.client.end(undefined);
    await advance(10_000);
    expect(first.closeReason).toBeUndefined();
    first.openStreams = 0;
    await advance(1_200);
    expect(first.closeReason).toEqual({ kind: "replaced" });
  });
});

describe("restart", () => {
  it("opens the new connections before it ends the old ones", async () => {
    await startStable();
    const old = [...edge.open];
    let fewest = 4;
    const begun = Date.now();
    supervisor.restart();
    for (let i = 0; i < 300; i++) {
      await advance(10);
      fewest = Math.min(fewest, supervisor.registeredConnections);
    }
    await advance(5_000);
    expect(fewest).toBe(4);
    expect(edge.dials.slice(4).map(({ at }) => at - begun)).toEqual([0, 250, 500, 750]);
    expect(old.map(({ closeReason }) => closeReason?.kind)).toEqual(["replaced", "replaced", "replaced", "replaced"]);
    expect(old.every(({ client }) => client.unregisterCalls === 1)).toBe(true);
    expect(edge.open).toHaveLength(4);
    for (const connection of old) {
      const replacement = edge.open.find(({ connIndex }) => connIndex === connection.connIndex);
      expect(replacement?.remoteAddress).not.toBe(connection.remoteAddress);
    }
  });

  it("that fails leaves the old connections serving, and goes on trying", async () => {
    await startStable();
    const old = [...edge.open];
    edge.onDial = () => new Error("no route");
    supervisor.restart();
    await advance(120_000);
    expect(supervisor.registeredConnections).toBe(4);
    expect(old.every(({ closeReason }) => closeReason === undefined)).toBe(true);
    edge.onDial = () => undefined;
    await advance(120_000);
    expect(old.every(({ closeReason }) => closeReason?.kind === "replaced")).toBe(true);
    expect(supervisor.registeredConnections).toBe(4);
  });

  it("where no second connection of an index is taken, lets the old one go first", async () => {
    await startStable({ haConnections: 1 });
    const [old] = edge.open;
    edge.onRegister = () => (edge.open.length > 1 ? refused("EDUPCONN") : registered());
    supervisor.restart();
    await advance(60_000);
    expect(old?.closeReason).toEqual({ kind: "replaced" });
    expect(supervisor.registeredConnections).toBe(1);
  });

  it("ends a wait", async () => {
    edge.onDial = () => new Error("down");
    start({ retries: 1 });
    await advance(400_000);
    edge.onDial = () => undefined;
    const dials = edge.dials.length;
    supervisor.restart();
    await advance(1_000);
    expect(edge.dials.length).toBeGreaterThan(dials);
    expect(supervisor.registeredConnections).toBe(4);
  });
});

describe("stop", () => {
  it("unregisters every connection at once, and ends when they are quiet", async () => {
    await startStable();
    const at = Date.now();
    const stopped = vi.fn();
    const deadline = new Deadline(30_000);
    void supervisor.stop(deadline).then(() => {
      deadline.clear();
      stopped();
    });
    expect(supervisor.registeredConnections).toBe(0);
    expect(supervisor.connections.map(({ state }) => state)).toEqual(Array(4).fill("unregistering"));
    await advance(900);
    expect(edge.unregistered.filter(({ at: when }) => when === at)).toHaveLength(4);
    expect(edge.open).toHaveLength(4);
    await advance(300);
    expect(stopped).toHaveBeenCalled();
    expect(supervisor.connections.map(({ state }) => state)).toEqual(Array(4).fill("closed"));
    expect(named("disconnected").map(({ error }) => error)).toEqual(Array(4).fill(undefined));
    // A clean stop has nothing to complain of.
    expect(lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
    expect(logged("Unregistered tunnel connection")).toHaveLength(4);
    expect(unregistered).toEqual(Array(4).fill(true));
  });

  it("ends attempts and waits without a word", async () => {
    edge.onDial = () => new Error("down");
    start();
    await advance(500);
    lines.length = 0;
    await supervisor.stop(new Deadline(1_000));
    expect(supervisor.connections.map(({ state }) => state)).toEqual(["closed"]);
    await advance(100_000);
    expect(lines).toEqual([]);
  });

  it("starts no further connection", async () => {
    start();
    await advance(40);
    const stopped = supervisor.stop(new Deadline(1_000));
    await advance(5_000);
    await stopped;
    expect(edge.dials.map(({ connIndex }) => connIndex)).toEqual([0, 1]);
    supervisor.restart();
    await advance(5_000);
    expect(edge.dials).toHaveLength(2);
  });

  it("also hurries connections that are being replaced", async () => {
    await startStable({ haConnections: 1 });
    const [old] = edge.open;
    if (old === undefined) throw new Error("no connection");
    old.openStreams = 1;
    supervisor.restart();
    await advance(2_000);
    expect(edge.open).toHaveLength(2);
    const stopped = supervisor.stop(new Deadline(3_000));
    await advance(3_100);
    await stopped;
    expect(edge.open).toHaveLength(0);
  });
});
