/** A tunnel's state over fake connections, in virtual time: its events, log lines and numbers. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { RunningTunnel } from "../../src/connector/running-tunnel.ts";
import { HealthMetrics } from "../../src/health/health-metrics.ts";
import type { OriginReading } from "../../src/health/monitor.ts";
import type { Probe } from "../../src/health/probe.ts";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";
import { credentials, FakeEdge, fakeParts, type LogLine, recordingLogger } from "./fake-edge.ts";

const hostname = "agent.example.com";
let edge: FakeEdge;
let tunnel: RunningTunnel;
let lines: LogLine[];
let states: string[];
let status: number;
let originProblem: string | undefined;
let probes: number;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  edge = new FakeEdge();
  states = [];
  status = 200;
  originProblem = undefined;
  probes = 0;
});

afterEach(async () => {
  const closed = tunnel.close({ grace: 0 });
  await advance(5_000);
  await closed;
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);
/** What is told of the state, without what connections and checks tell by themselves. */
const told = () => lines.filter(({ level, message }) => level !== "debug" && /^The tunnel (?:is|serves)/.test(message));

/** No connection comes about for so long. */
async function outage(milliseconds: number): Promise<void> {
  edge.onDial = () => new Error("unreachable");
  for (const connection of edge.open) connection.drop(new Error("gone"));
  await advance(milliseconds);
  expect(tunnel.state).toBe("down");
  edge.onDial = () => undefined;
}

function start(origins = false, haConnections = defaultTunnelConfig.haConnections): void {
  const recording = recordingLogger();
  lines = recording.lines;
  const probe: Probe = () => {
    probes++;
    return Promise.resolve({ status, body: "" });
  };
  const reading = (): OriginReading => ({ origin: "http://localhost:1", problem: originProblem, milliseconds: 1 });
  tunnel = new RunningTunnel(
    {
      ...defaultTunnelConfig,
      identity: { mode: "named", credentials, hostname },
      ingress: singleService({ kind: "status", status: 204 }, defaultOriginRequest),
      haConnections,
      healthCheck: { ...defaultTunnelConfig.healthCheck, origins },
    },
    {},
    {
      ...fakeParts(edge),
      version: "1.2.3",
      logger: recording.logger,
      probe,
      probeOrigins: () => Promise.resolve([reading()]),
      protocolChoice: undefined,
      records: undefined,
      createIdentity: () => ({
        credentials: () => Promise.resolve({ kind: "credentials", credentials }),
        tunnelId: credentials.tunnelId,
        url: `https://${hostname}`,
        replaceable: false,
        registered() {},
        refused() {},
      }),
      createProxy: () => ({
        activeRequests: 0,
        update() {},
        handle() {},
        createDatagrams: () => ({
          activeSessions: 0,
          attach: () => {
            throw new Error("there are none over HTTP/2");
          },
          close() {},
        }),
        close: () => Promise.resolve(),
      }),
    },
  );
  tunnel.on("state", ({ previous, reasons, state }) =>
    states.push(`${previous} -> ${state}${reasons.length > 0 ? `: ${reasons.join("; ")}` : ""}`),
  );
  tunnel.start();
}

