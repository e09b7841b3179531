/** The health check in virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { restartDelayMs } from "../../src/connector/backoff.ts";
import { type CheckReport, HealthMonitor, type MonitorOptions } from "../../src/health/monitor.ts";
import type { Probe } from "../../src/health/probe.ts";

let registered: boolean;
let url: URL | undefined;
let ready: boolean;
let probe: ReturnType<typeof vi.fn<Probe>>;
let verdicts: string[];
let restarting: { delayMs: number; at: number }[];
let restarts: number[];
let monitor: HealthMonitor;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  registered = true;
  url = undefined;
  ready = false;
  probe = vi.fn<Probe>(() => Promise.resolve({ status: 200, body: "" }));
  verdicts = [];
  restarting = [];
  restarts = [];
});

afterEach(() => {
  monitor.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const advance = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

function start(options: Partial<MonitorOptions> = {}): void {
  monitor = new HealthMonitor({
    config: { intervalMs: 30_000, maxFailures: 3, path: "/", serviceToken: undefined, origins: false },
    restartDelayMs,
    isRegistered: () => registered,
    isReady: () => ready,
    probeUrl: () => url,
    probe,
    carried: () => false,
    probeOrigins: undefined,
    onCheck: ({ verdict }) => verdicts.push(verdict.kind),
    onReady: () => {
      ready = true;
    },
    onRestarting: (delayMs) => restarting.push({ delayMs, at: Date.now() }),
    onRestart: () => restarts.push(Date.now()),
    ...options,
  });
  monitor.start();
}

describe("the health check", () => {
  it("tells a service token that is refused from one that is missing", async () => {
    url = new URL("https://agent.example.com/");
    const location = "https://team.cloudflareaccess.com/cdn-cgi/access/login";
    probe.mockImplementation(() => Promise.resolve({ status: 302, body: "", location, serviceToken: "sent" }));
    const messages: unknown[] = [];
    start({ onCheck: ({ verdict }) => messages.push(verdict) });
    await advance(30_000);
    expect(messages).toEqual([
      expect.objectContaining({ message: expect.stringContaining("the service token was sent and is refused") }),
    ]);
  });

  it("looks at the connections every interval", async () => {
    start();
    await advance(29_999);
    expect(verdicts).toEqual([]);
    await advance(1);
    expect(verdicts).toEqual(["healthy"]);
    registered = false;
    await advance(30_000);
    expect(verdicts).toEqual(["healthy", "failed"]);
    expect(probe).not.toHaveBeenCalled();
  });

  it.each([[{ status: 503 }], ["nonsense"], [undefined], [null], [{ status: "200" }]])(
    "takes %j, which an injected probe may answer in JavaScript, as a failure and goes on",
    async (answer) => {
      url = new URL("https://agent.example.com/");
      start({
        probe: () => Promise.resolve(answer as never),
        config: { intervalMs: 1_000, maxFailures: 9, path: "/", serviceToken: undefined, origins: false },
      });
      await advance(2_000);
      expect(verdicts.every((verdict) => verdict !== "healthy")).toBe(true);
      expect(verdicts).toHaveLength(2);
    },
  );

  it("does not count what fails while a restart is awaited", async () => {
    registered = false;
    const counted: (number | undefined)[] = [];
    start({
      config: { intervalMs: 1_000, maxFailures: 2, path: "/", serviceToken: undefined, origins: false },
      onCheck: ({ failures }) => counted.push(failures),
    });
    await advance(4_000);
    expect(counted).toEqual([0, 1, undefined, undefined]);
  });

  it("asks for the public hostname where it is known, and not while nothing is registered", async () => {
    url = new URL("https://agent.example.com/health");
    start();
    await advance(30_000);
    expect(probe).toHaveBeenCalledTimes(1);
    expect(probe.mock.calls[0]?.[0]).toEqual(url);
    registered = false;
    await advance(30_000);
    expect(probe).toHaveBeenCalledTimes(1);
    expect(verdicts).toEqual(["healthy", "failed"]);
  });

  it("asks for it where connections have come while origins were looked at", async () => {
    url = new URL("https://a.trycloudflare.com/");
    registered = false;
    probe.mockImplementation(() => Promise.resolve({ status: 530, body: "" }));
    start({ probeOrigins: () => new Promise((resolve) => setTimeout(() => resolve([]), 5_000)) });
    await advance(31_000);
    registered = true;
    await advance(5_000);
    expect(probe).toHaveBeenCalledOnce();
    expect(verdicts).toEqual(["failed"]);
  });

  it("tells of the hostname that was asked, though it became known while origins were looked at", async () => {
    const reports: CheckReport[] = [];
    registered = false;
    start({
      probeOrigins: () => new Promise((resolve) => setTimeout(() => resolve([]), 5_000)),
      onCheck: (report) => reports.push(report),
    });
    await advance(31_000);
    registered = true;
    url = new URL("https://a.trycloudflare.com/");
    await advance(5_000);
    expect(reports).toMatchObject([
      {
        url,
        probes: [{ probe: "registration" }, { probe: "public_hostname", target: "a.trycloudflare.com", ok: true }],
      },
    ]);
  });

  it("restarts after max_failures, by the ladder, until a success", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.resolve({ status: 530, body: "error code: 1033" }));
    start();
    await advance(90_000);
    expect(restarting).toEqual([{ delayMs: 5_000, at: 90_000 }]);
    await advance(5_000);
    expect(restarts).toEqual([95_000]);
    // Three more checks: 120, 150, 180 s.
    await advance(100_000);
    expect(restarting.map(({ delayMs }) => delayMs)).toEqual([5_000, 10_000]);
    expect(restarts).toEqual([95_000, 190_000]);
    probe.mockImplementation(() => Promise.resolve({ status: 200, body: "" }));
    await advance(30_000);
    probe.mockImplementation(() => Promise.reject(new Error("ENOTFOUND")));
    await advance(90_000);
    expect(restarting.map(({ delayMs }) => delayMs)).toEqual([5_000, 10_000, 5_000]);
  });

  it("does not restart once a check succeeds in the meantime", async () => {
    registered = false;
    start({ restartDelayMs: () => 300_000 });
    await advance(90_000);
    expect(restarting).toHaveLength(1);
    registered = true;
    await advance(400_000);
    expect(restarts).toEqual([]);
  });

  it("does not count failures while a restart is awaited", async () => {
    registered = false;
    start({ restartDelayMs: () => 200_000 });
    await advance(280_000);
    expect(restarting).toHaveLength(1);
    await advance(10_000);
    expect(restarts).toEqual([290_000]);
    // The next three failures after the restart: 300, 330, 360 s.
    await advance(70_000);
    expect(restarting.map(({ at }) => at)).toEqual([90_000, 360_000]);
  });

  it("is not restarted by an origin that redirects", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.resolve({ status: 302, body: "" }));
    start();
    await advance(600_000);
    expect(new Set(verdicts)).toEqual(new Set(["degraded"]));
    expect(restarting).toEqual([]);
    registered = false;
    await advance(100_000);
    expect(restarting).toHaveLength(1);
  });

  it("takes what its own tunnel carried for the origin's", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.resolve({ status: 502, body: "" }));
    start({ carried: (since) => since === 30_000 });
    await advance(60_000);
    expect(verdicts).toEqual(["degraded", "failed"]);
  });

  it("waits ten seconds for an answer, even of a probe that does not heed its signal", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => new Promise(() => {}));
    start();
    await advance(39_000);
    expect(verdicts).toEqual([]);
    await advance(1_000);
    expect(verdicts).toEqual(["failed"]);
    await advance(40_000);
    expect(verdicts).toEqual(["failed", "failed"]);
  });

  it("aborts a probe that is under way when it is stopped, and says nothing more", async () => {
    url = new URL("https://agent.example.com/");
    let signal: AbortSignal | undefined;
    probe.mockImplementation((_url, given) => {
      signal = given;
      return new Promise(() => {});
    });
    start();
    await advance(31_000);
    monitor.stop();
    await advance(60_000);
    expect(signal?.aborted).toBe(true);
    expect(verdicts).toEqual([]);
  });

  it("with an interval of 0 does nothing", async () => {
    registered = false;
    start({ config: { intervalMs: 0, maxFailures: 1, path: "/", serviceToken: undefined, origins: false } });
    monitor.awaitReady();
    await advance(600_000);
    expect(verdicts).toEqual([]);
    expect(restarting).toEqual([]);
  });
});

describe("readiness", () => {
  it("is tried for some seconds after the registration, without counting failures", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.resolve({ status: Date.now() < 3_000 ? 530 : 200, body: "" }));
    start({ config: { intervalMs: 30_000, maxFailures: 1, path: "/", serviceToken: undefined, origins: false } });
    monitor.awaitReady();
    await advance(2_999);
    expect(ready).toBe(false);
    await advance(10_000);
    expect(ready).toBe(true);
    expect(probe).toHaveBeenCalledTimes(2);
    expect(restarting).toEqual([]);
  });

  it("is not tried for ever", async () => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.reject(new Error("ENOTFOUND")));
    start({ config: { intervalMs: 1_000_000, maxFailures: 3, path: "/", serviceToken: undefined, origins: false } });
    monitor.awaitReady();
    await advance(900_000);
    expect(probe).toHaveBeenCalledTimes(4);
  });

  it.each([301, 404, 500])("is not shown by status %i", async (status) => {
    url = new URL("https://agent.example.com/");
    probe.mockImplementation(() => Promise.resolve({ status, body: "" }));
    start();
    monitor.awaitReady();
    await advance(20_000);
    expect(ready).toBe(false);
  });
});
