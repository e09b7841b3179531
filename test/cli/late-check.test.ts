import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checkNetwork, explainSilence } from "../../src/cli/late-check.ts";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import type { CheckReport } from "../../src/health/diagnostics/checks/assess.ts";
import { startMockEdge } from "../../src/mock-edge/index.ts";
import type { LogFields, Logger } from "../../src/types.ts";
import { planIngress } from "../../src/config/ingress.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import { FakeIo } from "./fake-io.ts";

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

function recorder(): { lines: Line[]; logger: Logger } {
  const lines: Line[] = [];
  const write = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields });
  };
  return { lines, logger: { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") } };
}

const row = { id: "x", component: "UDP", target: "t", details: "d", code: undefined, milliseconds: 1 } as const;
const report: CheckReport = {
  ok: false,
  summary: "No.",
  suggestedProtocol: undefined,
  checks: [
    { ...row, status: "failed", action: "do it" },
    { ...row, status: "ok", action: undefined },
  ],
};

describe("a tunnel that does not come up", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("tells why, once", async () => {
    const { lines, logger } = recorder();
    let looks = 0;
    const look = (): Promise<CheckReport> => Promise.resolve(report).finally(() => looks++);
    explainSilence({ isUnwanted: () => false, registered: new Promise(() => {}), look, logger });
    await vi.advanceTimersByTimeAsync(14_000);
    expect(looks).toBe(0);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(looks).toBe(1);
    expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      "warn precheck",
      "debug precheck",
      "warn precheck complete",
    ]);
    expect(lines[0]?.fields).toMatchObject({
      component: "UDP",
      target: "t",
      status: "failed",
      details: "d",
      action: "do it",
    });
    expect(lines[2]?.fields).toMatchObject({ run_id: lines[0]?.fields?.["run_id"], hard_fail: true, summary: "No." });
  });

  it("is left alone where Cloudflare has asked for that meanwhile", async () => {
    const { lines, logger } = recorder();
    const look = vi.fn(() => Promise.resolve(report));
    let asked = false;
    explainSilence({
      registered: new Promise(() => {}),
      look,
      isUnwanted: () => asked,
      logger,
    });
    asked = true;
    await vi.advanceTimersByTimeAsync(100_000);
    expect(look).not.toHaveBeenCalled();
    expect(lines).toEqual([]);
  });

  it("is not looked at once it is up, or over, or stopped", async () => {
    const { lines, logger } = recorder();
    const look = (): Promise<CheckReport> => Promise.resolve(report);
    explainSilence({ isUnwanted: () => false, registered: Promise.resolve(), look, logger });
    explainSilence({ isUnwanted: () => false, registered: Promise.reject(new Error("over")), look, logger });
    explainSilence({ isUnwanted: () => false, registered: new Promise(() => {}), look, logger })();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lines).toEqual([]);
  });

  it("says nothing when it comes up during the look, nor fails when the look does", async () => {
    const { lines, logger } = recorder();
    let up = (): void => {};
    const registered = new Promise<void>((resolve) => {
      up = resolve;
    });
    explainSilence({
      registered,
      look: () => {
        up();
        return new Promise((resolve) => setTimeout(() => resolve(report), 1));
      },
      isUnwanted: () => false,
      logger,
    });
    explainSilence({
      isUnwanted: () => false,
      registered: new Promise(() => {}),
      look: () => Promise.reject(new Error("x")),
      logger,
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lines.map(({ level, message }) => `${level} ${message}`)).toEqual(["debug precheck failed"]);
  });
});

describe("what it looks at", () => {
  it("is the network that its configuration names, and no origin", async () => {
    const edge = await startMockEdge();
    try {
      const settings = new MergedSettings(new Map(), new Map(), undefined);
      const { ingress } = planIngress({ settings, mode: "named", env: {} });
      const found = await checkNetwork(
        {
          ...defaultTunnelConfig,
          ingress,
          identity: { mode: "quick", quickService: edge.quickUrl },
          edge: [edge.edgeAddress],
          cacert: edge.caPem,
        },
        // No name is looked up: the proxy, which refuses, would be asked to.
        new FakeIo({ HTTPS_PROXY: "http://127.0.0.1:1" }),
      );
      expect(found).toMatchObject({ ok: true, suggestedProtocol: "quic" });
      expect(found.checks.map(({ id, status }) => `${id} ${status}`)).toEqual([
        "clock ok",
        "udp.edge1.ipv4 ok",
        "tcp.edge1.ipv4 ok",
        "proxy.environment skipped",
        "api warning",
        "quick-service ok",
      ]);
    } finally {
      await edge.close();
    }
  });
});