describe("a tunnel's state", () => {
  it("begins as starting, and is ready when every connection is registered, without a word", async () => {
    start();
    expect(tunnel.state).toBe("starting");
    await advance(5_000);
    expect([tunnel.state, states, told()]).toEqual(["ready", ["starting -> ready"], []]);
  });

  it("goes down with the last connection, and says so; and again when it is back", async () => {
    start();
    await advance(5_000);
    edge.onDial = () => new Error("unreachable");
    for (const connection of edge.open) connection.drop(new Error("gone"));
    await advance(100);
    expect([tunnel.state, states.at(-1)]).toEqual(["down", "ready -> down: no connection is registered"]);
    edge.onDial = () => undefined;
    await advance(60_000);
    expect([tunnel.state, states.at(-1)]).toEqual(["ready", expect.stringMatching(/^(?:down|degraded) -> ready$/)]);
    expect(told().map(({ level, message }) => `${level} ${message}`)).toEqual([
      "error The tunnel is down: no visitor reaches it until a connection registers again",
      "info The tunnel serves again, with fewer connections than it wants",
      "info The tunnel is ready again",
    ]);
  });

  it("says once that it is down, however long that lasts, and of a restart now and then", async () => {
    start();
    await advance(5_000);
    edge.onDial = () => new Error("unreachable");
    for (const connection of edge.open) connection.drop(new Error("gone"));
    lines.length = 0;
    await advance(3_600_000);
    const loud = lines.filter(({ level, message }) => level !== "debug" && /health|Health|The tunnel/.test(message));
    expect(loud.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(loud.filter(({ message }) => message === "Health check failed")).toEqual([]);
    expect(loud.length).toBeLessThan(20);
  });

  it("is degraded once connections have been missing for a while", async () => {
    start();
    await advance(5_000);
    edge.onDial = () => new Error("unreachable");
    edge.open[3]?.drop(new Error("gone"));
    await advance(9_000);
    expect([tunnel.state, states]).toEqual(["degraded", ["starting -> ready"]]);
    await advance(2_000);
    expect(states.at(-1)).toBe("ready -> degraded: 3 of 4 connections are registered");
    edge.onDial = () => undefined;
    await advance(60_000);
    expect(states.at(-1)).toBe("degraded -> ready");
    expect(told().map(({ level }) => level)).toEqual(["warn", "info"]);
  });

  it("is degraded while the public hostname fails, which has log lines of its own", async () => {
    start();
    await advance(31_000);
    status = 404;
    await advance(30_000);
    expect(states.at(-1)).toBe("ready -> degraded: the public hostname answers with status 404");
    status = 530;
    await advance(30_000);
    expect(tunnel.state).toBe("degraded");
    status = 200;
    await advance(30_000);
    expect([states.at(-1), told()]).toEqual(["degraded -> ready", []]);
  });

  it("is degraded while an origin is down, and restarts nothing for it", async () => {
    start(true);
    const reports: unknown[] = [];
    tunnel.on("degraded", (report) => reports.push(report));
    const restarting = vi.fn();
    tunnel.on("restarting", restarting);
    await advance(31_000);
    originProblem = "the origin http://localhost:1 is down: nothing listens there";
    await advance(200_000);
    expect(states.at(-1)).toBe(`ready -> degraded: ${originProblem}`);
    expect(reports).toEqual([{ hostname, status: undefined, message: originProblem }]);
    expect(lines.filter(({ message }) => message === "The tunnel works, but an origin is down")).toHaveLength(1);
    originProblem = undefined;
    await advance(30_000);
    expect([tunnel.state, edge.connections.length]).toEqual(["ready", 4]);
    expect(restarting).not.toHaveBeenCalled();
  });

  it("has what the last check found stand while no connection is registered, until the next check", async () => {
    start();
    status = 302;
    await advance(31_000);
    const found = "the public hostname answers with status 302";
    expect(states).toEqual(["starting -> ready", `ready -> degraded: ${found}`]);
    await outage(40_000);
    status = 200;
    await advance(10_000);
    expect(states.slice(2)).toEqual([
      "degraded -> down: no connection is registered",
      `down -> degraded: 1 of 4 connections is registered; ${found}`,
    ]);
    await advance(30_000);
    expect([states.at(-1), states.length]).toEqual(["degraded -> ready", 5]);
    expect(told().map(({ level, message }) => `${level} ${message}`)).toEqual([
      "error The tunnel is down: no visitor reaches it until a connection registers again",
      "info The tunnel serves again, with fewer connections than it wants",
      "info The tunnel is ready again",
    ]);
    const noted = lines.filter(({ message }) => message.endsWith("but its public hostname is degraded"));
    expect(noted).toHaveLength(1);
  });

  it("does not hold against new connections that nothing came through the ones that are lost", async () => {
    start();
    status = 404;
    await advance(31_000);
    status = 530;
    await advance(30_000);
    await outage(100);
    await advance(5_000);
    expect(states.at(-1)).toMatch(/; the public hostname answers with status 404$/);
    status = 200;
    await advance(30_000);
    status = 530;
    await advance(30_000);
    expect(states.at(-1)).toMatch(/^ready -> degraded: the edge answers 530/);
    await outage(100);
    await advance(5_000);
    expect(states.at(-1)).toMatch(/ -> ready$/);
  });

  it("says that it serves again, also where it is degraded by what was found before alone", async () => {
    start(false, 1);
    status = 302;
    await advance(31_000);
    await outage(1_000);
    await advance(5_000);
    expect(told().at(-1)).toMatchObject({
      level: "info",
      message: "The tunnel serves again, but is degraded",
      fields: { reasons: ["the public hostname answers with status 302"] },
    });
  });

  it("looks at the origins also while no connection is registered", async () => {
    start(true);
    await advance(35_000);
    originProblem = "the origin http://localhost:1 is down: nothing listens there";
    // Looked at at 60 s.
    await outage(26_000);
    await advance(5_000);
    expect(states.at(-1)).toBe(`down -> degraded: 1 of 4 connections is registered; ${originProblem}`);
  });

  it("counts no connection whose edge does not answer, neither in its checks nor in its state", async () => {
    const counted = vi.spyOn(HealthMetrics.prototype, "checked");
    start();
    await advance(31_000);
    edge.onDial = () => new Error("unreachable");
    for (const connection of edge.open) connection.onSilence(true);
    expect([tunnel.state, states.at(-1)]).toEqual(["down", "ready -> down: no connection is registered"]);
    const before = probes;
    await advance(30_000);
    expect(probes).toBe(before);
    const registration = { probe: "registration", target: "", ok: false, milliseconds: undefined };
    expect(counted).toHaveBeenLastCalledWith("failed", [registration]);
    expect(lines.filter(({ level, message }) => level === "warn" && message === "Health check failed")).toEqual([]);
  });

  it("is stopping from the moment that it is closed", async () => {
    start();
    await advance(5_000);
    const closed = tunnel.close({ grace: 0 });
    expect([tunnel.state, states.at(-1)]).toEqual(["stopping", "ready -> stopping: the tunnel is being closed"]);
    await advance(5_000);
    await closed;
  });
});
